//! Why a call fails: one table from reason to gRPC code, and the `google.rpc.Status` that tells it.
//!
//! Reasons are part of the API: appended, never renamed. Each status has an `ErrorInfo` with the
//! reason; a bad argument also a `BadRequest` that names the fields, and whatever is worth the same
//! call again a `RetryInfo`. What is not ready yet is UNAVAILABLE, never INTERNAL.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;
use tickfold_proto::query::v1 as pb;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Metadata of NOT_FOUND: what the absence reflects, an encoded `AsOf`.
const AS_OF: &str = "tickfold-as-of-bin";

/// `domain` of every `ErrorInfo`.
pub const ERROR_DOMAIN: &str = "tickfold";

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $code:ident, $retry:expr;)*) => {
        /// Why a call failed, as in `ErrorInfo.reason`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word of the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The gRPC code it comes with.
            pub fn code(self) -> Code {
                match self { $(Self::$name => Code::$code,)* }
            }

            /// When the same call is worth another try; `None` is never, or not by itself.
            pub fn retry_after(self) -> Option<Duration> {
                let ms: Option<u64> = match self { $(Self::$name => $retry,)* };
                ms.map(Duration::from_millis)
            }
        }
    };
}

reasons! {
    /// No webhook has named the wamid, or its record has expired.
    MessageNotFound = "MESSAGE_NOT_FOUND", NotFound, None;
    /// No message to or from the party was seen on that number, or the record has expired.
    ConversationNotFound = "CONVERSATION_NOT_FOUND", NotFound, None;
    /// No webhook has named the template.
    TemplateNotFound = "TEMPLATE_NOT_FOUND", NotFound, None;
    /// No account event has named the account.
    AccountNotFound = "ACCOUNT_NOT_FOUND", NotFound, None;
    /// No webhook has named the number.
    NumberNotFound = "NUMBER_NOT_FOUND", NotFound, None;
    /// Nothing was learned of the identifier: no preference, profile or second identifier.
    UserNotFound = "USER_NOT_FOUND", NotFound, None;
    /// The log has no such topic.
    TopicNotFound = "TOPIC_NOT_FOUND", NotFound, None;
    /// The topic has no such partition.
    PartitionNotFound = "PARTITION_NOT_FOUND", NotFound, None;
    /// The app has no secret of that id.
    SecretNotFound = "SECRET_NOT_FOUND", NotFound, None;
    /// The position has no dead letter.
    DeadLetterNotFound = "DEAD_LETTER_NOT_FOUND", NotFound, None;
    /// The node takes no webhooks, so it has no secrets to verify with.
    NoSecrets = "NO_SECRETS", FailedPrecondition, None;
    /// The node has no place for checkpoints: `store.checkpoint_dir` is not set.
    CheckpointsOff = "CHECKPOINTS_OFF", FailedPrecondition, None;
    /// What a reload read cannot be served; what was served before goes on.
    ReloadRefused = "RELOAD_REFUSED", FailedPrecondition, None;
    /// The node keeps no quarantine.
    QuarantineOff = "QUARANTINE_OFF", FailedPrecondition, None;
    /// A partition has rules of that version or a later one.
    RulesVersionNotAbove = "RULES_VERSION_NOT_ABOVE", FailedPrecondition, None;
    /// There is no replay.
    ReplayNotFound = "REPLAY_NOT_FOUND", NotFound, None;
    /// There is a replay already, of something else.
    ReplayExists = "REPLAY_EXISTS", FailedPrecondition, None;
    /// The replay is running, or being compared.
    ReplayBusy = "REPLAY_BUSY", FailedPrecondition, None;
    /// The replay is not at its end.
    ReplayUnfinished = "REPLAY_UNFINISHED", FailedPrecondition, None;
    /// The replay is one of a part, or by other rules, or ends somewhere: it is not the state of the log.
    ReplayIsPart = "REPLAY_IS_PART", FailedPrecondition, None;
    /// The other state cannot take the place of the live one.
    SwapRefused = "SWAP_REFUSED", FailedPrecondition, None;
    /// The partition stopped while it was swapped: its next start has the one state or the other.
    SwapInterrupted = "SWAP_INTERRUPTED", FailedPrecondition, None;
    /// The raw log no longer has the record that the message, or the state of then, begins with.
    RawTrimmed = "RAW_TRIMMED", FailedPrecondition, None;
    /// Arguments are missing or malformed; the `BadRequest` names them.
    InvalidArgument = "INVALID_ARGUMENT", InvalidArgument, None;
    /// The page token is damaged, or of a version that this server does not know.
    PageTokenInvalid = "PAGE_TOKEN_INVALID", InvalidArgument, None;
    /// The page token belongs to a request with other arguments.
    PageTokenMismatch = "PAGE_TOKEN_MISMATCH", InvalidArgument, None;
    /// The resume token is damaged, or of a version or log that this server does not know.
    ResumeTokenInvalid = "RESUME_TOKEN_INVALID", InvalidArgument, None;
    /// The resume token belongs to a watch with other arguments.
    ResumeTokenMismatch = "RESUME_TOKEN_MISMATCH", InvalidArgument, None;
    /// The log no longer has what a watch was not told: begin without a token.
    ResumeTokenExpired = "RESUME_TOKEN_EXPIRED", OutOfRange, None;
    /// The stream is as old as streams get; another one goes on by its token.
    StreamAgeReached = "STREAM_AGE_REACHED", Unavailable, Some(100);
    /// A partition's store is not open yet: the process starts or restores.
    StoreNotOpen = "STORE_NOT_OPEN", Unavailable, Some(1_000);
    /// What is asked for is, if anywhere, in a partition that nobody can be asked of now: its owner
    /// is away, and another takes over.
    PartitionUnreachable = "PARTITION_UNREACHABLE", Unavailable, Some(1_000);
    /// A node that asked this one for its partitions has an old map of the owners.
    PartitionElsewhere = "PARTITION_ELSEWHERE", Unavailable, Some(100);
    /// A store could not be read: a person must look at the disk.
    StoreReadFailed = "STORE_READ_FAILED", Internal, None;
    /// What a store holds cannot be what was written.
    StoreUnreadable = "STORE_UNREADABLE", DataLoss, None;
    /// `min_position` was not applied before the deadline. The metadata says how far it got.
    PositionNotReached = "POSITION_NOT_REACHED", DeadlineExceeded, None;
    /// The deadline, the caller's or the server's, came before the answer.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded, None;
    /// The caller named itself by nothing that is known here: there is no token or certificate, or it is
    /// none of the tokens file, was taken back, or is over.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated, None;
    /// The caller is known and may not do this; the metadata names the scope that it lacks.
    ScopeMissing = "SCOPE_MISSING", PermissionDenied, None;
    /// Too many calls at once.
    Overloaded = "OVERLOADED", ResourceExhausted, Some(500);
    /// The reply would exceed the size limit: ask for fewer messages or a lesser view.
    ResponseTooLarge = "RESPONSE_TOO_LARGE", ResourceExhausted, None;
    /// The server is stopping; another one, or the next start, answers.
    ShuttingDown = "SHUTTING_DOWN", Unavailable, Some(1_000);
    /// The log cannot be read now and may be later.
    LogUnavailable = "LOG_UNAVAILABLE", Unavailable, Some(1_000);
    /// Records of the log are missing or damaged: a person must act.
    LogDamaged = "LOG_DAMAGED", DataLoss, None;
    /// A defect of the server.
    Defect = "DEFECT", Internal, None;
}

