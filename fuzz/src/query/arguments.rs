//! What the tokens of pages need of the arguments of a call, whose checks need the whole server.

/// As the view of `tickfold-query`.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "all of them have a place in a token")]
pub(crate) enum View {
    Basic,
    Full,
    History,
}
