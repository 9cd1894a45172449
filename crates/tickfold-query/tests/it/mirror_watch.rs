//! Watches over a real socket, beside gRPC: the same items with the same tokens, each once, whoever asks and
//! wherever they go on.

use std::net::SocketAddr;
use std::time::Duration;

use prost_reflect::DynamicMessage;
use serde_json::Value;
use tickfold_proto::query::v1::{self as pb, MessageView};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::callers::{Rng, Tenant, seed, signed, tenants};
use crate::mirror::{Beside, CALLERS, ask, beside, http, url};

/// No stream waits for anything here, so one that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// Reads events until a mark; ids, and data.
async fn until_caught_up(
    mirror: SocketAddr,
    url: &str,
    headers: &[(&str, &str)],
) -> Vec<(String, Value)> {
    let (answer, stream) = ask(mirror, "GET", url, headers, b"").await;
    assert_eq!((answer.code, answer.header("content-type")), (200, Some("text/event-stream")));
    events_to_mark(stream).await
}

async fn events_to_mark(mut stream: BufReader<TcpStream>) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    loop {
        let mut lines = [String::new(), String::new(), String::new()];
        for line in &mut lines {
            stream.read_line(line).await.unwrap();
        }
        let id = lines[0].strip_prefix("id: ").unwrap_or_else(|| panic!("{lines:?}")).trim_end();
        let data = lines[1].strip_prefix("data: ").unwrap_or_else(|| panic!("{lines:?}"));
        assert_eq!(lines[2], "\n");
        let data: Value = serde_json::from_str(data).unwrap();
        let is_mark = data["mark"] == "WATCH_MARK_CAUGHT_UP";
        events.push((id.to_owned(), data));
        if is_mark {
            return events;
        }
    }
}

#[tokio::test]
async fn a_watch_is_told_as_events_and_goes_on_by_their_ids() {
    let all = tenants();
    let (world, beside, tokens) = beside(&all).await;
    let of_a = [("authorization", "Bearer a")];
    let told = |headers: &'static [(&'static str, &'static str)], url: &'static str| {
        let mirror = beside.mirror;
        async move { timeout(LIMIT, until_caught_up(mirror, url, headers)).await.unwrap() }
    };
    let headers: &'static [_] = &[("authorization", "Bearer a")];
    for (view, url) in [
        (MessageView::Basic, "/v1/watch/transitions?fromBeginning=true"),
        (MessageView::Full, "/v1/watch/transitions?fromBeginning=true&view=MESSAGE_VIEW_FULL"),
    ] {
        let request = pb::WatchTransitionsRequest {
            view: view.into(),
            from_beginning: true,
            ..Default::default()
        };
        let mut stream =
            world.watch().watch_transitions(signed("a", request)).await.unwrap().into_inner();
        let events = told(headers, url).await;
        assert!(events.len() > 10, "{}", events.len());
        for (id, data) in &events {
            let expected = stream.message().await.unwrap().unwrap();
            assert_eq!(&expected.resume_token, id);
            assert_eq!(
                beside.read::<pb::WatchTransitionsResponse>("WatchTransitions", data),
                expected
            );
        }
        // By the id of one in the middle: what is behind it, each once.
        let (id, _) = &events[4];
        let resumed = [of_a[0], ("last-event-id", id.as_str())];
        let rest = timeout(LIMIT, until_caught_up(beside.mirror, url, &resumed)).await;
        let data = |events: &[(String, Value)]| -> Vec<Value> {
            events.iter().map(|(_, data)| data["transition"].clone()).collect()
        };
        assert_eq!(data(&rest.unwrap()), data(&events[5..]));
    }
    let url = format!("/v1/watch/messages?wamids={}0&wamids=wamid.NOBODY", all[0].wamid);
    let events = until_caught_up(beside.mirror, &url, &of_a).await;
    let states: Vec<_> = events.iter().map(|(_, event)| event).collect();
    assert_eq!(states[0]["message"]["wamid"], format!("{}0", all[0].wamid));
    assert_eq!(states[1]["missing"], "wamid.NOBODY");

    // What is refused at once is an answer, and what fails later is the last event.
    let refused = http(
        beside.mirror,
        "GET",
        "/v1/watch/transitions?view=MESSAGE_VIEW_FULL",
        &[("authorization", "Bearer narrow")],
        b"",
    )
    .await;
    assert_eq!((refused.code, &refused.json()["code"]), (403, &7.into()));
    let damaged = [of_a[0], ("last-event-id", "x")];
    let refused = http(beside.mirror, "GET", "/v1/watch/transitions", &damaged, b"").await;
    assert_eq!(refused.code, 400, "{refused:?}");
    let (_, mut open) = ask(beside.mirror, "GET", "/v1/watch/alerts", &of_a, b"").await;
    let mut line = String::new();
    open.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("id: "), "{line}");
    tokens.replace(Vec::new()).unwrap();
    let mut rest = String::new();
    timeout(LIMIT, open.read_to_string(&mut rest)).await.unwrap().unwrap();
    let (_, last) = rest.split_once("event: status\ndata: ").unwrap_or_else(|| panic!("{rest}"));
    let last: Value = serde_json::from_str(last.lines().next().unwrap()).unwrap();
    assert_eq!(last["code"], 16);
    assert_eq!(last["details"][0]["reason"], "UNAUTHENTICATED");
}

