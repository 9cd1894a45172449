//! On whose behalf a node asks another one: what the caller may goes with the question, in metadata.
//!
//! The node that is asked believes it of a node only, which it knows by a token or certificate of scope
//! `node`, and for what nodes ask each other only. So a caller has the same rights wherever an answer
//! comes from, and never more than it has where it asked.

use std::collections::BTreeSet;

use tickfold_core::ids::WabaId;
use tonic::codegen::http::HeaderMap;
use tonic::metadata::MetadataMap;

use super::{Access, Accounts, Scope};
use crate::reasons::{Failure, Reason};

/// `NAME SCOPE,… WABA,…`, the accounts as `*` if they are all.
const BEHALF: &str = "tickfold-behalf";

/// What a node says of a caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    name: String,
    scopes: BTreeSet<Scope>,
    accounts: Accounts,
}

impl Told {
    /// The caller's access, for as long as the node that tells it may. Being a node is not passed on.
    pub(super) fn by(self, node: &Access) -> Access {
        let Self { name, mut scopes, accounts } = self;
        scopes.remove(&Scope::Node);
        Access::new(name, scopes, accounts, node.0.ended.clone())
    }
}

/// Writes what a caller may. A node that authenticates nobody says nothing of its callers.
pub(crate) fn write(metadata: &mut MetadataMap, access: &Access) {
    if access.name().is_empty() {
        return;
    }
    let scopes: Vec<_> = access.scopes().iter().map(|scope| scope.word()).collect();
    let accounts = match access.accounts() {
        Accounts::All => "*".to_owned(),
        Accounts::Only(ids) => ids.iter().map(WabaId::as_str).collect::<Vec<_>>().join(","),
    };
    let text = format!("{} {} {accounts}", access.name(), scopes.join(","));
    if let Ok(value) = text.parse() {
        metadata.insert(BEHALF, value);
    }
}

/// What a call says of whom it is for; `None` if it is for whoever makes it.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<Told>, Failure> {
    let mut given = headers.get_all(BEHALF).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let told = value.to_str().ok().filter(|_| given.next().is_none()).and_then(parse);
    let odd = || Failure::new(Reason::Unauthenticated, "a node told an odd caller");
    told.map(Some).ok_or_else(odd)
}

fn parse(text: &str) -> Option<Told> {
    let mut parts = text.split(' ');
    let (name, scopes, accounts) = (parts.next()?, parts.next()?, parts.next()?);
    if name.is_empty() || accounts.is_empty() || parts.next().is_some() {
        return None;
    }
    let scopes = scopes.split(',').map(Scope::of).collect::<Option<_>>()?;
    let accounts = match accounts {
        "*" => Accounts::All,
        some => Accounts::Only(some.split(',').map(WabaId::from).collect()),
    };
    Some(Told { name: name.to_owned(), scopes, accounts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(access: &Access) -> HeaderMap {
        let mut metadata = MetadataMap::new();
        write(&mut metadata, access);
        metadata.into_headers()
    }

    #[test]
    fn what_a_caller_may_comes_out_as_it_went_in() {
        let some = Accounts::Only(["1", "22"].map(WabaId::from).into());
        for accounts in [some, Accounts::All] {
            let scopes = BTreeSet::from([Scope::Query, Scope::PersonalData]);
            let ended = tokio_util::sync::CancellationToken::new();
            let access = Access::new("crm".into(), scopes, accounts, ended);
            let told = read(&headers(&access)).unwrap().unwrap().by(&Access::unchecked());
            assert_eq!(format!("{told:?}"), format!("{access:?}"));
        }
        assert!(headers(&Access::unchecked()).is_empty());
        assert_eq!(read(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn nobody_is_made_a_node_by_another_and_odd_words_make_nobody() {
        let node = Access::unchecked();
        let told = parse("x node,query *").unwrap().by(&node);
        assert!(told.has(Scope::Query) && !told.has(Scope::Node));
        for odd in ["", "x", "x query", "x query ", " query *", "x all *", "x query * *", "x  *"] {
            assert_eq!(parse(odd), None, "{odd:?}");
        }
    }
}
