//! Callers: known and unknown, each scope, accounts that are not theirs, tokens that are taken back,
//! nodes that ask for others, certificates.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use prost::Message as _;
use tickfold_core::hash::sha256;
use tickfold_core::ids::WabaId;
use tickfold_core::time::Timestamp;
use tickfold_proto::admin::v1 as admin;
use tickfold_proto::query::v1::find_messages_request::What;
use tickfold_proto::query::v1::query_service_client::QueryServiceClient;
use tickfold_proto::query::v1::{self as pb, MessageView};
use tickfold_query::{
    Accounts, Auth, Credentials, Proof, QueryOptions, QueryState, Scope, ServerPem, ServerTls,
    TokenEntry, Tokens,
};
use tokio_stream::StreamExt;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::peers::cluster;
use crate::world::{World, Writers, change, reason};

/// An entry for the token of that text.
pub(crate) fn entry(name: &str, scopes: &[Scope], accounts: Accounts) -> TokenEntry {
    TokenEntry {
        name: name.to_owned(),
        proof: Proof::TokenHash(sha256(name.as_bytes())),
        scopes: scopes.iter().copied().collect(),
        accounts,
        expires: None,
        calls_max: None,
    }
}

pub(crate) fn only(ids: &[&str]) -> Accounts {
    Accounts::Only(ids.iter().map(|id| WabaId::from(*id)).collect())
}

pub(crate) fn auth(entries: Vec<TokenEntry>) -> (Auth, Tokens) {
    let tokens = Tokens::new(entries).unwrap();
    (Auth { tokens: Some(tokens.clone()), ..Auth::default() }, tokens)
}

pub(crate) fn signed<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// Calls any method with any message, whatever its kind: all that came, and how it ended.
pub(crate) async fn call<Q, R>(
    channel: &Channel,
    path: &str,
    request: Request<Q>,
) -> Result<Vec<R>, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    R: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path: PathAndQuery = path.parse().unwrap();
    let requests = request.map(|message| tokio_stream::iter([message]));
    let codec = ProstCodec::default();
    let mut replies = client.streaming(requests, path, codec).await?.into_inner();
    let mut all = Vec::new();
    while let Some(reply) = replies.next().await {
        all.push(reply?);
    }
    Ok(all)
}

