//! What every call goes through: the limit on calls at once, the deadline, the count. What its caller
//! may goes with it from here.
//!
//! The limit is over all connections, which tonic's own is not, and its refusal is typed. The
//! deadline is the caller's `grpc-timeout`, cut to our maximum; we answer a little before it, since
//! at the deadline itself the caller has stopped listening and would never see the reason.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};

use crate::access::Access;
use crate::reasons::{Failure, Reason};
use crate::{QueryOptions, metrics};

/// How much before the caller's deadline we answer, at most.
const MARGIN_MAX: Duration = Duration::from_millis(50);

/// Limits shared by all calls of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    slots: Arc<Semaphore>,
    slots_max: u32,
    timeout: Duration,
    timeout_max: Duration,
    shutdown: CancellationToken,
}

/// A call that was let in. Clones are parts of the same call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// When it must be answered.
    pub(crate) deadline: Instant,
    /// Its slot. Goes with the work: a caller who hangs up does not end a read that has begun.
    pub(crate) slot: Arc<OwnedSemaphorePermit>,
    /// Ends waiting.
    pub(crate) shutdown: CancellationToken,
    /// The partitions to read, of those that it asks; `None`: all of them.
    pub(crate) only: Option<BTreeSet<u32>>,
    /// What the caller may.
    pub(crate) access: Access,
}

impl Call {
    /// The part of the call that concerns these partitions.
    pub(crate) fn part(&self, partitions: &BTreeSet<u32>) -> Self {
        Self { only: Some(partitions.clone()), ..self.clone() }
    }
}

impl Limits {
    pub(crate) fn new(slots: usize, options: &QueryOptions, shutdown: CancellationToken) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            slots_max: u32::try_from(slots).unwrap_or(u32::MAX),
            timeout: options.request_timeout,
            timeout_max: options.request_timeout_max,
            shutdown,
        }
    }

    /// Waits until no call is running. After shutdown no further one is let in.
    pub(crate) async fn idle(&self) {
        // The semaphore is never closed, so this only fails if it could never succeed.
        let _ = self.slots.acquire_many(self.slots_max).await;
    }

    /// Lets a call in, or refuses it at once when too many are running.
    pub(crate) fn enter<T>(&self, request: &Request<T>) -> Result<Call, Failure> {
        let access = Access::of_call(request)?;
        if self.shutdown.is_cancelled() {
            return Err(Failure::new(Reason::ShuttingDown, "the server is stopping"));
        }
        let slot = Arc::clone(&self.slots)
            .try_acquire_owned()
            .map_err(|_| Failure::new(Reason::Overloaded, "too many calls are running"))?;
        let asked = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok());
        let timeout = asked.and_then(parse_timeout).unwrap_or(self.timeout).min(self.timeout_max);
        let timeout = timeout.saturating_sub(MARGIN_MAX.min(timeout / 10));
        let deadline = Instant::now() + timeout;
        let (slot, shutdown) = (Arc::new(slot), self.shutdown.clone());
        Ok(Call { deadline, slot, shutdown, only: None, access })
    }

    /// Runs a unary call within its limits.
    pub(crate) async fn unary<Q, R, F>(
        &self,
        method: &'static str,
        request: Request<Q>,
        work: impl FnOnce(Q, Call) -> F,
    ) -> Result<Response<R>, Status>
    where
        F: Future<Output = Result<R, Failure>>,
    {
        let mut count = Count::begin(method);
        let result = match self.enter(&request) {
            Ok(call) => {
                let deadline = call.deadline;
                within(deadline, work(request.into_inner(), call)).await
            }
            Err(refused) => Err(refused),
        };
        let result = result.map(Response::new).map_err(Status::from);
        count.code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
        result
    }
}

/// What comes of the work before the deadline; of a stream that is that it opens.
pub(crate) async fn within<R>(
    deadline: Instant,
    work: impl Future<Output = Result<R, Failure>>,
) -> Result<R, Failure> {
    tokio::time::timeout_at(deadline, work)
        .await
        .unwrap_or_else(|_| Err(Failure::new(Reason::DeadlineExceeded, "the deadline came first")))
}

/// Counts the call when dropped: a future that the caller hung up on is dropped unfinished, and
/// stays CANCELLED.
struct Count {
    method: &'static str,
    since: Instant,
    code: Code,
}

impl Count {
    fn begin(method: &'static str) -> Self {
        metrics::running(1.0);
        Self { method, since: Instant::now(), code: Code::Cancelled }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        metrics::running(-1.0);
        metrics::request(self.method, self.code, Some(self.since.elapsed()));
    }
}

/// Reads `grpc-timeout`: up to 8 digits and a unit. tonic's reader is private to it.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        "M" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(Access::unchecked());
        request
    }

    #[tokio::test]
    async fn a_call_that_nobody_looked_at_is_refused() {
        let limits = Limits::new(1, &QueryOptions::default(), CancellationToken::new());
        let refused = limits.enter(&Request::new(())).unwrap_err();
        assert_eq!(refused.reason(), Reason::Defect);
    }

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(parse_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        for bad in ["", "S", "1", "-1S", "123456789S", "1s", "1é"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_the_callers_up_to_ours_and_a_little_early() {
        let options = QueryOptions::default();
        let limits = Limits::new(1, &options, CancellationToken::new());
        let left = |timeout: Option<&str>| {
            let mut request = admitted(());
            if let Some(timeout) = timeout {
                request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
            }
            limits.enter(&request).unwrap().deadline - Instant::now()
        };
        assert_eq!(left(None), Duration::from_millis(9_950));
        assert_eq!(left(Some("100m")), Duration::from_millis(90));
        assert_eq!(left(Some("2H")), Duration::from_millis(59_950));
    }

    #[tokio::test]
    async fn a_call_too_many_is_refused_until_a_slot_is_free() {
        let limits = Limits::new(1, &QueryOptions::default(), CancellationToken::new());
        let first = limits.enter(&admitted(())).unwrap();
        let refused = limits.enter(&admitted(())).unwrap_err();
        assert_eq!(refused.reason(), Reason::Overloaded);
        drop(first);
        assert!(limits.enter(&admitted(())).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_end_is_ended_at_the_deadline() {
        use tonic_types::StatusExt;
        let limits = Limits::new(1, &QueryOptions::default(), CancellationToken::new());
        let never = |(), _call| std::future::pending::<Result<(), Failure>>();
        let status = limits.unary("Test", admitted(()), never).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "DEADLINE_EXCEEDED");
    }
}
