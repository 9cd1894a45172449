//! The mirror over a real socket, beside gRPC: each reply, page, stream and failure is the same, for whoever
//! asks, and fits the OpenAPI document.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;
use tickfold_proto::query::v1::find_messages_request::What;
use tickfold_proto::query::v1::{self as pb, MessageView};
use tickfold_query::{Accounts, Auth, Door, QueryOptions, QueryState, Scope, Tokens, mirror};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::callers::{Rng, Tenant, auth, call, entry, only, seed, signed, tenants};
use crate::world::{World, Writers};

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A connection on which a request was sent, behind the headers of its answer. Each has its own, so that a
/// body ends where the connection does.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (Answer, BufReader<TcpStream>) {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let mut head = format!("{method} {path} HTTP/1.0\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "host") {
        head += &format!("host: {address}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let code = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
    let pairs = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let headers = pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    (Answer { code, headers: headers.collect(), body: Vec::new() }, stream)
}

/// One request and all of its answer.
pub(crate) async fn http(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let (mut answer, mut stream) = ask(address, method, path, headers, body).await;
    stream.read_to_end(&mut answer.body).await.unwrap();
    answer
}

/// The mirror of a server, on a port of its own.
async fn mirrored(door: &Door, auth: &Auth) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = mirror(door, auth).unwrap();
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A path with everything escaped that is not a letter or a digit.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

pub(crate) fn url(path: &[&str], query: &[(&str, String)]) -> String {
    let path: Vec<_> = path.iter().map(|part| escaped(part)).collect();
    let query: Vec<_> = query
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", escaped(value)))
        .collect();
    format!("/v1/{}?{}", path.join("/"), query.join("&"))
}

fn pool() -> DescriptorPool {
    let mut pool = DescriptorPool::new();
    for set in [tonic_types::pb::FILE_DESCRIPTOR_SET, tickfold_proto::FILE_DESCRIPTOR_SET] {
        pool.decode_file_descriptor_set(set).unwrap();
    }
    pool
}

/// The schemas of the document, with every member that they do not name forbidden.
struct Schemas(BTreeMap<String, jsonschema::Validator>);

impl Schemas {
    fn new() -> Self {
        let document = tickfold_query::openapi().unwrap();
        let mut schemas = document["components"]["schemas"].clone();
        for schema in schemas.as_object_mut().unwrap().values_mut() {
            if schema["properties"].is_object() {
                schema["additionalProperties"] = false.into();
            }
        }
        let names: Vec<_> = schemas.as_object().unwrap().keys().cloned().collect();
        let of = |name: &String| {
            let root = serde_json::json!({
                "$ref": format!("#/components/schemas/{name}"),
                "components": { "schemas": schemas },
            });
            (name.clone(), jsonschema::validator_for(&root).unwrap())
        };
        Self(names.iter().map(of).collect())
    }

    fn check(&self, name: &str, value: &Value) {
        if let Err(error) = self.0[name].validate(value) {
            panic!("{name}: {error}: {value}");
        }
    }
}

/// What is compared, and how much of it was.
pub(crate) struct Beside {
    pub(crate) channel: Channel,
    pub(crate) mirror: SocketAddr,
    pool: DescriptorPool,
    schemas: Schemas,
    /// How often each code was the answer.
    codes: BTreeMap<i32, usize>,
}

impl Beside {
    /// What a method replies with.
    pub(crate) fn reply_of(&self, method: &str) -> MessageDescriptor {
        self.pool.get_message_by_name(&format!("tickfold.query.v1.{method}Response")).unwrap()
    }

    /// Counts an answer over gRPC by its code.
    pub(crate) fn count<R>(&mut self, replies: &Result<R, Status>) {
        let code = replies.as_ref().map_or_else(Status::code, |_| Code::Ok);
        *self.codes.entry(code.into()).or_default() += 1;
    }

    /// Of each of these codes there were some answers, so that each was compared.
    pub(crate) fn had_each(&self, codes: &[Code]) {
        for code in codes {
            let count = self.codes.get(&i32::from(*code)).copied().unwrap_or_default();
            assert!(count >= 3, "seed {}, {code:?}: {:?}", seed(), self.codes);
        }
    }

    /// Reads JSON as a message of the generated types.
    pub(crate) fn read<R: prost::Message + Default>(&self, method: &str, value: &Value) -> R {
        let descriptor = self.reply_of(method);
        self.schemas.check(descriptor.full_name(), value);
        let message = DynamicMessage::deserialize(descriptor, value.clone()).unwrap();
        R::decode(message.encode_to_vec().as_slice()).unwrap()
    }

