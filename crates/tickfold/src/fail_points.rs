//! Fail points and planted bugs for crash tests: compiled only with the feature `fail-points`.
//!
//! `TICKFOLD_FAIL_POINT=name:n` makes the process kill itself with SIGKILL the n-th time it reaches
//! that place, after writing the name to the file that `TICKFOLD_FAIL_POINT_FILE` names, so that a
//! test can prove that its fault landed. With `TICKFOLD_FAIL_POINT_DELAY_US=n` it kills itself so
//! many microseconds later, unless the commit that reached the place was answered before: then it
//! waits for the next. With `TICKFOLD_FAIL_POINT_PANICS=1` the thread panics there instead, and with
//! `TICKFOLD_FAIL_POINT_HANGS=1` each that comes there from then on stays for ever, as one does whose disk hangs.
//! `TICKFOLD_BUG=name` plants a bug in commit or start code.
//! `TICKFOLD_KAFKA_PATIENCE_MS=n` bounds what is waited for at the brokers, for tests that stop them;
//! `TICKFOLD_KAFKA_SESSION_TIMEOUT_MS=n` how long the group waits, for tests that stop its members.
//! `TICKFOLD_LOG_CLOCK=origin_ms:speed` makes the embedded log's clock run so many times as fast
//! since that moment, for tests that wait for deadlines of minutes.

#[cfg(not(feature = "fail-points"))]
pub(crate) use disarmed::{
    arm, arm_embedded, arm_kafka, arm_load, posted, prepared, replayed, wrap,
};

#[cfg(not(feature = "fail-points"))]
mod disarmed {
    use std::sync::Arc;

    use anyhow::Result;
    use tickfold_log::{EmbeddedOptions, KafkaOptions, Log};
    use tickfold_processor::Options;

    pub(crate) fn arm(_: &mut Options) -> Result<()> {
        Ok(())
    }

    pub(crate) fn arm_embedded(_: &mut EmbeddedOptions) -> Result<()> {
        Ok(())
    }

    pub(crate) fn arm_kafka(_: &mut KafkaOptions) -> Result<()> {
        Ok(())
    }

    pub(crate) fn arm_load() -> Result<()> {
        Ok(())
    }

    pub(crate) fn posted() {}

    pub(crate) fn prepared() {}

    pub(crate) fn replayed() {}

    pub(crate) fn wrap(log: Arc<dyn Log>) -> Arc<dyn Log> {
        log
    }
}

#[cfg(feature = "fail-points")]
pub(crate) use armed::{arm, arm_embedded, arm_kafka, arm_load, posted, prepared, replayed, wrap};

