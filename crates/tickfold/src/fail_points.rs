//! Fail points and planted bugs for crash tests: compiled only with the feature `fail-points`.
//!
//! `TICKFOLD_FAIL_POINT=name:n` makes the process kill itself with SIGKILL the n-th time it reaches
//! that place, after writing the name to the file that `TICKFOLD_FAIL_POINT_FILE` names, so that a
//! test can prove that its fault landed. `TICKFOLD_BUG=name` plants a bug in commit or start code.

#[cfg(not(feature = "fail-points"))]
pub(crate) use disarmed::{arm, wrap};

#[cfg(not(feature = "fail-points"))]
mod disarmed {
    use std::sync::Arc;

    use anyhow::Result;
    use tickfold_log::Log;
    use tickfold_processor::Options;

    pub(crate) fn arm(_: &mut Options) -> Result<()> {
        Ok(())
    }

    pub(crate) fn wrap(log: Arc<dyn Log>) -> Arc<dyn Log> {
        log
    }
}

#[cfg(feature = "fail-points")]
pub(crate) use armed::{arm, wrap};

#[cfg(feature = "fail-points")]
mod armed {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, OnceLock};

    use anyhow::{Context, Result, bail};
    use tickfold_log::{
        Append, Bounds, Claim, Committed, Error, GroupSpec, Log, LogFuture, Member, Offset, Record,
        TopicInfo, TopicPartition, TopicSpec,
    };
    use tickfold_processor::{Bug, Options};

    /// The place and how often it may still be reached.
    static ARMED: OnceLock<(String, AtomicU64)> = OnceLock::new();

    pub(crate) fn arm(options: &mut Options) -> Result<()> {
        if let Ok(point) = std::env::var("TICKFOLD_FAIL_POINT") {
            let (name, count) =
                point.split_once(':').context("TICKFOLD_FAIL_POINT is not name:count")?;
            let known = tickfold_processor::fail_point::ALL;
            if name != AFTER_APPEND && !known.contains(&name) {
                bail!("TICKFOLD_FAIL_POINT: no such place: {name}");
            }
            let count = AtomicU64::new(count.parse().context("TICKFOLD_FAIL_POINT: count")?);
            let _ = ARMED.set((name.to_owned(), count));
            options.fail_point = reached;
        }
        if let Ok(name) = std::env::var("TICKFOLD_BUG") {
            let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
            let bug = Bug::ALL.into_iter().find(|bug| plain(&format!("{bug:?}")) == plain(&name));
            options.bug = Some(bug.with_context(|| format!("TICKFOLD_BUG: no such bug: {name}"))?);
        }
        Ok(())
    }

    /// The log holds the webhook; its answer is not sent.
    const AFTER_APPEND: &str = "after_append";

    fn reached(name: &'static str) {
        let Some((armed, left)) = ARMED.get() else { return };
        if armed != name || left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        if let Ok(path) = std::env::var("TICKFOLD_FAIL_POINT_FILE") {
            // Killed with or without it; the test that asked for it will miss it.
            let _ = std::fs::write(path, name);
        }
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }

    pub(crate) fn wrap(log: Arc<dyn Log>) -> Arc<dyn Log> {
        Arc::new(AppendsReached(log))
    }

    /// The log, with a fail point behind each append of a webhook.
    #[derive(Debug)]
    struct AppendsReached(Arc<dyn Log>);

    impl Log for AppendsReached {
        fn partitions_fail_apart(&self) -> bool {
            self.0.partitions_fail_apart()
        }
        fn ensure_topics<'a>(
            &'a self,
            specs: &'a [TopicSpec],
        ) -> LogFuture<'a, Result<Vec<TopicInfo>, Error>> {
            self.0.ensure_topics(specs)
        }
        fn topics(&self) -> LogFuture<'_, Result<Vec<TopicInfo>, Error>> {
            self.0.topics()
        }
        fn append(&self, records: Vec<Append>) -> LogFuture<'_, Result<Vec<Offset>, Error>> {
            // Ticks have no key; a tick is not what the test is after.
            let webhook = records.iter().any(|record| record.key.is_some());
            let appended = self.0.append(records);
            Box::pin(async move {
                let offsets = appended.await?;
                if webhook {
                    reached(AFTER_APPEND);
                }
                Ok(offsets)
            })
        }
        fn read<'a>(
            &'a self,
            from: &'a TopicPartition,
            offset: Offset,
            max_records: usize,
            max_bytes: usize,
        ) -> LogFuture<'a, Result<Vec<Record>, Error>> {
            self.0.read(from, offset, max_records, max_bytes)
        }
        fn last_record<'a>(
            &'a self,
            from: &'a TopicPartition,
        ) -> LogFuture<'a, Result<Option<Record>, Error>> {
            self.0.last_record(from)
        }
        fn bounds<'a>(&'a self, of: &'a TopicPartition) -> LogFuture<'a, Result<Bounds, Error>> {
            self.0.bounds(of)
        }
        fn trim<'a>(
            &'a self,
            of: &'a TopicPartition,
            before: Offset,
        ) -> LogFuture<'a, Result<Bounds, Error>> {
            self.0.trim(of, before)
        }
        fn wait_past<'a>(
            &'a self,
            of: &'a TopicPartition,
            offset: Offset,
        ) -> LogFuture<'a, Result<(), Error>> {
            self.0.wait_past(of, offset)
        }
        fn claim<'a>(
            &'a self,
            group: &'a str,
            input: &'a TopicPartition,
        ) -> LogFuture<'a, Result<Claim, Error>> {
            self.0.claim(group, input)
        }
        fn join(
            self: Arc<Self>,
            spec: GroupSpec,
        ) -> LogFuture<'static, Result<Arc<dyn Member>, Error>> {
            Arc::clone(&self.0).join(spec)
        }
        fn positions<'a>(
            &'a self,
            group: &'a str,
            topic: &'a str,
        ) -> LogFuture<'a, Result<Vec<Option<Committed>>, Error>> {
            self.0.positions(group, topic)
        }
        fn offset_at<'a>(
            &'a self,
            of: &'a TopicPartition,
            time_ms: i64,
        ) -> LogFuture<'a, Result<Offset, Error>> {
            self.0.offset_at(of, time_ms)
        }
        fn close(&self) -> LogFuture<'_, Result<(), Error>> {
            self.0.close()
        }
    }
}