impl Beside {
    /// Whether a reply tells that the stream has caught up.
    fn is_mark<R: prost::Message>(&self, method: &str, reply: &R) -> bool {
        let descriptor = self.reply_of(method);
        let message = DynamicMessage::decode(descriptor, reply.encode_to_vec().as_slice()).unwrap();
        let mark = message.get_field_by_name("mark").unwrap();
        mark.as_enum_number() == Some(pb::WatchMark::CaughtUp.into())
    }

    /// A watch over gRPC until it has caught up, or how it was refused.
    async fn replies<Q, R>(&self, method: &str, token: &str, request: Q) -> Result<Vec<R>, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        R: prost::Message + Default + Send + Sync + 'static,
    {
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let path = format!("/tickfold.query.v1.WatchService/{method}");
        let path: PathAndQuery = path.parse().unwrap();
        let codec = ProstCodec::<Q, R>::default();
        let opened = client.server_streaming(signed(token, request), path, codec).await?;
        let (mut stream, mut replies) = (opened.into_inner(), Vec::new());
        loop {
            let reply = stream.next().await.expect("a watch has no end")?;
            let is_mark = self.is_mark(method, &reply);
            replies.push(reply);
            if is_mark {
                return Ok(replies);
            }
        }
    }

    /// Watches by both, and compares. The resume tokens of what was told.
    async fn watches_alike<Q, R>(
        &mut self,
        method: &str,
        token: &str,
        request: Q,
        url: &str,
        last_event_id: &str,
    ) -> Vec<String>
    where
        Q: prost::Message + std::fmt::Debug + Send + Sync + 'static,
        R: prost::Message + std::fmt::Debug + Default + PartialEq + Send + Sync + 'static,
    {
        let asked = format!("{method} {url} of {token} behind {last_event_id:?}: {request:?}");
        let replies = timeout(LIMIT, self.replies::<Q, R>(method, token, request)).await;
        let replies = replies.unwrap_or_else(|_| panic!("{asked} hangs over gRPC"));
        self.count(&replies);
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("last-event-id", last_event_id)];
        let (mut answer, mut stream) = ask(self.mirror, "GET", url, &headers, b"").await;
        match replies {
            Err(status) => {
                stream.read_to_end(&mut answer.body).await.unwrap();
                self.failed(&status, answer.code, &answer.json());
                Vec::new()
            }
            Ok(replies) => {
                let kind = answer.header("content-type");
                assert_eq!((answer.code, kind), (200, Some("text/event-stream")), "{asked}");
                let events = timeout(LIMIT, events_to_mark(stream)).await;
                let events = events.unwrap_or_else(|_| panic!("{asked} hangs as events"));
                let read: Vec<R> = events.iter().map(|(_, data)| self.read(method, data)).collect();
                assert_eq!(read, replies, "{asked}");
                for (id, data) in &events {
                    assert_eq!(data["resumeToken"].as_str(), Some(id.as_str()), "{asked}");
                }
                events.into_iter().map(|(id, _)| id).collect()
            }
        }
    }
}

