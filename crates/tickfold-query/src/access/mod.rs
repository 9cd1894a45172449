//! Who calls, and what they may. It is decided once per call, before any service sees it, and goes
//! with the call from there: a service asks its [`Access`] and nothing else.
//!
//! What a caller may not see is not there for it: the snapshots that its call reads leave out every
//! object of an account that is not its own (`scoped`), so that no answer can tell that there is one.

pub(crate) mod behalf;
mod guard;
mod methods;
mod scoped;
mod tokens;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tickfold_core::ids::WabaId;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::reasons::{Failure, Reason};

pub(crate) use guard::{Guard, GuardLayer, Guarded, Peer};
pub(crate) use methods::{Need, need};
pub(crate) use scoped::Scoped;
pub use tokens::{Proof, TOKEN_PREFIX, TokenEntry, Tokens, TokensReplaced};

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Ask for state, without personal data.
    Query,
    /// Be told personal data beside the ids that the caller named: views FULL and HISTORY, users.
    PersonalData,
    /// Everything of the admin services.
    Admin,
    /// Be another node of the same system, and ask on behalf of its callers.
    Node,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Query, Self::PersonalData, Self::Admin, Self::Node];

    /// The word of the tokens file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::PersonalData => "pii.read",
            Self::Admin => "admin",
            Self::Node => "node",
        }
    }

    /// Reads such a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.word() == word)
    }
}

/// Accounts (WABAs).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accounts {
    /// Every one, those that are not known yet too.
    All,
    /// These.
    Only(BTreeSet<WabaId>),
}

impl Accounts {
    fn has(&self, waba_id: &WabaId) -> bool {
        match self {
            Self::All => true,
            Self::Only(accounts) => accounts.contains(waba_id),
        }
    }
}

/// What one caller may, for as long as it may. Clones are the same.
#[derive(Clone)]
pub struct Access(Arc<Rights>);

struct Rights {
    name: String,
    scopes: BTreeSet<Scope>,
    accounts: Accounts,
    ended: CancellationToken,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rights { name, scopes, accounts, ended: _ } = &*self.0;
        f.debug_struct("Access")
            .field("name", name)
            .field("scopes", scopes)
            .field("accounts", accounts)
            .finish_non_exhaustive()
    }
}

impl Access {
    /// Everything: that of whoever reaches a node which authenticates nobody, on its own machine.
    pub fn unchecked() -> Self {
        let scopes = Scope::ALL.into_iter().filter(|scope| *scope != Scope::Node).collect();
        Self::new(String::new(), scopes, Accounts::All, CancellationToken::new())
    }

    pub(crate) fn new(
        name: String,
        scopes: BTreeSet<Scope>,
        accounts: Accounts,
        ended: CancellationToken,
    ) -> Self {
        Self(Arc::new(Rights { name, scopes, accounts, ended }))
    }

    /// That of a call. A call without one was not looked at, which is a defect, and may nothing.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        Ok(Self::of_call(request)?)
    }

    pub(crate) fn of_call<T>(request: &Request<T>) -> Result<Self, Failure> {
        let access = request.extensions().get::<Self>().cloned();
        access.ok_or_else(|| Failure::new(Reason::Defect, "the call was not authenticated"))
    }

    /// Name of the caller, as the tokens file has it; empty where nobody is authenticated.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether the caller may.
    pub fn has(&self, scope: Scope) -> bool {
        self.0.scopes.contains(&scope)
    }

    /// Refuses a caller who may not.
    pub fn require(&self, scope: Scope) -> Result<(), Status> {
        Ok(self.check(scope)?)
    }

    pub(crate) fn check(&self, scope: Scope) -> Result<(), Failure> {
        if self.has(scope) {
            return Ok(());
        }
        let what = format!("the caller has no scope {}", scope.word());
        Err(Failure::new(Reason::ScopeMissing, what).with("scope", scope.word()))
    }

    /// Whether the account is the caller's. Of one that is not, nothing is told, not even that there
    /// is something.
    pub fn sees(&self, waba_id: &WabaId) -> bool {
        self.0.accounts.has(waba_id)
    }

    /// The same of what may name no account: that is nobody's, and shown to who sees all.
    pub(crate) fn sees_of(&self, waba_id: Option<&WabaId>) -> bool {
        match &self.0.accounts {
            Accounts::All => true,
            Accounts::Only(accounts) => waba_id.is_some_and(|waba_id| accounts.contains(waba_id)),
        }
    }

    /// The accounts that the caller sees.
    pub fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    /// The scopes that the caller has.
    pub(crate) fn scopes(&self) -> &BTreeSet<Scope> {
        &self.0.scopes
    }

    /// Waits until the caller may no longer: its token was taken back, changed, or is over.
    pub async fn ended(&self) {
        self.0.ended.cancelled().await;
    }
}