/// Every method of the descriptors that the server shows, ours and others'.
fn methods() -> Vec<String> {
    let ours = prost_types::FileDescriptorSet::decode(tickfold_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut methods = ["v1", "v1alpha"]
        .map(|version| format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"))
        .to_vec();
    for file in &ours.file {
        for service in &file.service {
            let of = format!("/{}.{}", file.package(), service.name());
            methods.extend(service.method.iter().map(|method| format!("{of}/{}", method.name())));
        }
    }
    methods
}

#[tokio::test]
async fn no_method_answers_without_a_token_and_none_says_why_to_whom_it_does_not_know() {
    let (auth, _) = auth(vec![entry("crm", &[Scope::Query], Accounts::All)]);
    let world = World::guarded(auth, QueryOptions::default()).await;
    let methods = methods();
    assert!(methods.len() > 30, "{methods:?}");
    for path in &methods {
        let headers: [&[(&str, &str)]; 6] = [
            &[],
            &[("authorization", "Bearer crm2")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Basic crm")],
            &[("authorization", "crm")],
            &[("authorization", "Bearer crm"), ("authorization", "Bearer crm")],
        ];
        for headers in headers {
            let mut request = Request::new(());
            for (name, value) in headers {
                request.metadata_mut().append(*name, value.parse().unwrap());
            }
            let refused = call::<(), ()>(&world.channel, path, request).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{path} {headers:?}");
            assert_eq!(reason(&refused).0, "UNAUTHENTICATED");
            assert!(!refused.message().contains("crm"), "{refused:?}");
        }
    }
    // Health is for load balancers, which have none.
    let path = "/grpc.health.v1.Health/Check";
    call::<(), ()>(&world.channel, path, Request::new(())).await.unwrap();
}

#[tokio::test]
async fn each_method_needs_its_scope_and_no_other_will_do() {
    let scopes = |path: &str| -> &[Scope] {
        if path.contains("ServerReflection") {
            return &[];
        }
        match path {
            "/tickfold.admin.v1.AdminService/Tail" => &[Scope::Admin, Scope::PersonalData],
            "/tickfold.query.v1.QueryService/GetUser" => &[Scope::Query, Scope::PersonalData],
            _ if path.starts_with("/tickfold.query.v1.") => &[Scope::Query],
            _ if path.starts_with("/tickfold.admin.v1.") => &[Scope::Admin],
            _ => panic!("{path}"),
        }
    };
    let mut entries: Vec<_> =
        Scope::ALL.map(|scope| entry(scope.word(), &[scope], Accounts::All)).into_iter().collect();
    for (name, scope) in [("reader", Scope::Query), ("operator", Scope::Admin)] {
        entries.push(entry(name, &[scope, Scope::PersonalData], Accounts::All));
    }
    let (auth, _) = auth(entries.clone());
    let world = World::guarded(auth, QueryOptions::default()).await;
    for path in methods() {
        for entry in &entries {
            let lacks: BTreeSet<_> =
                scopes(&path).iter().filter(|scope| !entry.scopes.contains(scope)).collect();
            let request = signed(&entry.name, ());
            // An empty request is wrong in one way or another, if it is looked at.
            let limit = Duration::from_secs(2);
            let answered = call::<(), ()>(&world.channel, &path, request);
            // A stream that goes on was let in.
            let answered = tokio::time::timeout(limit, answered).await.unwrap_or(Ok(Vec::new()));
            let code = answered.map_or_else(|status| status.code(), |_| Code::Ok);
            assert_ne!(code, Code::Unauthenticated, "{path} {}", entry.name);
            assert_eq!(code == Code::PermissionDenied, !lacks.is_empty(), "{path} {}", entry.name);
        }
    }
}

/// A tenant of a story: everything of it is told by its own ids.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) waba: String,
    pub(crate) number: &'static str,
    pub(crate) party: &'static str,
    pub(crate) user_id: &'static str,
    pub(crate) wamid: &'static str,
    pub(crate) template: &'static str,
    pub(crate) display: &'static str,
}

/// Two accounts in one partition and one in the other.
pub(crate) fn tenants() -> [Tenant; 3] {
    let mut ids = (215_589_900_000_100..).map(|n: u64| n.to_string());
    let partition =
        |id: &String| tickfold_core::raw::partition_of(&WabaId::from(id.as_str()), crate::world::P);
    let mut of = |wanted| ids.find(|id| partition(id) == wanted).unwrap();
    let tenant = |waba: String, n: usize| Tenant {
        waba,
        number: ["318840000000001", "318840000000002", "318840000000003"][n],
        party: ["491701100011", "491702200022", "491703300033"][n],
        user_id: ["DE.UA", "DE.UB", "DE.UC"][n],
        wamid: ["wamid.AAAA", "wamid.BBBB", "wamid.CCCC"][n],
        template: ["600100000001", "600100000002", "600100000003"][n],
        display: ["15550000001", "15550000002", "15550000003"][n],
    };
    [tenant(of(0), 0), tenant(of(0), 1), tenant(of(1), 2)]
}

impl Tenant {
    pub(crate) fn post(&self, writers: &mut Writers) {
        let Self { waba, number, party, user_id, wamid, template, display } = self;
        let messages = |rest: &str| {
            let value = format!(
                r#"{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"{display}",
                "phone_number_id":"{number}"}},{rest}}}"#
            );
            change(waba, "messages", &value)
        };
        for n in 0..5 {
            let time = crate::world::T0 + n;
            writers.post(&messages(&format!(
                r#""statuses":[{{"id":"{wamid}{n}","status":"failed","timestamp":"{time}",
                "recipient_id":"{party}","biz_opaque_callback_data":"campaign=spring;intent=i-{wamid}{n}",
                "errors":[{{"code":131026,"title":"of {wamid}","fbtrace_id":"Shared"}}]}}]"#
            )));
        }
        let time = crate::world::T0 + 9;
        writers.post(&messages(&format!(
            r#""contacts":[{{"wa_id":"{party}","user_id":"{user_id}","profile":{{"name":"of {wamid}"}}}}],
            "messages":[{{"id":"{wamid}in","from":"{party}","from_user_id":"{user_id}",
            "timestamp":"{time}","type":"text","text":{{"body":"hi"}},
            "referral":{{"source_type":"ad","source_id":"ad-{wamid}","ctwa_clid":"click-{wamid}"}}}}]"#
        )));
        let paused = format!(
            r#"{{"message_template_id":{template},"message_template_name":"of {wamid}",
            "message_template_language":"en_US","event":"PAUSED","reason":"{wamid}"}}"#
        );
        writers.post(&change(waba, "message_template_status_update", &paused));
        let restricted = r#"{"event":"ACCOUNT_RESTRICTION","restriction_info":[{"restriction_type":
            "RESTRICTED_BIZ_INITIATED_MESSAGING","expiration":1795140000}]}"#;
        writers.post(&change(waba, "account_update", restricted));
        let flagged = format!(
            r#"{{"display_phone_number":"{display}","event":"FLAGGED","current_limit":"TIER_1K"}}"#
        );
        writers.post(&change(waba, "phone_number_quality_update", &flagged));
    }

    /// What must not come to anybody else. Positions and counts of partitions say nothing.
    pub(crate) fn marks(&self) -> Vec<String> {
        let Self { waba, number, party, user_id, wamid, template, display } = self;
        [number, party, user_id, wamid, template, display]
            .into_iter()
            .map(|mark| (*mark).to_owned())
            .chain([waba.clone()])
            .collect()
    }
}

