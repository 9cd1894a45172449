//! Why a call fails: one table from reason to gRPC code, and the `google.rpc.Status` that tells it.
//!
//! Reasons are part of the API: appended, never renamed. Each status has an `ErrorInfo` with the
//! reason and a `Help` that says what to do; a bad argument also a `BadRequest` that names the fields,
//! and whatever is worth the same call again a `RetryInfo`. What is not ready yet is UNAVAILABLE, never
//! INTERNAL. `docs/api.md` has the table.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;
use tickfold_proto::query::v1 as pb;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Metadata of NOT_FOUND: what the absence reflects, an encoded `AsOf`.
pub(crate) const AS_OF: &str = "tickfold-as-of-bin";

/// `domain` of every `ErrorInfo`.
pub const ERROR_DOMAIN: &str = "tickfold";

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $code:ident, $retry:expr, $do:literal;)*) => {
        /// Why a call failed, as in `ErrorInfo.reason`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[doc = $doc])* $name,)*
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

            /// What it means, in a sentence or two.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_start(),)* }
            }

            /// What to do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$name => $do,)* }
            }
        }
    };
}

reasons! {
    /// No webhook has named the wamid, or its record has expired.
    MessageNotFound = "MESSAGE_NOT_FOUND", NotFound, None,
        "Check the wamid. If the webhook was taken just now, ask again with `min_position`.";
    /// No message to or from the party was seen on that number, or the record has expired.
    ConversationNotFound = "CONVERSATION_NOT_FOUND", NotFound, None,
        "Check number and party; a party is written as Meta writes it, without a plus.";
    /// No webhook has named the template.
    TemplateNotFound = "TEMPLATE_NOT_FOUND", NotFound, None,
        "Check account, id and language. Meta tells of a template only when something of it changes.";
    /// No account event has named the account.
    AccountNotFound = "ACCOUNT_NOT_FOUND", NotFound, None,
        "Check the id of the account, and the accounts of the token.";
    /// No webhook has named the number.
    NumberNotFound = "NUMBER_NOT_FOUND", NotFound, None,
        "Ask by the phone number id, not by the phone number.";
    /// Nothing was learned of the identifier: no preference, profile or second identifier.
    UserNotFound = "USER_NOT_FOUND", NotFound, None,
        "A user who only wrote messages may be such a one: ask for the conversation.";
    /// The log has no such topic.
    TopicNotFound = "TOPIC_NOT_FOUND", NotFound, None,
        "`tickfold topics` lists those that there are.";
    /// The topic has no such partition.
    PartitionNotFound = "PARTITION_NOT_FOUND", NotFound, None,
        "`tickfold topics` tells how many there are.";
    /// The app has no secret of that id.
    SecretNotFound = "SECRET_NOT_FOUND", NotFound, None,
        "Add the secret to the apps file, `tickfold reload`, then ask again.";
    /// The position has no dead letter.
    DeadLetterNotFound = "DEAD_LETTER_NOT_FOUND", NotFound, None,
        "`tickfold dlq ls --all` lists the positions.";
    /// The node takes no webhooks, so it has no secrets to verify with.
    NoSecrets = "NO_SECRETS", FailedPrecondition, None,
        "Ask a node that takes webhooks.";
    /// The node has no place for checkpoints: `store.checkpoint_dir` is not set.
    CheckpointsOff = "CHECKPOINTS_OFF", FailedPrecondition, None,
        "Set `store.checkpoint_dir` and restart.";
    /// What a reload read cannot be served; what was served before goes on.
    ReloadRefused = "RELOAD_REFUSED", FailedPrecondition, None,
        "Correct what the message names, then reload again.";
    /// The node keeps no quarantine.
    QuarantineOff = "QUARANTINE_OFF", FailedPrecondition, None,
        "Set `ingress.quarantine_bytes_max` and restart.";
    /// A partition has rules of that version or a later one.
    RulesVersionNotAbove = "RULES_VERSION_NOT_ABOVE", FailedPrecondition, None,
        "`tickfold rules show` tells the version in force: take a higher one.";
    /// There is no replay.
    ReplayNotFound = "REPLAY_NOT_FOUND", NotFound, None,
        "Begin one with `tickfold replay run`.";
    /// There is a replay already, of something else.
    ReplayExists = "REPLAY_EXISTS", FailedPrecondition, None,
        "Discard it, or go on with it without naming anything.";
    /// The replay is running, or being compared.
    ReplayBusy = "REPLAY_BUSY", FailedPrecondition, None,
        "Wait for its end, or stop it.";
    /// The replay is not at its end.
    ReplayUnfinished = "REPLAY_UNFINISHED", FailedPrecondition, None,
        "Let it run to its end.";
    /// The replay is one of a part, or by other rules, or ends somewhere: it is not the state of the log.
    ReplayIsPart = "REPLAY_IS_PART", FailedPrecondition, None,
        "Run a replay of everything, by the rules of the log.";
    /// The other state cannot take the place of the live one.
    SwapRefused = "SWAP_REFUSED", FailedPrecondition, None,
        "Read the message: it names what the other state lacks.";
    /// The partition stopped while it was swapped: its next start has the one state or the other.
    SwapInterrupted = "SWAP_INTERRUPTED", FailedPrecondition, None,
        "Look at `tickfold replay status` once the partition is live again.";
    /// The raw log no longer has the record that the message, or the state of then, begins with.
    RawTrimmed = "RAW_TRIMMED", FailedPrecondition, None,
        "Ask for a later moment; what was deleted from raw can no longer be read.";
    /// Arguments are missing or malformed; the `BadRequest` names them.
    InvalidArgument = "INVALID_ARGUMENT", InvalidArgument, None,
        "Correct the fields that the details name.";
    /// The page token is damaged, or of a version that this server does not know.
    PageTokenInvalid = "PAGE_TOKEN_INVALID", InvalidArgument, None,
        "Begin again without a page token.";
    /// The page token belongs to a request with other arguments.
    PageTokenMismatch = "PAGE_TOKEN_MISMATCH", InvalidArgument, None,
        "Keep every argument but `page_size` and `min_position`, or begin again without a page token.";
    /// The filter cannot be read. The metadata has the character, from 1, and what could stand there.
    FilterInvalid = "FILTER_INVALID", InvalidArgument, None,
        "Write at that character what `allowed` names; docs/api.md has the grammar.";
    /// The filter names nothing by which messages are listed, so that all of them would have to be read.
    FilterNotIndexed = "FILTER_NOT_INDEXED", InvalidArgument, None,
        "Add a comparison of one of the fields that `allowed` names.";
    /// The resume token is damaged, or of a version or log that this server does not know.
    ResumeTokenInvalid = "RESUME_TOKEN_INVALID", InvalidArgument, None,
        "Begin a watch without a token.";
    /// The resume token belongs to a watch with other arguments.
    ResumeTokenMismatch = "RESUME_TOKEN_MISMATCH", InvalidArgument, None,
        "Keep every argument of the watch, or begin one without a token.";
    /// The log no longer has what a watch was not told: begin without a token.
    ResumeTokenExpired = "RESUME_TOKEN_EXPIRED", OutOfRange, None,
        "Begin a watch without a token; what it missed is in the topics.";
    /// The stream is as old as streams get; another one goes on by its token.
    StreamAgeReached = "STREAM_AGE_REACHED", Unavailable, Some(100),
        "Watch again with the last token: nothing is missed.";
    /// A partition's store is not open yet: the process starts or restores.
    StoreNotOpen = "STORE_NOT_OPEN", Unavailable, Some(1_000),
        "Ask again: the node starts or restores.";
    /// What is asked for is, if anywhere, in a partition that nobody can be asked of now: its owner
    /// is away, and another takes over.
    PartitionUnreachable = "PARTITION_UNREACHABLE", Unavailable, Some(1_000),
        "Ask again. If it stays, look at the nodes, and at their tokens and certificates for each other.";
    /// A node that asked this one for its partitions has an old map of the owners.
    PartitionElsewhere = "PARTITION_ELSEWHERE", Unavailable, Some(100),
        "Ask again, or ask the owner that the metadata names.";
    /// A store could not be read: a person must look at the disk.
    StoreReadFailed = "STORE_READ_FAILED", Internal, None,
        "A person has to look at the disk of the node.";
    /// What a store holds cannot be what was written.
    StoreUnreadable = "STORE_UNREADABLE", DataLoss, None,
        "A person has to look at the node: its state is damaged and can be folded again.";
    /// `min_position` was not applied before the deadline. The metadata says how far it got.
    PositionNotReached = "POSITION_NOT_REACHED", DeadlineExceeded, None,
        "Ask again, with a longer deadline or without `min_position`.";
    /// The deadline, the caller's or the server's, came before the answer.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded, None,
        "Ask again with a longer deadline, or for less.";
    /// The caller named itself by nothing that is known here: there is no token or certificate, or it is
    /// none of the tokens file, was taken back, or is over.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated, None,
        "Send `authorization: Bearer TOKEN` with a token of the tokens file, or a client certificate that an entry names.";
    /// A page called whose origin is not in `query.web_origins`; or nobody is authenticated here, and the
    /// caller came by a name that any page could give this machine.
    OriginNotAllowed = "ORIGIN_NOT_ALLOWED", PermissionDenied, None,
        "Name the origin in `query.web_origins`. A node without tokens is asked by localhost or a loopback address.";
    /// The caller is known and may not do this; the metadata names the scope that it lacks.
    ScopeMissing = "SCOPE_MISSING", PermissionDenied, None,
        "Use a token that has the scope; `tickfold token create` makes one.";
    /// Too many calls at once.
    Overloaded = "OVERLOADED", ResourceExhausted, Some(500),
        "Ask again after the pause, and less at once.";
    /// The reply would exceed the size limit: ask for fewer messages or a lesser view.
    ResponseTooLarge = "RESPONSE_TOO_LARGE", ResourceExhausted, None,
        "Ask for fewer messages or a lesser view.";
    /// The server is stopping; another one, or the next start, answers.
    ShuttingDown = "SHUTTING_DOWN", Unavailable, Some(1_000),
        "Ask again: another node answers, or this one after its start.";
    /// The log cannot be read now and may be later.
    LogUnavailable = "LOG_UNAVAILABLE", Unavailable, Some(1_000),
        "Ask again. If it stays, look at the log: the brokers, or the disk.";
    /// Records of the log are missing or damaged: a person must act.
    LogDamaged = "LOG_DAMAGED", DataLoss, None,
        "A person has to look: `tickfold verify` says where.";
    /// A defect of the server.
    Defect = "DEFECT", Internal, None,
        "Report it with the log of the node.";
    /// The request has more bytes than it may, as it came or before it was compressed.
    RequestTooLarge = "REQUEST_TOO_LARGE", OutOfRange, None,
        "Ask for less at once: 4 MiB is the most.";
    /// The request is no message of the method: it cannot be decoded, or broke off.
    RequestUnreadable = "REQUEST_UNREADABLE", InvalidArgument, None,
        "Use a client that is generated from the protos of this version or an older one.";
    /// The request is compressed in a way that this server does not read.
    EncodingUnsupported = "ENCODING_UNSUPPORTED", Unimplemented, None,
        "Send it as it is or in gzip, as the metadata `grpc-accept-encoding` says.";
    /// The listener has no such service or method, or the path is none of `/v1`.
    MethodUnknown = "METHOD_UNKNOWN", Unimplemented, None,
        "Check the path. A node without partitions has no QueryService; an older one not every method.";
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
    /// It was read from memory alone, and only the disk can tell. Never a caller's to see.
    is_not_in_memory: bool,
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        let (metadata, violations) = (BTreeMap::new(), Vec::new());
        let (message, as_of, is_not_in_memory) = (message.into(), None, false);
        Self { reason, message, metadata, violations, as_of, is_not_in_memory }
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

    #[cfg(test)]
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    pub(crate) fn is_not_in_memory(&self) -> bool {
        self.is_not_in_memory
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
            is_not_in_memory: false,
        })
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let Failure { reason, message, metadata, violations, as_of, is_not_in_memory: _ } = failure;
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
        // Without a URL: the page is wherever the operator keeps it.
        details.add_help_link(reason.advice(), "");
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
            E::NotInMemory => {
                let failure = Self::new(Reason::StoreReadFailed, error.to_string());
                return Self { is_not_in_memory: true, ..failure };
            }
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
            let help = &details.help().unwrap().links[0];
            assert_eq!(help.description, reason.advice());
        }
    }

    /// The lines of the table between its marks in the page are made of the reasons;
    /// `UPDATE_EXPECT=1` writes them.
    #[test]
    fn the_page_of_the_api_has_each_reason() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (begin, end) = ("<!-- reasons -->\n", "<!-- end of reasons -->\n");
        let (before, rest) = page.split_once(begin).unwrap();
        let (_, after) = rest.split_once(end).unwrap();
        let mut table =
            "| reason | code | retry | it means | do |\n|---|---|---|---|---|\n".to_owned();
        for reason in Reason::ALL {
            let retry = reason.retry_after().map(|pause| format!("after {} ms", pause.as_millis()));
            table.push_str(&format!(
                "| `{}` | {} | {} | {} | {} |\n",
                reason.as_str(),
                crate::metrics::code_word(reason.code()),
                retry.as_deref().unwrap_or("–"),
                reason.meaning(),
                reason.advice()
            ));
        }
        let wanted = format!("{before}{begin}{table}{end}{after}");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, &wanted).unwrap();
        } else {
            assert!(page == wanted, "UPDATE_EXPECT=1 writes the table of docs/api.md");
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
