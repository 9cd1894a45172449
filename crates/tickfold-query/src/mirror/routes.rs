//! Which method of the services answers which path. Everything else follows from the descriptors: what a
//! request may say, what a reply looks like, and the OpenAPI document.

/// A path, and the method that answers it.
#[derive(Debug)]
pub(crate) struct Route {
    /// As axum and OpenAPI write it. A name in braces is a field of the request.
    pub(crate) path: &'static str,
    /// Full name of the service.
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    /// Names in the path whose field is inside another one.
    pub(crate) within: &'static [(&'static str, &'static str)],
    /// Its name in the OpenAPI document, where each has one: that of the method, unless it has two paths.
    pub(crate) operation: &'static str,
}

const QUERY: &str = "tickfold.query.v1.QueryService";
const WATCH: &str = "tickfold.query.v1.WatchService";
const LOG: &str = "tickfold.admin.v1.AdminService";
const DEAD_LETTERS: &str = "tickfold.admin.v1.DeadLetterService";

const fn route(path: &'static str, service: &'static str, method: &'static str) -> Route {
    Route { path, service, method, within: &[], operation: method }
}

/// All of them. Only methods that change nothing: a GET must be safe to repeat.
pub(crate) const ROUTES: &[Route] = &[
    route("/v1/messages", QUERY, "FindMessages"),
    route("/v1/messages/{wamid}", QUERY, "GetMessage"),
    route("/v1/messages/{wamid}/explanation", QUERY, "ExplainMessage"),
    route("/v1/messages:lookup", QUERY, "LookupMessages"),
    route("/v1/conversations/{phoneNumberId}/{party}", QUERY, "GetConversation"),
    route("/v1/conversations/{phoneNumberId}/{party}/messages", QUERY, "ListMessages"),
    route("/v1/templates", QUERY, "ListTemplates"),
    route("/v1/templates/{wabaId}/{templateId}/{language}", QUERY, "GetTemplate"),
    route("/v1/numbers", QUERY, "ListNumbers"),
    route("/v1/numbers/{phoneNumberId}", QUERY, "GetNumber"),
    Route {
        operation: "ListMessagesOfNumber",
        ..route("/v1/numbers/{phoneNumberId}/messages", QUERY, "ListMessages")
    },
    route("/v1/accounts", QUERY, "ListAccounts"),
    route("/v1/accounts/{wabaId}", QUERY, "GetAccount"),
    route("/v1/users/{wabaId}/{party}", QUERY, "GetUser"),
    route("/v1/watch/messages", WATCH, "WatchMessages"),
    route("/v1/watch/conversations/{phoneNumberId}/{party}", WATCH, "WatchConversation"),
    route("/v1/watch/numbers/{phoneNumberId}", WATCH, "WatchNumber"),
    route("/v1/watch/accounts/{wabaId}", WATCH, "WatchAccount"),
    route("/v1/watch/transitions", WATCH, "WatchTransitions"),
    route("/v1/watch/actions", WATCH, "WatchActions"),
    route("/v1/watch/alerts", WATCH, "WatchAlerts"),
    route("/v1/topics", LOG, "ListTopics"),
    route("/v1/topics/{topic}/records", LOG, "Tail"),
    route("/v1/dead-letters", DEAD_LETTERS, "ListDeadLetters"),
    Route {
        within: &[("partition", "position.partition"), ("offset", "position.offset")],
        ..route("/v1/dead-letters/{partition}/{offset}", DEAD_LETTERS, "GetDeadLetter")
    },
];

impl Route {
    /// Where the method is on the gRPC listener.
    pub(crate) fn rpc(&self) -> String {
        format!("/{}/{}", self.service, self.method)
    }

    /// Names in the path, and the field of each.
    pub(crate) fn bound(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let names = self.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        names.map(|name| (name, self.field(name)))
    }

    /// The field that a name in the path stands for.
    pub(crate) fn field<'a>(&self, name: &'a str) -> &'a str {
        self.within.iter().find(|(of, _)| *of == name).map_or(name, |(_, field)| field)
    }
}