/// What generated calls are drawn by: `TICKFOLD_SEED`, or the same ones each time.
pub(crate) fn seed() -> u64 {
    std::env::var("TICKFOLD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    pub(crate) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// What a generated call was answered with, as far as there was anything to search in.
struct Answered {
    asked: String,
    told: Vec<u8>,
    token: String,
    code: Code,
}

/// Tokens that somebody was given, of pages and of watches.
#[derive(Default)]
struct Given {
    pages: Vec<String>,
    watches: Vec<String>,
}

/// Opens a watch, and reads it until it has told what there is.
async fn watch<Q, R>(
    channel: &Channel,
    method: &str,
    request: Request<Q>,
    is_mark: fn(&R) -> bool,
) -> Result<Vec<R>, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    R: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path: PathAndQuery = format!("/tickfold.query.v1.WatchService/{method}").parse().unwrap();
    let codec = ProstCodec::default();
    let mut replies = client.server_streaming(request, path, codec).await?.into_inner();
    let mut all = Vec::new();
    loop {
        let reply = tokio::time::timeout(Duration::from_secs(30), replies.message());
        let reply: R = reply.await.expect("a mark").map(|reply| reply.expect("no end"))?;
        let is_last = is_mark(&reply);
        all.push(reply);
        if is_last {
            return Ok(all);
        }
    }
}

/// One generated call of one of the methods, with arguments of anybody.
async fn generated(
    channel: &Channel,
    token: &str,
    rng: &mut Rng,
    tenants: &[Tenant],
    given: &mut Given,
) -> Answered {
    let mut any = |of: fn(&Tenant) -> String| of(&tenants[rng.below(tenants.len())]);
    let wamid = any(|t| t.wamid.to_owned());
    let (waba_id, number) = (any(|t| t.waba.clone()), any(|t| t.number.to_owned()));
    let (party, template) = (any(|t| t.party.to_owned()), any(|t| t.template.to_owned()));
    let user_id = any(|t| t.user_id.to_owned());
    let party = rng.one(&[party.as_str(), user_id.as_str()]).to_owned();
    let wamid = format!("{wamid}{}", rng.one(&["0", "1", "2", "3", "4", "in"]));
    let view = [0, 1, 2, 3][rng.below(4)];
    let page_size = [0, 1, 2, 3][rng.below(4)];
    let one_of = |rng: &mut Rng, tokens: &[String]| match rng.below(3) {
        0 if !tokens.is_empty() => tokens[rng.below(tokens.len())].clone(),
        _ => String::new(),
    };
    let (page_token, resume_token) = (one_of(rng, &given.pages), one_of(rng, &given.watches));
    let filter = rng.one(&["", "", "state = FAILED", "error_code = 131026 AND state != SENT"]);
    let filter = filter.to_owned();
    let maybe_waba = if rng.below(2) == 0 { String::new() } else { waba_id.clone() };
    macro_rules! ask {
        ($method:literal, $request:expr, $reply:ty, $token:expr) => {{
            let request = $request;
            let asked = format!("{} {request:?}", $method);
            let path = concat!("/tickfold.query.v1.QueryService/", $method);
            let replies = call::<_, $reply>(channel, path, signed(token, request)).await;
            let page: fn(&$reply) -> String = $token;
            answered(asked, replies, page, &mut given.pages)
        }};
    }
    macro_rules! watch {
        ($method:literal, $request:expr, $reply:ty, $item:path) => {{
            let request = $request;
            let asked = format!("{} {request:?}", $method);
            let is_mark: fn(&$reply) -> bool = |reply| matches!(reply.item, Some($item(_)));
            let replies = watch(channel, $method, signed(token, request), is_mark).await;
            answered(asked, replies, |reply| reply.resume_token.clone(), &mut given.watches)
        }};
    }
    match rng.below(20) {
        0 => {
            let request = pb::GetMessageRequest { wamid, view, ..Default::default() };
            ask!("GetMessage", request, pb::GetMessageResponse, |_| String::new())
        }
        1 => {
            let own = tenants.iter().map(|t| format!("{}1", t.wamid));
            let wamids = own.chain([wamid]).collect();
            let request = pb::LookupMessagesRequest { wamids, view, ..Default::default() };
            ask!("LookupMessages", request, pb::LookupMessagesResponse, |_| String::new())
        }
        2 => {
            let request = pb::ListMessagesRequest {
                phone_number_id: number,
                party,
                page_size,
                page_token,
                view,
                filter,
                ..Default::default()
            };
            ask!("ListMessages", request, pb::ListMessagesResponse, |reply| reply
                .next_page_token
                .clone())
        }
        3 => {
            let request = pb::GetConversationRequest {
                phone_number_id: number,
                party,
                message_count: page_size,
                message_view: view,
                ..Default::default()
            };
            ask!("GetConversation", request, pb::GetConversationResponse, |reply| reply
                .next_page_token
                .clone())
        }
        4 => {
            let request = pb::GetTemplateRequest {
                waba_id,
                template_id: template,
                language: "en_US".to_owned(),
                ..Default::default()
            };
            ask!("GetTemplate", request, pb::GetTemplateResponse, |_| String::new())
        }
        5 => {
            let request = pb::GetAccountRequest { waba_id, ..Default::default() };
            ask!("GetAccount", request, pb::GetAccountResponse, |_| String::new())
        }
        6 => {
            let request = pb::GetNumberRequest { phone_number_id: number, ..Default::default() };
            ask!("GetNumber", request, pb::GetNumberResponse, |_| String::new())
        }
        7 => {
            let status = rng.one(&["", "PAUSED"]).to_owned();
            let request = pb::ListTemplatesRequest {
                waba_id: maybe_waba,
                status,
                page_size,
                page_token,
                ..Default::default()
            };
            ask!("ListTemplates", request, pb::ListTemplatesResponse, |reply| reply
                .next_page_token
                .clone())
        }
        8 => {
            let state = rng.one(&["", "restricted"]).to_owned();
            let request =
                pb::ListAccountsRequest { state, page_size, page_token, ..Default::default() };
            ask!("ListAccounts", request, pb::ListAccountsResponse, |reply| reply
                .next_page_token
                .clone())
        }
        9 => {
            let state = rng.one(&["", "flagged"]).to_owned();
            let request = pb::ListNumbersRequest {
                waba_id: maybe_waba,
                state,
                page_size,
                page_token,
                ..Default::default()
            };
            ask!("ListNumbers", request, pb::ListNumbersResponse, |reply| reply
                .next_page_token
                .clone())
        }
        10 => {
            let request = pb::GetUserRequest { waba_id, party, ..Default::default() };
            ask!("GetUser", request, pb::GetUserResponse, |_| String::new())
        }
        11 => {
            let campaign = pb::Labels { campaign: "spring".to_owned(), ..Default::default() };
            let what = match rng.below(2) {
                0 => What::Labels(campaign),
                _ => What::FbtraceId("Shared".to_owned()),
            };
            let request = pb::FindMessagesRequest {
                what: Some(what),
                page_size,
                page_token,
                view,
                filter,
                ..Default::default()
            };
            ask!("FindMessages", request, pb::FindMessagesResponse, |reply| reply
                .next_page_token
                .clone())
        }
        12 => {
            let request = pb::ExplainMessageRequest { wamid, view, ..Default::default() };
            ask!("ExplainMessage", request, pb::ExplainMessageResponse, |_| String::new())
        }
        13 => {
            use pb::watch_messages_response::Item;
            let own = tenants.iter().map(|t| format!("{}1", t.wamid));
            let wamids = own.chain([wamid]).collect();
            let request = pb::WatchMessagesRequest { wamids, view, resume_token };
            watch!("WatchMessages", request, pb::WatchMessagesResponse, Item::Mark)
        }
        14 => {
            use pb::watch_conversation_response::Item;
            let request =
                pb::WatchConversationRequest { phone_number_id: number, party, resume_token };
            watch!("WatchConversation", request, pb::WatchConversationResponse, Item::Mark)
        }
        15 => {
            use pb::watch_number_response::Item;
            let request = pb::WatchNumberRequest { phone_number_id: number, resume_token };
            watch!("WatchNumber", request, pb::WatchNumberResponse, Item::Mark)
        }
        16 => {
            use pb::watch_account_response::Item;
            let request = pb::WatchAccountRequest { waba_id, resume_token };
            watch!("WatchAccount", request, pb::WatchAccountResponse, Item::Mark)
        }
        17 => {
            use pb::watch_transitions_response::Item;
            let from_beginning = resume_token.is_empty();
            let request = pb::WatchTransitionsRequest {
                waba_id: maybe_waba,
                view,
                resume_token,
                from_beginning,
            };
            watch!("WatchTransitions", request, pb::WatchTransitionsResponse, Item::Mark)
        }
        18 => {
            use pb::watch_actions_response::Item;
            let from_beginning = resume_token.is_empty();
            let waba_id = maybe_waba;
            let request = pb::WatchActionsRequest { waba_id, view, resume_token, from_beginning };
            watch!("WatchActions", request, pb::WatchActionsResponse, Item::Mark)
        }
        _ => {
            use pb::watch_alerts_response::Item;
            let from_beginning = resume_token.is_empty();
            let waba_id = maybe_waba;
            let request = pb::WatchAlertsRequest { waba_id, view, resume_token, from_beginning };
            watch!("WatchAlerts", request, pb::WatchAlertsResponse, Item::Mark)
        }
    }
}

/// What came of a call, and its last token among those that were given.
fn answered<R: prost::Message>(
    asked: String,
    replies: Result<Vec<R>, Status>,
    token_of: fn(&R) -> String,
    given: &mut Vec<String>,
) -> Answered {
    let (mut told, mut token, mut code) = (Vec::new(), String::new(), Code::Ok);
    match replies {
        Ok(replies) => {
            told.extend(replies.iter().flat_map(|reply| reply.encode_to_vec()));
            token = replies.last().map(token_of).unwrap_or_default();
        }
        Err(status) => {
            code = status.code();
            told.extend(format!("{status:?}").into_bytes());
            told.extend(status.details());
        }
    }
    given.extend(Some(token.clone()).filter(|token| !token.is_empty()));
    Answered { asked, told, token, code }
}

/// The marks that an answer has and its question has not.
fn leaked(answered: &Answered, marks: &[String]) -> Vec<String> {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let token = engine.decode(&answered.token).unwrap_or_default();
    let has =
        |text: &[u8], mark: &str| text.windows(mark.len()).any(|part| part == mark.as_bytes());
    let told = |mark: &&String| {
        (has(&answered.told, mark) || has(&token, mark)) && !answered.asked.contains(mark.as_str())
    };
    marks.iter().filter(told).cloned().collect()
}

#[tokio::test]
async fn a_thousand_calls_of_a_tenant_tell_nothing_of_another() {
    let all = tenants();
    let scopes = [Scope::Query, Scope::PersonalData];
    let (auth, _) = auth(vec![
        entry("a", &scopes, only(&[&all[0].waba])),
        entry("everybody", &scopes, Accounts::All),
    ]);
    let world = World::guarded(auth, QueryOptions::default()).await;
    let mut writers = Writers::open(&world.stores);
    world.state(&QueryState::Serving).await;
    all.iter().for_each(|tenant| tenant.post(&mut writers));
    world.append(&mut writers).await;
    world.publish(&mut writers).await;
    let foreign: Vec<String> = all[1..].iter().flat_map(Tenant::marks).collect();
    let own = all[0].marks();
    let seed = seed();
    let (mut of_a, mut of_all, mut went_on) = ((0, 0), 0, 0);
    // The tenant is given the tokens of those who see everything, and asks the same.
    let mut given = Given::default();
    for (token, rng) in [("everybody", &mut Rng(seed)), ("a", &mut Rng(seed))] {
        for n in 0..1_000 {
            let answered = generated(&world.channel, token, rng, &all, &mut given).await;
            let code = answered.code;
            // Most tokens are of something else.
            let expected = matches!(code, Code::Ok | Code::NotFound | Code::InvalidArgument);
            assert!(expected, "seed {seed}, call {n}: {code:?} {}", answered.asked);
            let leaks = leaked(&answered, &foreign);
            match token {
                "a" => {
                    assert!(
                        leaks.is_empty(),
                        "seed {seed}, call {n}: {}: {leaks:?}",
                        answered.asked
                    );
                    // What is asked for by an id of its own is told with the others.
                    of_a.0 += usize::from(!leaked(&answered, &own).is_empty());
                    of_a.1 += usize::from(code == Code::NotFound);
                    went_on +=
                        usize::from(code == Code::Ok && answered.asked.contains("_token: \"A"));
                }
                _ => of_all += usize::from(!leaks.is_empty()),
            }
        }
    }
    // The same search finds what there is to find, and the tenant is told its own.
    assert!(of_all > 200 && of_a.0 > 100 && of_a.1 > 100, "{of_all} {of_a:?}");
    // `tenants` tries each kind of token by its own request.
    assert!(went_on > 0, "{went_on} calls went on by a token");
}

#[tokio::test]
async fn personal_data_needs_its_scope() {
    let all = tenants();
    let (auth, _) = auth(vec![
        entry("query", &[Scope::Query], Accounts::All),
        entry("pii", &[Scope::Query, Scope::PersonalData], Accounts::All),
    ]);
    let world = World::guarded(auth, QueryOptions::default()).await;
    let mut writers = Writers::open(&world.stores);
    world.state(&QueryState::Serving).await;
    all[0].post(&mut writers);
    let Tenant { waba, number, party, user_id, wamid, display, .. } = &all[0];
    let pin = format!(
        r#"{{"display_phone_number":"{display}","event":"PIN_CHANGED","requester":"61550000000001"}}"#
    );
    writers.post(&change(waba, "security", &pin));
    world.append(&mut writers).await;
    let wamid = format!("{wamid}1");
    for view in [MessageView::Basic, MessageView::Full, MessageView::History] {
        for token in ["query", "pii"] {
            let may = token == "pii" || view == MessageView::Basic;
            let view: i32 = view.into();
            let mut codes = Vec::new();
            macro_rules! ask {
                ($method:ident, $request:expr) => {{
                    let request = signed(token, $request);
                    let answered = world.query().$method(request).await;
                    codes.push(answered.map_or_else(|status| status.code(), |_| Code::Ok));
                }};
            }
            let (wamid, key) = (wamid.clone(), ((*number).to_owned(), (*party).to_owned()));
            let what = Some(What::FbtraceId("Shared".to_owned()));
            ask!(find_messages, pb::FindMessagesRequest { what, view, ..Default::default() });
            let wamids = vec![wamid.clone()];
            ask!(lookup_messages, pb::LookupMessagesRequest { wamids, view, ..Default::default() });
            let (phone_number_id, party) = key.clone();
            let list =
                pb::ListMessagesRequest { phone_number_id, party, view, ..Default::default() };
            ask!(list_messages, list);
            let (phone_number_id, party) = key;
            let conversation = pb::GetConversationRequest {
                phone_number_id,
                party,
                message_view: view,
                ..Default::default()
            };
            ask!(get_conversation, conversation);
            let explain =
                pb::ExplainMessageRequest { wamid: wamid.clone(), view, ..Default::default() };
            ask!(explain_message, explain);
            ask!(get_message, pb::GetMessageRequest { wamid, view, ..Default::default() });
            let wanted = if may { Code::Ok } else { Code::PermissionDenied };
            assert_eq!(codes, [wanted; 6], "{token} {view}");
        }
    }
    let user = || pb::GetUserRequest {
        waba_id: waba.clone(),
        party: (*party).to_owned(),
        ..Default::default()
    };
    let refused = world.query().get_user(signed("query", user())).await.unwrap_err();
    let scope = vec![("scope".to_owned(), "pii.read".to_owned())];
    assert_eq!(reason(&refused), ("SCOPE_MISSING".to_owned(), scope));
    world.query().get_user(signed("pii", user())).await.unwrap();
    // Of a number, who asked for a new PIN is told to who may know, wherever the number stands.
    for (token, told) in [("query", ""), ("pii", "61550000000001")] {
        let phone_number_id = (*number).to_owned();
        let request = pb::GetNumberRequest { phone_number_id, ..Default::default() };
        let got = world.query().get_number(signed(token, request)).await.unwrap().into_inner();
        let request = pb::ListNumbersRequest { waba_id: waba.clone(), ..Default::default() };
        let listed = world.query().list_numbers(signed(token, request)).await.unwrap().into_inner();
        let request = pb::GetAccountRequest { waba_id: waba.clone(), ..Default::default() };
        let account = world.query().get_account(signed(token, request)).await.unwrap().into_inner();
        let of_account = account.account.unwrap().display_numbers;
        let standings = [
            got.number.unwrap().standing,
            listed.numbers[0].standing.clone(),
            of_account.into_iter().find(|one| one.digits == *display).unwrap().standing,
        ];
        for standing in standings.map(Option::unwrap) {
            assert_eq!(standing.security_event, "PIN_CHANGED");
            assert_eq!(standing.security_requester, told, "{token}");
        }
    }
    // A conversation names nobody but by the id that was asked with.
    for (token, parties, referred) in
        [("query", vec![*party], false), ("pii", vec![*party, *user_id], true)]
    {
        let request = pb::GetConversationRequest {
            phone_number_id: (*number).to_owned(),
            party: (*party).to_owned(),
            ..Default::default()
        };
        let reply = world.query().get_conversation(signed(token, request)).await.unwrap();
        let told = reply.into_inner().conversation.unwrap();
        assert_eq!(told.parties, parties, "{token}");
        assert_eq!(told.referral.is_some(), referred, "{token}");
    }
}

async fn get(channel: Channel, token: &str, wamid: &str) -> Result<pb::GetMessageResponse, Status> {
    let request = pb::GetMessageRequest { wamid: wamid.to_owned(), ..Default::default() };
    let mut client = QueryServiceClient::new(channel);
    Ok(client.get_message(signed(token, request)).await?.into_inner())
}

#[tokio::test]
async fn a_token_that_is_taken_back_ends_its_streams_and_waiting_calls_and_no_others() {
    let scopes = [Scope::Admin, Scope::PersonalData, Scope::Query];
    let [gone, stays] = ["gone", "stays"].map(|name| entry(name, &scopes, Accounts::All));
    let (auth, tokens) = auth(vec![gone, stays.clone()]);
    let world = World::guarded(auth, QueryOptions::default()).await;
    let mut writers = Writers::open(&world.stores);
    world.state(&QueryState::Serving).await;
    world.append(&mut writers).await;
    let tail = || admin::TailRequest { topic: crate::world::RAW.to_owned(), ..Default::default() };
    let mut ended = world.admin().tail(signed("gone", tail())).await.unwrap().into_inner();
    let mut goes_on = world.admin().tail(signed("stays", tail())).await.unwrap().into_inner();
    // A call that waits for a position that never comes.
    let position = pb::Position { partition: 0, offset: 1_000 };
    let request = pb::GetMessageRequest {
        wamid: "w".to_owned(),
        min_position: vec![position],
        ..Default::default()
    };
    let mut client = world.query();
    let waiting = tokio::spawn(async move { client.get_message(signed("gone", request)).await });
    // It has been let in once a later call was answered on the same connection.
    let absent = get(world.channel.clone(), "gone", "w").await.unwrap_err();
    assert_eq!(absent.code(), Code::NotFound);
    tokio::time::sleep(Duration::from_millis(50)).await;

    let since = Instant::now();
    let told = tokens.replace(vec![stays]).unwrap();
    assert_eq!((told.removed, told.kept), (vec!["gone".to_owned()], vec!["stays".to_owned()]));
    let limit = Duration::from_secs(1);
    let end = tokio::time::timeout(limit, ended.message()).await.unwrap().unwrap_err();
    let waited = tokio::time::timeout(limit, waiting).await.unwrap().unwrap().unwrap_err();
    let took = since.elapsed();
    for refused in [end, waited] {
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert_eq!(reason(&refused).0, "UNAUTHENTICATED");
    }
    assert!(took < limit, "{took:?}");
    let refused = get(world.channel.clone(), "gone", "w").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    writers.tick(0);
    world.append(&mut writers).await;
    let record = tokio::time::timeout(limit, goes_on.message()).await.unwrap().unwrap();
    assert!(record.is_some());
}

#[tokio::test]
async fn a_token_ends_at_its_time_and_its_calls_are_counted() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    let scopes = [Scope::Admin, Scope::PersonalData, Scope::Query];
    let expires = Some(Timestamp::from_millis(now + 3_000));
    let short = TokenEntry { expires, ..entry("short", &scopes, Accounts::All) };
    let one = TokenEntry { calls_max: Some(1), ..entry("one", &scopes, Accounts::All) };
    let (auth, _) = auth(vec![short, one]);
    let world = World::guarded(auth, QueryOptions::default()).await;
    let mut writers = Writers::open(&world.stores);
    world.append(&mut writers).await;
    let tail = || admin::TailRequest { topic: crate::world::RAW.to_owned(), ..Default::default() };
    let mut stream = world.admin().tail(signed("short", tail())).await.unwrap().into_inner();
    let end = tokio::time::timeout(Duration::from_secs(10), stream.message()).await.unwrap();
    assert_eq!(end.unwrap_err().code(), Code::Unauthenticated);
    let refused = world.admin().tail(signed("short", tail())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);

    let open = world.admin().tail(signed("one", tail())).await.unwrap();
    let refused = world.admin().tail(signed("one", tail())).await.unwrap_err();
    assert_eq!(reason(&refused).0, "OVERLOADED");
    drop(open);
    let again = async {
        while world.admin().tail(signed("one", tail())).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), again).await.unwrap();
}