impl Reason {
    /// The status of a call that failed for this reason, for services of the binary.
    pub fn status(self, message: impl Into<String>) -> Status {
        Failure::new(self, message).into()
    }
}

/// A failed call, before it becomes a status.
#[derive(Debug)]
pub(crate) struct Failure {
    reason: Reason,
    message: String,
    metadata: BTreeMap<String, String>,
    violations: Vec<(String, String)>,
    /// What it reflects, if state was read.
    pub(crate) as_of: Option<Box<pb::AsOf>>,
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        let (metadata, violations) = (BTreeMap::new(), Vec::new());
        Self { reason, message: message.into(), metadata, violations, as_of: None }
    }

    /// A malformed argument.
    pub(crate) fn argument(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self::field(Reason::InvalidArgument, field, what)
    }

    /// A reason of INVALID_ARGUMENT, with the field it is about.
    pub(crate) fn field(reason: Reason, field: impl Into<String>, what: impl Into<String>) -> Self {
        let (field, what) = (field.into(), what.into());
        let message = format!("{field}: {what}");
        Self { violations: vec![(field, what)], ..Self::new(reason, message) }
    }

    /// Adds an entry to the metadata. No personal data: proxies log error details.
    #[must_use]
    pub(crate) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// The failure, with what it reflects.
    #[must_use]
    pub(crate) fn reflecting(self, as_of: Option<pb::AsOf>) -> Self {
        Self { as_of: as_of.map(Box::new), ..self }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// What another node failed with; `None` if the status is none of a node's own: the connection
    /// broke, or there was none.
    pub(crate) fn of_peer(status: &Status) -> Option<Self> {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == ERROR_DOMAIN)?;
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == info.reason)?;
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
        let violations = violations.unwrap_or_default().iter();
        Some(Self {
            reason: *reason,
            message: status.message().to_owned(),
            metadata: info.metadata.clone().into_iter().collect(),
            violations: violations.map(|v| (v.field.clone(), v.description.clone())).collect(),
            as_of: as_of(status).map(Box::new),
        })
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let Failure { reason, message, metadata, violations, as_of } = failure;
        let mut details = ErrorDetails::with_error_info(
            reason.as_str(),
            ERROR_DOMAIN,
            metadata.into_iter().collect::<std::collections::HashMap<_, _>>(),
        );
        for (field, what) in violations {
            details.add_bad_request_violation(field, what);
        }
        if let Some(delay) = reason.retry_after() {
            details.set_retry_info(Some(delay));
        }
        let mut status = Self::with_error_details(reason.code(), message, details);
        if let Some(as_of) = as_of.filter(|_| reason.code() == Code::NotFound) {
            let value = MetadataValue::from_bytes(&as_of.encode_to_vec());
            status.metadata_mut().insert_bin(AS_OF, value);
        }
        status
    }
}