    /// A failure is the same: code, details, and what it reflects.
    pub(crate) fn failed(&self, status: &Status, code: u16, told: &Value) {
        self.schemas.check("google.rpc.Status", told);
        let descriptor = self.pool.get_message_by_name("google.rpc.Status").unwrap();
        let details = DynamicMessage::decode(descriptor, status.details()).unwrap();
        assert_eq!(&serde_json::to_value(&details).unwrap(), told);
        let wanted = match status.code() {
            Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => 400,
            Code::Unauthenticated => 401,
            Code::PermissionDenied => 403,
            Code::NotFound => 404,
            Code::ResourceExhausted => 429,
            other => panic!("{other:?}"),
        };
        assert_eq!(code, wanted, "{status:?}");
    }

    /// Asks both, and compares. What was told, if it is one reply.
    async fn equal<Q, R>(&mut self, rpc: &str, token: &str, request: Q, url: &str) -> Option<R>
    where
        Q: prost::Message + std::fmt::Debug + Send + Sync + 'static,
        R: prost::Message + std::fmt::Debug + Default + PartialEq + Send + Sync + 'static,
    {
        let asked = format!("{rpc} {url} of {token}: {request:?}");
        let replies = call::<Q, R>(&self.channel, rpc, signed(token, request)).await;
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let answer = http(self.mirror, "GET", url, &headers, b"").await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        self.count(&replies);
        let (_, method) = rpc.rsplit_once('/').unwrap();
        let streams = method == "ExplainMessage";
        match replies {
            Err(status) => {
                self.failed(&status, answer.code, &answer.json());
                let as_of = status.metadata().get_bin("tickfold-as-of-bin");
                let as_of = as_of.map(|value| String::from_utf8(value.as_encoded_bytes().to_vec()));
                let told = answer.header("tickfold-as-of-bin");
                assert_eq!(told, as_of.map(Result::unwrap).as_deref(), "{asked}");
                None
            }
            Ok(mut replies) if !streams => {
                assert_eq!((answer.code, replies.len()), (200, 1), "{asked}: {answer:?}");
                assert_eq!(self.read::<R>(method, &answer.json()), replies[0], "{asked}");
                replies.pop()
            }
            Ok(replies) => {
                assert_eq!(answer.header("content-type"), Some("text/event-stream"));
                let text = String::from_utf8(answer.body).unwrap();
                let events = text.split_terminator("\n\n").map(|event| {
                    let data = event.strip_prefix("data: ").unwrap_or_else(|| panic!("{event}"));
                    self.read::<R>(method, &serde_json::from_str(data).unwrap())
                });
                assert_eq!(events.collect::<Vec<_>>(), replies, "{asked}");
                None
            }
        }
    }
}

pub(crate) const CALLERS: [&str; 5] = ["a", "narrow", "everybody", "everybody", "nobody"];

pub(crate) async fn beside(all: &[Tenant]) -> (World, Beside, Tokens) {
    let scopes = [Scope::Query, Scope::PersonalData];
    let (auth, tokens) = auth(vec![
        entry("a", &scopes, only(&[&all[0].waba])),
        entry("narrow", &[Scope::Query], only(&[&all[0].waba, &all[2].waba])),
        entry("everybody", &scopes, Accounts::All),
    ]);
    let world = World::guarded(auth.clone(), QueryOptions::default()).await;
    let mut writers = Writers::open(&world.stores);
    world.state(&QueryState::Serving).await;
    all.iter().for_each(|tenant| tenant.post(&mut writers));
    world.append(&mut writers).await;
    world.publish(&mut writers).await;
    let (channel, mirror) = (world.channel.clone(), mirrored(&world.door, &auth).await);
    let (pool, schemas, codes) = (pool(), Schemas::new(), BTreeMap::new());
    (world, Beside { channel, mirror, pool, schemas, codes }, tokens)
}