#[tokio::test]
async fn nodes_ask_each_other_with_the_rights_of_their_caller() {
    let all = tenants();
    let scopes = [Scope::Query, Scope::PersonalData];
    let entries = || {
        vec![
            entry("c", &[Scope::Query], only(&[&all[2].waba])),
            entry("both", &scopes, only(&[&all[0].waba, &all[2].waba])),
            entry("everybody", &scopes, Accounts::All),
            entry("node", &[Scope::Node], Accounts::All),
        ]
    };
    let cluster = cluster();
    let guarded = || World::among_guarded(|own| cluster.peers(own), auth(entries()).0);
    let nodes = [guarded().await, guarded().await];
    let mut writers = [0, 1].map(|partition: u32| {
        cluster.give(partition, nodes[partition as usize].address);
        Writers::open_only(&nodes[partition as usize].stores, partition)
    });
    for node in &nodes {
        node.state(&QueryState::Serving).await;
    }
    all[0].post(&mut writers[0]);
    all[2].post(&mut writers[1]);
    let [a, c] = [0, 2].map(|n: usize| format!("{}1", all[n].wamid));
    // Without a name of their own the nodes are nobody to each other.
    let refused = get(nodes[0].channel.clone(), "everybody", &c).await.unwrap_err();
    assert_eq!(reason(&refused).0, "PARTITION_UNREACHABLE");
    for node in &nodes {
        let token = Some("node".to_owned());
        node.peers.identify(Credentials { token, tls: None });
    }
    for node in &nodes {
        for (token, of_a, of_c) in
            [("everybody", true, true), ("both", true, true), ("c", false, true)]
        {
            for (wamid, may) in [(&a, of_a), (&c, of_c)] {
                let told = get(node.channel.clone(), token, wamid).await;
                let code = told.map_or_else(|status| status.code(), |_| Code::Ok);
                assert_eq!(code, if may { Code::Ok } else { Code::NotFound }, "{token} {wamid}");
            }
        }
        let request = pb::GetMessageRequest {
            wamid: c.clone(),
            view: MessageView::Full.into(),
            ..Default::default()
        };
        let refused = node.query().get_message(signed("c", request)).await.unwrap_err();
        assert_eq!(reason(&refused).0, "SCOPE_MISSING");
    }

    // Who is no node asks for nobody but itself; a node asks for itself nothing, and for nobody what
    // nodes do not ask.
    let behalf = |token: &str, behalf: &str| {
        let request = pb::GetMessageRequest { wamid: a.clone(), ..Default::default() };
        let mut request = signed(token, request);
        request.metadata_mut().insert("tickfold-behalf", behalf.parse().unwrap());
        request.metadata_mut().insert("tickfold-partitions", "0,1".parse().unwrap());
        request
    };
    let mut client = nodes[0].query();
    for (token, told, code) in [
        ("c", "x query,pii.read *", Code::PermissionDenied),
        ("everybody", "x query *", Code::PermissionDenied),
        ("node", "x query *", Code::Ok),
        ("node", "x pii.read *", Code::PermissionDenied),
        ("node", "x query 9", Code::NotFound),
        ("node", "x node *", Code::PermissionDenied),
        ("node", "odd", Code::Unauthenticated),
    ] {
        let answered = client.get_message(behalf(token, told)).await;
        let found = answered.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(found, code, "{token} {told}");
    }
    let request = pb::GetMessageRequest { wamid: a.clone(), ..Default::default() };
    let refused = client.get_message(signed("node", request)).await.unwrap_err();
    assert_eq!(reason(&refused).0, "SCOPE_MISSING");
    let mut stop = signed("node", ());
    stop.metadata_mut().insert("tickfold-behalf", "x admin *".parse().unwrap());
    let stop = call::<(), ()>(&nodes[0].channel, "/tickfold.admin.v1.NodeService/Stop", stop).await;
    assert_eq!(stop.unwrap_err().code(), Code::PermissionDenied);
}