/// One generated watch, and the same from somewhere in the middle on. How often it was told anything.
async fn generated(beside: &mut Beside, rng: &mut Rng, all: &[Tenant]) -> usize {
    let token = rng.one(&CALLERS);
    let of = &all[rng.below(all.len())];
    let view = [MessageView::Unspecified, MessageView::Basic, MessageView::Full][rng.below(3)];
    let view_name = || view.as_str_name().to_owned();
    let from_beginning = rng.below(4) > 0;
    let (phone_number_id, party) = (of.number.to_owned(), of.party.to_owned());
    let waba_id = if rng.below(4) == 0 { String::new() } else { of.waba.clone() };
    macro_rules! watch {
        ($method:literal, $request:ident { $($field:ident: $value:expr),* }, $reply:ident, $path:expr, $query:expr) => {{
            let url = url(&$path, &$query);
            let (mut behind, mut told) = (String::new(), 0);
            loop {
                let resume_token = behind.clone();
                let request = pb::$request { $($field: $value.clone(),)* resume_token };
                let ids = beside
                    .watches_alike::<_, pb::$reply>($method, token, request, &url, &behind)
                    .await;
                told += usize::from(!ids.is_empty());
                if !behind.is_empty() || ids.is_empty() {
                    break told;
                }
                behind.clone_from(&ids[rng.below(ids.len())]);
            }
        }};
    }
    macro_rules! topic {
        ($method:literal, $request:ident, $reply:ident, $name:literal) => {
            watch!(
                $method,
                $request {
                    waba_id: waba_id,
                    view: i32::from(view),
                    from_beginning: from_beginning
                },
                $reply,
                ["watch", $name],
                [
                    ("wabaId", waba_id.clone()),
                    ("view", view_name()),
                    ("fromBeginning", from_beginning.to_string()),
                ]
            )
        };
    }
    match rng.below(7) {
        0 => {
            let wamid = |end: &str| format!("{}{end}", of.wamid);
            let wamids = [wamid("0"), wamid(rng.one(&["1", "in", "/+?="])), wamid("0")];
            let wamids = wamids[..rng.below(4)].to_vec();
            let mut query: Vec<_> = wamids.iter().map(|one| ("wamids", one.clone())).collect();
            query.push(("view", view_name()));
            watch!(
                "WatchMessages",
                WatchMessagesRequest { wamids: wamids, view: i32::from(view) },
                WatchMessagesResponse,
                ["watch", "messages"],
                query
            )
        }
        1 => watch!(
            "WatchConversation",
            WatchConversationRequest { phone_number_id: phone_number_id, party: party },
            WatchConversationResponse,
            ["watch", "conversations", &phone_number_id, &party],
            []
        ),
        2 => watch!(
            "WatchNumber",
            WatchNumberRequest { phone_number_id: phone_number_id },
            WatchNumberResponse,
            ["watch", "numbers", &phone_number_id],
            []
        ),
        3 => watch!(
            "WatchAccount",
            WatchAccountRequest { waba_id: of.waba },
            WatchAccountResponse,
            ["watch", "accounts", &of.waba],
            []
        ),
        4 => topic!(
            "WatchTransitions",
            WatchTransitionsRequest,
            WatchTransitionsResponse,
            "transitions"
        ),
        5 => topic!("WatchActions", WatchActionsRequest, WatchActionsResponse, "actions"),
        _ => topic!("WatchAlerts", WatchAlertsRequest, WatchAlertsResponse, "alerts"),
    }
}

#[tokio::test]
async fn generated_watches_are_told_as_over_grpc() {
    let all = tenants();
    let (_world, mut beside, _) = beside(&all).await;
    let seed = seed();
    let mut rng = Rng(seed);
    let (mut told, mut resumed) = (0, 0);
    for _ in 0..300 {
        let times = generated(&mut beside, &mut rng, &all).await;
        told += times.min(1);
        resumed += times.saturating_sub(1);
    }
    assert!(told >= 50 && resumed >= 50, "seed {seed}: {told} told, {resumed} gone on with");
    beside.had_each(&[Code::PermissionDenied, Code::Unauthenticated, Code::InvalidArgument]);
}
