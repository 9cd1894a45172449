//! gRPC over the folded state: lookups with the position they reflect, and admin reads of the log.
//!
//! The binary binds a listener, puts it with its stores and its log into [`Parts`] and awaits
//! [`run`]. Everything here is a read: no call changes state or log. A reply comes from one
//! snapshot per partition; `as_of` names it, and `min_position` waits for one. What other nodes own is
//! asked there ([`Peers`]), so any node answers for everything. What changes is told by watches, from the
//! derived topics. Each error carries a stable [`Reason`].
//!
//! Every call passes one guard, which knows the caller by its token or its client certificate and says
//! what it may ([`Access`]). Without tokens [`run`] refuses to serve on an address that is not loopback.

mod access;
mod admin;
mod call;
mod clock;
mod convert;
mod door;
mod error;
mod health;
mod incoming;
pub mod metrics;
mod mirror;
mod options;
mod peers;
mod query;
mod reasons;
mod refusals;
mod served;
mod server;
mod tls;
mod watch;
mod web;

pub use access::{
    Access, Accounts, Proof, Scope, TOKEN_PREFIX, TokenEntry, Tokens, TokensReplaced,
};
pub use admin::TAIL_MESSAGE_BYTES_MAX;
pub use clock::Clock;
pub use door::Door;
pub use error::Error;
pub use health::{QueryState, QueryStatus};
pub use mirror::{openapi, router as mirror};
pub use options::QueryOptions;
pub use peers::{Credentials, Owners, Peers, Split, named_partitions};
pub use query::{History, Moment, NotThen, Role, RoleOf};
pub use reasons::{ERROR_DOMAIN, Reason};
pub use served::Served;
pub use server::{Auth, Parts, Reads, run, validate};
pub use tls::{ServerPem, ServerTls};