pub(crate) struct Ca(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self(rcgen::CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for the name, and its key.
    pub(crate) fn issue(&self, name: &str) -> (String, String) {
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// What a node serves TLS with that asks no client for a certificate.
    pub(crate) fn node(&self) -> ServerPem {
        let (certificate, key) = self.issue("node.internal");
        ServerPem { certificates: certificate.into_bytes(), key: key.into_bytes(), client_ca: None }
    }
}

/// Handshakes that may be under way, and for how long one may take.
const HANDSHAKES_MAX: usize = 256;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_handshake_beyond_the_most_waits_until_one_is_cut() {
    let ca = Ca::new();
    let (auth, _) = auth(vec![entry("token", &[Scope::Query], Accounts::All)]);
    let auth = Auth { tls: Some(ServerTls::new(&ca.node()).unwrap()), ..auth };
    let world = World::guarded(auth, QueryOptions::default()).await;
    let connect = async || {
        let trusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca.pem()));
        let begun = Instant::now();
        over_tls(&world, trusting).await.unwrap();
        begun.elapsed()
    };
    for (silent, waits) in [(HANDSHAKES_MAX - 1, false), (HANDSHAKES_MAX, true)] {
        let mut held = Vec::new();
        for _ in 0..silent {
            held.push(tokio::net::TcpStream::connect(world.address).await.unwrap());
        }
        // The node takes connections in their order.
        let waited = connect().await;
        assert_eq!(waited > HANDSHAKE_LIMIT / 2, waits, "{silent} silent ones: {waited:?}");
        assert!(waited < HANDSHAKE_LIMIT * 3, "{waited:?}");
    }
}

