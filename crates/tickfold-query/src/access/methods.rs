//! What each method of the listener asks of its caller, by its path. What is not named here asks for
//! the most, so a service that is added is closed until somebody opens it.

use super::Scope;

/// What a caller needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: a load balancer asks without a token.
    Nothing,
    /// To be somebody.
    Name,
    /// All of these scopes.
    Scopes(&'static [Scope]),
}

/// The need of a path such as `/tickfold.query.v1.QueryService/GetMessage`.
pub(crate) fn need(path: &str) -> Need {
    match package_and_method(path) {
        ("grpc.health.v1.Health", _) => Need::Nothing,
        ("grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection", _) => {
            Need::Name
        }
        // Records of topics are what Meta sent, and what was made of it, as it is.
        ("tickfold.admin.v1.AdminService", "Tail") => {
            Need::Scopes(&[Scope::Admin, Scope::PersonalData])
        }
        (service, _) if service.starts_with("tickfold.query.") => Need::Scopes(&[Scope::Query]),
        _ => Need::Scopes(&[Scope::Admin]),
    }
}

/// True if each call of it is worth a line in the log.
pub(crate) fn is_audited(path: &str) -> bool {
    matches!(need(path), Need::Scopes(scopes) if scopes.contains(&Scope::Admin))
}

/// True if a node asks it of another one on behalf of a caller.
pub(crate) fn is_forwarded(path: &str) -> bool {
    let rules = ("tickfold.admin.v1.RulesService", "GetRules");
    need(path) == Need::Scopes(&[Scope::Query]) || package_and_method(path) == rules
}

fn package_and_method(path: &str) -> (&str, &str) {
    path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or((path, ""))
}