#[cfg(feature = "fail-points")]
mod armed {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex, OnceLock, PoisonError};
    use std::thread::ThreadId;
    use std::time::Duration;

    use anyhow::{Context, Result, bail};
    use tickfold_log::{
        Append, Bounds, Claim, Clock, Committed, EmbeddedOptions, Error, GroupSpec, KafkaOptions,
        Log, LogFuture, Member, Offset, Record, TopicInfo, TopicPartition, TopicSpec,
        kafka_fail_point,
    };
    use tickfold_processor::{Bug, Options};

    static ARMED: OnceLock<Armed> = OnceLock::new();

    struct Armed {
        place: String,
        /// How often it may still be reached.
        left: AtomicU64,
        delay: Duration,
        panics: bool,
        hangs: bool,
        /// The thread that reached the place and is killed when the delay is over.
        doomed: Mutex<Option<ThreadId>>,
    }

    pub(crate) fn arm(options: &mut Options) -> Result<()> {
        if arm_places()? {
            options.fail_point = reached;
        }
        if let Ok(name) = std::env::var("TICKFOLD_BUG") {
            let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
            let bug = Bug::ALL.into_iter().find(|bug| plain(&format!("{bug:?}")) == plain(&name));
            options.bug = Some(bug.with_context(|| format!("TICKFOLD_BUG: no such bug: {name}"))?);
        }
        Ok(())
    }

    /// Arms the places of a command that is no node.
    pub(crate) fn arm_load() -> Result<()> {
        arm_places().map(drop)
    }

    /// Whether a place is asked for.
    fn arm_places() -> Result<bool> {
        let Ok(point) = std::env::var("TICKFOLD_FAIL_POINT") else { return Ok(false) };
        let (name, count) =
            point.split_once(':').context("TICKFOLD_FAIL_POINT is not name:count")?;
        let known = [
            &tickfold_processor::fail_point::ALL[..],
            &tickfold_processor::fail_point::SWAP[..],
            &kafka_fail_point::ALL[..],
        ];
        let ours = [AFTER_APPEND, AFTER_REPLAY_BATCH, AFTER_PREPARE, AFTER_POST];
        if !ours.contains(&name) && !known.concat().contains(&name) {
            bail!("TICKFOLD_FAIL_POINT: no such place: {name}");
        }
        let left = AtomicU64::new(count.parse().context("TICKFOLD_FAIL_POINT: count")?);
        let delay = number("TICKFOLD_FAIL_POINT_DELAY_US")?.unwrap_or(0);
        let delay = Duration::from_micros(delay);
        let panics = number("TICKFOLD_FAIL_POINT_PANICS")?.is_some();
        let hangs = number("TICKFOLD_FAIL_POINT_HANGS")?.is_some();
        let (place, doomed) = (name.to_owned(), Mutex::new(None));
        let _ = ARMED.set(Armed { place, left, delay, panics, hangs, doomed });
        Ok(true)
    }

    /// The log holds the webhook; its answer is not sent.
    const AFTER_APPEND: &str = "after_append";

    /// The shadow of a replay has another batch.
    const AFTER_REPLAY_BATCH: &str = "after_replay_batch";

    pub(crate) fn replayed() {
        reached(AFTER_REPLAY_BATCH);
    }

    /// The disk has another store prepared; the partition that stands still does not know it yet.
    const AFTER_PREPARE: &str = "after_prepare";

    pub(crate) fn prepared() {
        reached(AFTER_PREPARE);
    }

    /// `tickfold load` has the answer to one of its requests.
    const AFTER_POST: &str = "after_post";

    pub(crate) fn posted() {
        reached(AFTER_POST);
    }

    pub(crate) fn arm_embedded(options: &mut EmbeddedOptions) -> Result<()> {
        let Ok(text) = std::env::var("TICKFOLD_LOG_CLOCK") else { return Ok(()) };
        let (origin, speed) =
            text.split_once(':').context("TICKFOLD_LOG_CLOCK is not origin_ms:speed")?;
        let origin_ms: i64 = origin.parse().context("TICKFOLD_LOG_CLOCK: origin")?;
        let speed: i64 = speed.parse().context("TICKFOLD_LOG_CLOCK: speed")?;
        let system = Clock::system();
        options.clock = Clock::new(move || origin_ms + (system.now_ms() - origin_ms) * speed);
        Ok(())
    }

    pub(crate) fn arm_kafka(options: &mut KafkaOptions) -> Result<()> {
        options.fail_point = reached;
        if let Some(millis) = number("TICKFOLD_KAFKA_PATIENCE_MS")? {
            let patience = Duration::from_millis(millis);
            options.call_timeout = patience;
            options.claim_timeout = patience;
            options.transaction_timeout = patience;
        }
        if let Some(millis) = number("TICKFOLD_KAFKA_SESSION_TIMEOUT_MS")? {
            options.session_timeout = Duration::from_millis(millis);
        }
        Ok(())
    }

    fn number(variable: &'static str) -> Result<Option<u64>> {
        let text = std::env::var(variable).ok();
        text.map(|text| text.parse().context(variable)).transpose()
    }

    fn reached(name: &'static str) {
        let Some(armed) = ARMED.get() else { return };
        if name == kafka_fail_point::ENDED {
            armed.call_off();
        }
        if armed.place != name {
            return;
        }
        if armed.hangs {
            return armed.hang(name);
        }
        if armed.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        if armed.panics {
            panics(name);
        }
        if armed.delay.is_zero() {
            die(name);
        }
        *armed.doomed() = Some(std::thread::current().id());
        std::thread::spawn(move || {
            std::thread::sleep(armed.delay);
            // Held until the end: who would call it off now waits for ever.
            let doomed = armed.doomed();
            if doomed.is_some() {
                die(name);
            }
        });
    }

    impl Armed {
        fn doomed(&self) -> std::sync::MutexGuard<'_, Option<ThreadId>> {
            self.doomed.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Stays, from the time on that was asked for.
        fn hang(&self, name: &str) {
            let one_less = |left: u64| Some(left.saturating_sub(1));
            let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
            if left.is_ok_and(|left| left > 1) {
                return;
            }
            prove(name);
            loop {
                std::thread::park();
            }
        }

        /// The commit of this thread was answered: too late for a kill inside of it.
        fn call_off(&self) {
            let mut doomed = self.doomed();
            if *doomed == Some(std::thread::current().id()) {
                *doomed = None;
                self.left.store(1, Ordering::SeqCst);
            }
        }
    }

    #[expect(clippy::panic, reason = "a test asks for it")]
    fn panics(name: &str) -> ! {
        panic!("reached {name}");
    }

    /// Goes on with or without it; the test that asked for it will miss it.
    fn prove(name: &str) {
        if let Ok(path) = std::env::var("TICKFOLD_FAIL_POINT_FILE") {
            let _ = std::fs::write(path, name);
        }
    }

    fn die(name: &str) -> ! {
        prove(name);
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