async fn over_tls(world: &World, tls: ClientTlsConfig) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Channel::from_shared(format!("https://{}", world.address)).unwrap();
    endpoint.tls_config(tls.domain_name("node.internal")).unwrap().connect().await
}

#[tokio::test]
async fn a_client_certificate_is_required_and_names_its_caller() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let pem = |ca: &Ca| ServerPem { client_ca: Some(ca.pem().into_bytes()), ..ca.node() };
    let named = TokenEntry {
        proof: Proof::CertificateName("crm.internal".to_owned()),
        ..entry("crm", &[Scope::Query], Accounts::All)
    };
    let (auth, _) = auth(vec![named, entry("token", &[Scope::Query], Accounts::All)]);
    let tls = ServerTls::new(&pem(&ca)).unwrap();
    let world =
        World::guarded(Auth { tls: Some(tls.clone()), ..auth }, QueryOptions::default()).await;
    let _writers = Writers::open(&world.stores);
    world.state(&QueryState::Serving).await;
    let trusting = |ca: &Ca| ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca.pem()));
    let showing = |of: &Ca, name: &str| {
        let (certificate, key) = of.issue(name);
        trusting(&ca).identity(Identity::from_pem(certificate, key))
    };
    // In TLS 1.3 a client is done before its certificate was looked at, so it is a call that tells.
    let code = async |tls: ClientTlsConfig, token: Option<&str>| {
        let channel = over_tls(&world, tls).await.ok()?;
        let request = pb::GetMessageRequest { wamid: "w".to_owned(), ..Default::default() };
        let request = match token {
            Some(token) => signed(token, request),
            None => Request::new(request),
        };
        let status = QueryServiceClient::new(channel).get_message(request).await.unwrap_err();
        // Only an answer of ours has a reason.
        use tonic_types::StatusExt as _;
        status.get_details_error_info().map(|_| status.code())
    };
    assert_eq!(code(showing(&ca, "crm.internal"), None).await, Some(Code::NotFound));
    assert_eq!(code(showing(&ca, "CRM.internal"), None).await, Some(Code::NotFound));
    // A certificate that is nobody's lets one in who has a token.
    assert_eq!(code(showing(&ca, "other.internal"), None).await, Some(Code::Unauthenticated));
    assert_eq!(code(showing(&ca, "other.internal"), Some("token")).await, Some(Code::NotFound));
    // Whoever sends a token is judged by it.
    assert_eq!(code(showing(&ca, "crm.internal"), Some("x")).await, Some(Code::Unauthenticated));
    // None, and one that somebody else signed.
    assert_eq!(code(trusting(&ca), Some("token")).await, None);
    assert_eq!(code(showing(&stranger, "crm.internal"), Some("token")).await, None);
    // A client that does not trust the node, and one without TLS.
    assert_eq!(code(trusting(&stranger), Some("token")).await, None);
    let plain = get(world.channel.clone(), "token", "w").await.unwrap_err();
    assert_ne!(plain.code(), Code::NotFound);

    // Another certificate while connections are open: they go on, new ones see the new one.
    let open = over_tls(&world, showing(&ca, "crm.internal")).await.unwrap();
    tls.replace(&pem(&stranger)).unwrap();
    let request =
        || Request::new(pb::GetMessageRequest { wamid: "w".into(), ..Default::default() });
    let still = QueryServiceClient::new(open).get_message(request()).await.unwrap_err();
    assert_eq!(still.code(), Code::NotFound);
    assert_eq!(code(showing(&ca, "crm.internal"), None).await, None);
    let odd = ServerPem { key: b"no key".to_vec(), ..pem(&ca) };
    let refused = tls.replace(&odd).unwrap_err().to_string();
    assert!(refused.contains("no private key") && !refused.contains("no key in"), "{refused}");
}