/// One generated request, and the pages behind it. How many there were.
async fn generated(beside: &mut Beside, rng: &mut Rng, all: &[Tenant]) -> usize {
    let token = rng.one(&CALLERS);
    let of = &all[rng.below(all.len())];
    let wamid = format!("{}{}", of.wamid, rng.one(&["0", "1", "2", "3", "4", "in", "/+?=", ""]));
    let view =
        [MessageView::Unspecified, MessageView::Basic, MessageView::Full, MessageView::History]
            [rng.below(4)];
    let view_name = || view.as_str_name().to_owned();
    let page_size = [-1, 0, 1, 2, 3][rng.below(5)];
    let (waba_id, phone_number_id, party) =
        (of.waba.clone(), of.number.to_owned(), of.party.to_owned());
    macro_rules! ask {
        ($method:literal, $reply:ty, $request:expr, $path:expr, $query:expr) => {{
            let rpc = concat!("/tickfold.query.v1.QueryService/", $method);
            let url = url(&$path, &$query);
            beside.equal::<_, $reply>(rpc, token, $request, &url).await
        }};
    }
    macro_rules! pages {
        ($method:literal, $request:ident, $reply:ident, { $($field:ident: $value:expr),* }, $path:expr, $query:expr) => {{
            let (mut page_token, mut pages) = (String::new(), 0);
            loop {
                let request = pb::$request {
                    page_size,
                    page_token: page_token.clone(),
                    $($field: $value,)*
                    ..Default::default()
                };
                let mut query = $query.to_vec();
                query.extend([("pageSize", page_size.to_string()), ("page_token", page_token)]);
                let told = ask!($method, pb::$reply, request, $path, query);
                pages += 1;
                match told {
                    Some(told) if !told.next_page_token.is_empty() => page_token = told.next_page_token,
                    _ => break pages,
                }
            }
        }};
    }
    match rng.below(11) {
        0 => {
            let request = pb::GetMessageRequest {
                wamid: wamid.clone(),
                view: view.into(),
                ..Default::default()
            };
            // An empty part is no path.
            if wamid.is_empty() {
                return 0;
            }
            ask!(
                "GetMessage",
                pb::GetMessageResponse,
                request,
                ["messages", &wamid],
                [("view", view_name())]
            );
        }
        1 => {
            let wamids = vec![wamid.clone(), format!("{}1", of.wamid), wamid.clone()];
            let query: Vec<_> = wamids.iter().map(|wamid| ("wamids", wamid.clone())).collect();
            let request = pb::LookupMessagesRequest { wamids, ..Default::default() };
            let url = url(&["messages:lookup"], &query).replace("%3A", ":");
            let rpc = "/tickfold.query.v1.QueryService/LookupMessages";
            beside.equal::<_, pb::LookupMessagesResponse>(rpc, token, request, &url).await;
        }
        2 if rng.below(2) == 0 => {
            let filter = rng.one(&["", "state = FAILED", "party = 1"]).to_owned();
            return pages!("ListMessages", ListMessagesRequest, ListMessagesResponse,
                { phone_number_id: phone_number_id.clone(), view: view.into(), filter: filter.clone() },
                ["numbers", &phone_number_id, "messages"], [("view", view_name()), ("filter", filter.clone())]);
        }
        2 => {
            return pages!("ListMessages", ListMessagesRequest, ListMessagesResponse,
                { phone_number_id: phone_number_id.clone(), party: party.clone(), view: view.into() },
                ["conversations", &phone_number_id, &party, "messages"], [("view", view_name())]);
        }
        3 => {
            let request = pb::GetConversationRequest {
                phone_number_id: phone_number_id.clone(),
                party: party.clone(),
                message_count: page_size,
                message_view: view.into(),
                ..Default::default()
            };
            let query = [("messageCount", page_size.to_string()), ("messageView", view_name())];
            ask!(
                "GetConversation",
                pb::GetConversationResponse,
                request,
                ["conversations", &phone_number_id, &party],
                query
            );
        }
        4 => {
            let language = rng.one(&["en_US", "de"]).to_owned();
            let request = pb::GetTemplateRequest {
                waba_id: waba_id.clone(),
                template_id: of.template.to_owned(),
                language: language.clone(),
                ..Default::default()
            };
            let path = ["templates", &waba_id, of.template, &language];
            ask!("GetTemplate", pb::GetTemplateResponse, request, path, []);
        }
        5 => {
            // What cannot be fulfilled before the deadline is refused as over gRPC.
            let month = rng.one(&["", "2026-11", "x"]).to_owned();
            let request = pb::GetAccountRequest {
                waba_id: waba_id.clone(),
                month: month.clone(),
                min_position: vec![pb::Position { partition: 0, offset: 1 }],
                ..Default::default()
            };
            let query = [("month", month), ("minPosition", "0:1".to_owned())];
            ask!("GetAccount", pb::GetAccountResponse, request, ["accounts", &waba_id], query);
        }
        6 => {
            let request = pb::GetNumberRequest {
                phone_number_id: phone_number_id.clone(),
                ..Default::default()
            };
            ask!("GetNumber", pb::GetNumberResponse, request, ["numbers", &phone_number_id], []);
        }
        7 => {
            let state = rng.one(&["", "restricted"]).to_owned();
            return pages!("ListAccounts", ListAccountsRequest, ListAccountsResponse, { state: state.clone() },
                ["accounts"], [("state", state.clone())]);
        }
        8 => {
            let request = pb::GetUserRequest {
                waba_id: waba_id.clone(),
                party: party.clone(),
                ..Default::default()
            };
            ask!("GetUser", pb::GetUserResponse, request, ["users", &waba_id, &party], []);
        }
        9 => {
            let labels = pb::Labels { campaign: "spring".to_owned(), ..Default::default() };
            let (what, query) = match rng.below(2) {
                0 => (What::Labels(labels), ("labels.campaign", "spring".to_owned())),
                _ => (What::FbtraceId("Shared".to_owned()), ("fbtraceId", "Shared".to_owned())),
            };
            return pages!("FindMessages", FindMessagesRequest, FindMessagesResponse,
                { what: Some(what.clone()), view: view.into() }, ["messages"], [query.clone(), ("view", view_name())]);
        }
        _ => {
            let request = pb::ExplainMessageRequest {
                wamid: wamid.clone(),
                view: view.into(),
                ..Default::default()
            };
            if wamid.is_empty() {
                return 0;
            }
            ask!(
                "ExplainMessage",
                pb::ExplainMessageResponse,
                request,
                ["messages", &wamid, "explanation"],
                [("view", view_name())]
            );
        }
    }
    1
}