/// What a status reflects, if it says so.
fn as_of(status: &Status) -> Option<pb::AsOf> {
    let bytes = status.metadata().get_bin(AS_OF)?.to_bytes().ok()?;
    pb::AsOf::decode(bytes).ok()
}

impl From<tickfold_store::Error> for Failure {
    fn from(error: tickfold_store::Error) -> Self {
        use tickfold_store::Error as E;
        let reason = match &error {
            E::Unreadable { .. } => Reason::StoreUnreadable,
            _ => Reason::StoreReadFailed,
        };
        tracing::error!(reason = reason.as_str(), error = &error as &dyn std::error::Error, "read");
        Self::new(reason, error.to_string())
    }
}

impl From<tickfold_log::Error> for Failure {
    fn from(error: tickfold_log::Error) -> Self {
        use tickfold_log::Error as E;
        let reason = match &error {
            E::Closed => Reason::ShuttingDown,
            E::Unavailable { .. } | E::Poisoned { .. } => Reason::LogUnavailable,
            E::UnknownPartition(_) => Reason::PartitionNotFound,
            E::Damaged { .. } => Reason::LogDamaged,
            _ => Reason::Defect,
        };
        if matches!(reason, Reason::LogDamaged | Reason::Defect) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(reason = reason.as_str(), error, "read the log");
        }
        Self::new(reason, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_becomes_a_status_with_its_code_and_details() {
        for reason in Reason::ALL {
            let status = Status::from(Failure::new(*reason, "it failed").with("partition", 3));
            assert_eq!(status.code(), reason.code(), "{reason:?}");
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.as_str(), "tickfold"));
            assert_eq!(info.metadata["partition"], "3");
            let retry = details.retry_info().and_then(|retry| retry.retry_delay);
            assert_eq!(retry, reason.retry_after(), "{reason:?}");
        }
    }

    #[test]
    fn words_are_upper_snake_and_distinct_and_retries_are_honest() {
        let words: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
            // Clients retry UNAVAILABLE by themselves, so it must come with a pause.
            if reason.code() == Code::Unavailable {
                assert!(reason.retry_after().is_some(), "{reason:?}");
            }
        }
    }

    #[test]
    fn a_bad_argument_names_its_field() {
        let status = Status::from(Failure::argument("wamids[3]", "is empty"));
        let details = status.get_error_details();
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!(
            (violation.field.as_str(), violation.description.as_str()),
            ("wamids[3]", "is empty")
        );
    }

    #[test]
    fn a_failure_of_a_peer_comes_back_as_it_was() {
        for reason in Reason::ALL {
            let is_absence = reason.code() == Code::NotFound;
            let as_of = || is_absence.then(|| Box::new(pb::AsOf { role: 3, ..Default::default() }));
            let failure = || {
                let failure = Failure::field(*reason, "wamid", "is odd").with("partition", 3);
                Failure { as_of: as_of(), ..failure }
            };
            let back = Failure::of_peer(&Status::from(failure())).unwrap();
            assert_eq!(format!("{back:?}"), format!("{:?}", failure()));
        }
        assert!(Failure::of_peer(&Status::unavailable("tcp connect error")).is_none());
    }

    #[test]
    fn errors_of_the_ports_have_their_reasons() {
        let io = tickfold_store::Error::Io { attempted: "get".into(), source: "disk".into() };
        assert_eq!(Failure::from(io).reason(), Reason::StoreReadFailed);
        let bad = tickfold_store::Error::Unreadable { partition: 0, reason: "crc".into() };
        assert_eq!(Failure::from(bad).reason(), Reason::StoreUnreadable);
        let damaged = tickfold_log::Error::Damaged { reason: "crc".into(), first_lost: None };
        assert_eq!(Failure::from(damaged).reason(), Reason::LogDamaged);
        assert_eq!(Failure::from(tickfold_log::Error::Closed).reason(), Reason::ShuttingDown);
        let slow = tickfold_log::Error::Unavailable { reason: "slow".into() };
        assert_eq!(Failure::from(slow).reason(), Reason::LogUnavailable);
        let gone = tickfold_log::TopicPartition::new("wa.event.v1", 9);
        let gone = tickfold_log::Error::UnknownPartition(gone);
        assert_eq!(Failure::from(gone).reason(), Reason::PartitionNotFound);
        let odd = tickfold_log::Error::TopicMismatch { topic: "t".into(), reason: "r".into() };
        assert_eq!(Failure::from(odd).reason(), Reason::Defect);
    }
}