#[tokio::test]
async fn generated_requests_are_answered_as_over_grpc() {
    let all = tenants();
    let (_world, mut beside, _) = beside(&all).await;
    let seed = seed();
    let mut rng = Rng(seed);
    let (mut asked, mut pages) = (0, 0);
    while asked < 200 {
        let answered = generated(&mut beside, &mut rng, &all).await;
        asked += answered.min(1);
        pages += answered.saturating_sub(1);
    }
    beside.had_each(&[
        Code::Ok,
        Code::NotFound,
        Code::InvalidArgument,
        Code::PermissionDenied,
        Code::Unauthenticated,
    ]);
    assert!(pages > 10, "seed {seed}: {pages} further pages");
}

#[tokio::test]
async fn each_path_of_the_document_is_there_and_asks_for_a_token() {
    let all = tenants();
    let (world, beside, _) = beside(&all).await;
    let document = http(beside.mirror, "GET", "/openapi.json", &[], b"").await.json();
    assert_eq!(document, tickfold_query::openapi().unwrap());
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 20, "{}", paths.len());
    for (path, item) in paths {
        let mut asked = path.clone();
        for parameter in item["get"]["parameters"].as_array().unwrap() {
            if parameter["in"] == "path" {
                let name = format!("{{{}}}", parameter["name"].as_str().unwrap());
                assert!(asked.contains(&name), "{path} {name}");
                asked = asked.replace(&name, "1");
            }
        }
        assert!(!asked.contains('{'), "{asked}");
        let answer = http(beside.mirror, "GET", &asked, &[], b"").await;
        assert_eq!(
            (answer.code, answer.header("www-authenticate")),
            (401, Some("Bearer")),
            "{path}"
        );
        let posted =
            http(beside.mirror, "POST", &asked, &[("authorization", "Bearer everybody")], b"{}")
                .await;
        assert_eq!(posted.code, 405, "{path}");
    }
    for path in ["/v1", "/v1/nothing", "/v1/messages/a/b/c", "/v2/messages/a"] {
        assert_eq!(http(beside.mirror, "GET", path, &[], b"").await.code, 404, "{path}");
    }
    // Metadata of nodes does not come in by this way: over gRPC each of these is refused.
    let url = format!("/v1/messages/{}0", all[0].wamid);
    let of_nodes = [("tickfold-behalf", "everybody query *"), ("tickfold-partitions", "1")];
    for (name, value) in of_nodes {
        let asked =
            pb::GetMessageRequest { wamid: format!("{}0", all[0].wamid), ..Default::default() };
        let mut asked = signed("everybody", asked);
        asked.metadata_mut().insert(name, value.parse().unwrap());
        let refused = world.query().get_message(asked).await.map(|_| ());
        assert!(refused.is_err(), "{name}");
        let headers = [("authorization", "Bearer everybody"), (name, value)];
        assert_eq!(http(beside.mirror, "GET", &url, &headers, b"").await.code, 200, "{name}");
    }
    let headers = [("authorization", "Bearer everybody")];
    // A server that stops is not there for the mirror either, and says so.
    world.shutdown.cancel();
    world.server.await.unwrap().unwrap();
    let answer = http(beside.mirror, "GET", &url, &headers, b"").await;
    assert_eq!((answer.code, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    let details = answer.json()["details"].as_array().unwrap().clone();
    assert!(details.iter().any(|one| one["reason"] == "SHUTTING_DOWN"), "{answer:?}");
}

#[tokio::test]
async fn without_tokens_only_names_of_this_machine_are_answered() {
    let (world, mut writers) = World::open().await;
    writers.post(&crate::world::status(&crate::world::waba(0), "wamid.A", "sent", 1, ""));
    let mirror = mirrored(&world.door, &Auth::default()).await;
    let port = mirror.port();
    let code = async |host: String| {
        http(mirror, "GET", "/v1/messages/wamid.A", &[("host", &host)], b"").await.code
    };
    assert_eq!(code(format!("127.0.0.1:{port}")).await, 200);
    assert_eq!(code(format!("localhost:{port}")).await, 200);
    assert_eq!(code(format!("evil.example:{port}")).await, 403);
}
