//! Watches: what a stream begins with, what it tells, how it ends, and how another one goes on.

use std::time::Duration;

use tickfold_log::{Log as _, TopicPartition};
use tickfold_proto::query::v1 as pb;
use tickfold_query::QueryOptions;
use tonic::{Code, Status, Streaming};

use crate::world::{World, Writers, fields, inbound, long_errors, reason, status, waba};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn next<R>(stream: &mut Streaming<R>) -> Result<R, Status> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("a response");
    message.map(|message| message.expect("a watch does not end by itself"))
}

/// A response of `WatchMessages` as text: `wamid=state+skipped`, `wamid?` or the mark.
fn text(response: &pb::WatchMessagesResponse) -> String {
    use pb::watch_messages_response::Item;
    match response.item.as_ref().unwrap() {
        Item::Message(message) => {
            format!("{}={}+{}", message.wamid, message.state_text, response.skipped_revisions)
        }
        Item::Missing(wamid) => format!("{wamid}?"),
        Item::Mark(mark) => pb::WatchMark::try_from(*mark).unwrap().as_str_name().to_owned(),
    }
}

const CAUGHT_UP: &str = "WATCH_MARK_CAUGHT_UP";
const BOOKMARK: &str = "WATCH_MARK_BOOKMARK";

async fn texts(stream: &mut Streaming<pb::WatchMessagesResponse>, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(text(&next(stream).await.unwrap()));
    }
    texts
}

pub(crate) fn messages(wamids: &[&str], token: &str) -> pb::WatchMessagesRequest {
    pb::WatchMessagesRequest {
        wamids: wamids.iter().map(ToString::to_string).collect(),
        view: 0,
        resume_token: token.to_owned(),
    }
}

pub(crate) fn transitions(waba_id: &str, token: &str) -> pb::WatchTransitionsRequest {
    pb::WatchTransitionsRequest {
        waba_id: waba_id.to_owned(),
        resume_token: token.to_owned(),
        ..Default::default()
    }
}

/// A transition as `wamid>to`, or the mark.
fn told(response: &pb::WatchTransitionsResponse) -> String {
    use pb::watch_transitions_response::Item;
    match response.item.as_ref().unwrap() {
        Item::Transition(told) => format!("{}>{}", told.wamid, told.to),
        Item::Mark(mark) => pb::WatchMark::try_from(*mark).unwrap().as_str_name().to_owned(),
    }
}

async fn world() -> (World, Writers) {
    let (world, writers) = World::open().await;
    world.topics().await;
    (world, writers)
}

#[tokio::test]
async fn messages_are_told_as_they_are_then_as_they_become() {
    let (world, mut writers) = world().await;
    let (here, there) = (waba(0), waba(1));
    writers.post(&status(&here, "a", "sent", 1, ""));
    world.publish(&mut writers).await;
    let watch = messages(&["a", "b", "c"], "");
    let mut stream = world.watch().watch_messages(watch).await.unwrap().into_inner();
    assert_eq!(texts(&mut stream, 4).await, ["a=sent+0", "b?", "c?", CAUGHT_UP]);

    writers.post(&status(&there, "b", "sent", 1, ""));
    world.publish(&mut writers).await;
    assert_eq!(texts(&mut stream, 1).await, ["b=sent+0"]);
    // What is not watched is not told; and what came at once is told once.
    writers.post(&status(&here, "z", "sent", 1, ""));
    for (word, after) in [("delivered", 2), ("read", 3), ("played", 4)] {
        writers.post(&status(&here, "a", word, after, ""));
    }
    world.publish(&mut writers).await;
    assert_eq!(texts(&mut stream, 1).await, ["a=played+2"]);
    // The same again changes nothing.
    writers.post(&status(&here, "a", "read", 3, ""));
    writers.post(&status(&there, "c", "failed", 3, ""));
    world.publish(&mut writers).await;
    assert_eq!(texts(&mut stream, 1).await, ["c=failed+0"]);
}

#[tokio::test]
async fn a_watch_of_messages_goes_on_by_its_token_with_what_changed_since() {
    let (world, mut writers) = world().await;
    let (here, there) = (waba(0), waba(1));
    for (account, wamid) in [(&here, "a"), (&here, "b"), (&there, "c")] {
        writers.post(&status(account, wamid, "sent", 1, ""));
    }
    writers.post(&status(&there, "other", "sent", 1, ""));
    writers.post(&status(&here, "other", "sent", 1, ""));
    world.publish(&mut writers).await;
    let wamids = ["a", "b", "c"];
    let watch = messages(&wamids, "");
    let mut stream = world.watch().watch_messages(watch).await.unwrap().into_inner();
    assert_eq!(texts(&mut stream, 3).await, ["a=sent+0", "b=sent+0", "c=sent+0"]);
    let token = next(&mut stream).await.unwrap().resume_token;
    drop(stream);

    writers.post(&status(&here, "b", "read", 2, ""));
    world.publish(&mut writers).await;
    for _ in 0..2 {
        let watch = messages(&wamids, &token);
        let mut stream = world.watch().watch_messages(watch).await.unwrap().into_inner();
        assert_eq!(texts(&mut stream, 2).await, ["b=read+0", CAUGHT_UP]);
    }

    let mut watch = world.watch();
    let refused = watch.watch_messages(messages(&["a", "b"], &token)).await.unwrap_err();
    assert_eq!(reason(&refused).0, "RESUME_TOKEN_MISMATCH");
    let full = pb::WatchMessagesRequest { view: 2, ..messages(&wamids, &token) };
    let refused = watch.watch_messages(full).await.unwrap_err();
    assert_eq!(reason(&refused).0, "RESUME_TOKEN_MISMATCH");
    let refused = watch.watch_messages(messages(&wamids, &token[1..])).await.unwrap_err();
    assert_eq!(reason(&refused).0, "RESUME_TOKEN_INVALID");
    let refused = watch.watch_transitions(transitions("", &token)).await.unwrap_err();
    assert_eq!(reason(&refused).0, "RESUME_TOKEN_MISMATCH");
    let refused = watch.watch_messages(messages(&[], "")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_state_is_told_only_once_the_store_has_what_the_topic_says() {
    let (world, mut writers) = world().await;
    let here = waba(0);
    // Of a batch the topic is first: here the store of the watch's node stays behind for a while.
    let mut elsewhere = Writers::open(&tickfold_store::MemStores::default());
    elsewhere.post(&status(&here, "a", "sent", 1, ""));
    world.publish(&mut elsewhere).await;
    let watch = messages(&["a"], "");
    let mut stream = world.watch().watch_messages(watch).await.unwrap().into_inner();
    assert_eq!(texts(&mut stream, 1).await, ["a?"]);
    let early = tokio::time::timeout(Duration::from_millis(300), stream.message()).await;
    assert!(early.is_err(), "{early:?}");
    writers.post(&status(&here, "a", "sent", 1, ""));
    // It was there when the watch began, so it belongs to what comes before the mark.
    assert_eq!(texts(&mut stream, 2).await, ["a=sent+0", CAUGHT_UP]);
}

#[tokio::test]
async fn who_may_not_be_told_of_persons_is_not_told_who_in_a_group_a_transition_is_of() {
    use pb::watch_transitions_response::Item;
    let (world, mut writers) = world().await;
    let one = r#","recipient_type":"group","recipient_participant_id":"49171""#;
    writers.post(&status(&waba(0), "a", "delivered", 1, one));
    world.publish(&mut writers).await;
    for (view, key) in [(pb::MessageView::Basic, "a"), (pb::MessageView::Full, "a/49171")] {
        let watch = pb::WatchTransitionsRequest {
            from_beginning: true,
            view: view.into(),
            ..transitions("", "")
        };
        let mut stream = world.watch().watch_transitions(watch).await.unwrap().into_inner();
        let told = loop {
            let Some(Item::Transition(told)) = next(&mut stream).await.unwrap().item else {
                panic!("no transition of a message")
            };
            if told.entity == "message" {
                break told;
            }
        };
        assert_eq!((told.key.as_str(), told.wamid.as_str()), (key, "a"));
        let names = format!("{told:?}").contains("49171");
        assert_eq!(names, view == pb::MessageView::Full, "{told:?}");
    }
}

#[tokio::test]
async fn what_is_decided_as_time_passes_is_told_with_the_message() {
    let (world, mut writers) = world().await;
    let there = waba(1);
    let login = crate::world::price("authentication", "regular");
    writers.post(&status(&there, "a", "sent", 50, &login));
    writers.post(&status(&there, "b", "sent", 50, ""));
    world.publish(&mut writers).await;
    let watch = messages(&["a", "b"], "");
    let mut stream = world.watch().watch_messages(watch).await.unwrap().into_inner();
    assert_eq!(texts(&mut stream, 2).await, ["a=sent+0", "b=sent+0"]);
    let token = next(&mut stream).await.unwrap().resume_token;
    // Ticks as ingress appends them, until long after any deadline of a login code.
    for _ in 0..400 {
        writers.now_ms += 5_000;
        writers.tick(1);
    }
    world.publish(&mut writers).await;
    let kinds = |response: pb::WatchMessagesResponse| {
        use pb::watch_messages_response::Item;
        let Some(Item::Message(message)) = response.item else { panic!("{response:?}") };
        assert_eq!(message.wamid, "a");
        message.actions.into_iter().map(|action| action.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(next(&mut stream).await.unwrap()), ["sms_fallback"]);
    drop(stream);
    let watch = messages(&["a", "b"], &token);
    let mut stream = world.watch().watch_messages(watch).await.unwrap().into_inner();
    assert_eq!(kinds(next(&mut stream).await.unwrap()), ["sms_fallback"]);
}

#[tokio::test]
async fn conversations_numbers_and_accounts_are_watched() {
    let (world, mut writers) = world().await;
    let here = waba(0);
    let mut watch = world.watch();
    let conversation = pb::WatchConversationRequest {
        phone_number_id: "1".to_owned(),
        party: "49170".to_owned(),
        ..Default::default()
    };
    let mut conversation = watch.watch_conversation(conversation).await.unwrap().into_inner();
    let number = pb::WatchNumberRequest { phone_number_id: "1".to_owned(), ..Default::default() };
    let mut number = watch.watch_number(number).await.unwrap().into_inner();
    let account = pb::WatchAccountRequest { waba_id: here.clone(), ..Default::default() };
    let mut account = watch.watch_account(account).await.unwrap().into_inner();
    {
        use pb::watch_conversation_response::Item;
        assert_eq!(next(&mut conversation).await.unwrap().item, Some(Item::Missing(true)));
        assert_eq!(next(&mut conversation).await.unwrap().item, Some(Item::Mark(1)));
    }
    assert!(next(&mut number).await.unwrap().item.is_some());
    assert!(next(&mut number).await.unwrap().item.is_some());
    assert!(next(&mut account).await.unwrap().item.is_some());
    assert!(next(&mut account).await.unwrap().item.is_some());

    writers.post(&inbound(&here, "in", 1));
    let price = crate::world::price("utility", "regular");
    writers.post(&status(&here, "out", "delivered", 2, &price));
    world.publish(&mut writers).await;
    {
        use pb::watch_conversation_response::Item;
        let Some(Item::Conversation(told)) = next(&mut conversation).await.unwrap().item else {
            panic!("no conversation")
        };
        assert_eq!((told.inbound_count, told.outbound_count), (1, 1));
    }
    {
        use pb::watch_number_response::Item;
        let Some(Item::Number(told)) = next(&mut number).await.unwrap().item else {
            panic!("no number")
        };
        assert_eq!(told.waba_id, here);
    }
    {
        use pb::watch_account_response::Item;
        let Some(Item::Account(told)) = next(&mut account).await.unwrap().item else {
            panic!("no account")
        };
        assert_eq!(told.totals.len(), 1, "{told:?}");
    }
}

#[tokio::test]
async fn transitions_of_an_account_are_each_told_once_over_resumes() {
    let (world, mut writers) = world().await;
    let (here, there) = (waba(0), waba(1));
    let mut stream =
        world.watch().watch_transitions(transitions(&here, "")).await.unwrap().into_inner();
    assert_eq!(told(&next(&mut stream).await.unwrap()), CAUGHT_UP);
    writers.post(&status(&here, "a", "sent", 1, ""));
    writers.post(&status(&there, "x", "sent", 1, ""));
    for (word, after) in [("delivered", 2), ("read", 3)] {
        writers.post(&status(&here, "a", word, after, ""));
    }
    world.publish(&mut writers).await;
    let first = next(&mut stream).await.unwrap();
    let second = next(&mut stream).await.unwrap();
    assert_eq!([told(&first), told(&second)], ["a>sent", "a>delivered"]);
    drop(stream);

    let resume = |token: &str| {
        let request = transitions(&here, token);
        let mut watch = world.watch();
        async move { watch.watch_transitions(request).await }
    };
    for (token, wanted) in [
        (&first.resume_token, vec!["a>delivered", "a>read", CAUGHT_UP]),
        (&second.resume_token, vec!["a>read", CAUGHT_UP]),
    ] {
        let mut stream = resume(token).await.unwrap().into_inner();
        for wanted in wanted {
            assert_eq!(told(&next(&mut stream).await.unwrap()), wanted);
        }
    }
    let beginning = pb::WatchTransitionsRequest { from_beginning: true, ..transitions("", "") };
    let mut all = world.watch().watch_transitions(beginning).await.unwrap().into_inner();
    let mut found = Vec::new();
    loop {
        let told = told(&next(&mut all).await.unwrap());
        if told == CAUGHT_UP {
            break;
        }
        found.push(told);
    }
    found.retain(|told| told.starts_with(['a', 'x']));
    found.sort();
    assert_eq!(found, ["a>delivered", "a>read", "a>sent", "x>sent"]);

    // What was not told is gone: that is said, and nothing else.
    let of = TopicPartition::new("wa.transition.v1", 0);
    let end = world.log.bounds(&of).await.unwrap().end;
    world.log.trim(&of, end).await.unwrap();
    let gone = resume(&second.resume_token).await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).0.as_str()), (Code::OutOfRange, "RESUME_TOKEN_EXPIRED"));
    let other = world.watch().watch_transitions(transitions(&there, &first.resume_token)).await;
    assert_eq!(reason(&other.unwrap_err()).0, "RESUME_TOKEN_MISMATCH");
    let actions =
        pb::WatchActionsRequest { resume_token: first.resume_token, ..Default::default() };
    let refused = world.watch().watch_actions(actions).await.unwrap_err();
    assert_eq!(reason(&refused).0, "RESUME_TOKEN_MISMATCH");
}

#[tokio::test]
async fn one_that_falls_behind_what_is_kept_reads_the_log_and_misses_nothing() {
    let (world, mut writers) = world().await;
    let here = waba(0);
    let mut stream =
        world.watch().watch_transitions(transitions(&here, "")).await.unwrap().into_inner();
    assert_eq!(told(&next(&mut stream).await.unwrap()), CAUGHT_UP);
    // More than a connection takes in without a reader, and far more than is kept.
    let count = 6_000;
    for index in 0..count {
        writers.post(&status(&here, &format!("wamid.{index}"), "sent", 1, ""));
        if index % 500 == 0 {
            world.publish(&mut writers).await;
        }
    }
    world.publish(&mut writers).await;
    let mut expected = 0;
    while expected < count {
        use pb::watch_transitions_response::Item;
        let Some(Item::Transition(told)) = next(&mut stream).await.unwrap().item else { continue };
        if told.entity == "message" {
            assert_eq!(told.wamid, format!("wamid.{expected}"));
            expected += 1;
        }
    }
}

#[tokio::test]
async fn many_large_messages_are_told_though_they_do_not_fit_into_one_reply() {
    let (world, mut writers) = world().await;
    let here = waba(0);
    let wamids: Vec<_> = (0..40).map(|index| format!("m{index}")).collect();
    for wamid in &wamids {
        writers.post(&status(&here, wamid, "failed", 1, &long_errors(50)));
    }
    world.publish(&mut writers).await;
    let names: Vec<_> = wamids.iter().map(String::as_str).collect();
    let watch = pb::WatchMessagesRequest { view: 2, ..messages(&names, "") };
    let mut stream = world.watch().watch_messages(watch).await.unwrap().into_inner();
    let mut told = texts(&mut stream, 41).await;
    assert_eq!(told.pop().unwrap(), CAUGHT_UP);
    assert!(told.iter().zip(&wamids).all(|(told, wamid)| *told == format!("{wamid}=failed+0")));
}

#[tokio::test]
async fn idle_watches_get_bookmarks() {
    let watch_bookmark_interval = Duration::from_millis(50);
    let options = QueryOptions { watch_bookmark_interval, ..QueryOptions::default() };
    let (world, mut writers) = World::open_with(options).await;
    world.topics().await;
    let here = waba(0);
    let watch = messages(&["a"], "");
    let mut stream = world.watch().watch_messages(watch.clone()).await.unwrap().into_inner();
    assert_eq!(texts(&mut stream, 4).await, ["a?", CAUGHT_UP, BOOKMARK, BOOKMARK]);
    writers.post(&status(&here, "a", "sent", 1, ""));
    writers.post(&status(&here, "z", "sent", 1, ""));
    world.publish(&mut writers).await;
    let mut told = String::new();
    while told != "a=sent+0" {
        told = text(&next(&mut stream).await.unwrap());
    }
    // It was told, and the token of the bookmark says so.
    let token = next(&mut stream).await.unwrap().resume_token;
    let watch = pb::WatchMessagesRequest { resume_token: token, ..watch };
    let mut stream = world.watch().watch_messages(watch).await.unwrap().into_inner();
    assert_eq!(texts(&mut stream, 1).await, [CAUGHT_UP]);
}

#[tokio::test]
async fn old_watches_are_asked_to_come_again() {
    let watch_age_max = Duration::from_millis(300);
    let options = QueryOptions { watch_age_max, ..QueryOptions::default() };
    let (world, mut writers) = World::open_with(options).await;
    world.topics().await;
    let mut token = String::new();
    for after in 1..3 {
        let watch = messages(&["a"], &token);
        let mut stream = world.watch().watch_messages(watch).await.unwrap().into_inner();
        let mut last = String::new();
        let ended = loop {
            match next(&mut stream).await {
                Ok(response) => {
                    last = text(&response);
                    token = response.resume_token;
                }
                Err(status) => break status,
            }
        };
        assert_eq!((last.as_str(), reason(&ended).0.as_str()), (BOOKMARK, "STREAM_AGE_REACHED"));
        writers.post(&status(&waba(0), "a", "sent", after, ""));
        world.publish(&mut writers).await;
    }
}

#[tokio::test]
async fn a_stop_ends_watches_with_a_mark_and_the_advice_to_come_again() {
    use tonic_types::StatusExt as _;
    let (world, _writers) = world().await;
    let mut streams = Vec::new();
    for wamid in ["a", "b"] {
        let watch = messages(&[wamid], "");
        let mut stream = world.watch().watch_messages(watch).await.unwrap().into_inner();
        assert_eq!(texts(&mut stream, 2).await, [&format!("{wamid}?"), CAUGHT_UP]);
        streams.push(stream);
    }
    world.shutdown.cancel();
    for mut stream in streams {
        assert_eq!(texts(&mut stream, 1).await, [BOOKMARK]);
        let ended = next(&mut stream).await.unwrap_err();
        assert_eq!(reason(&ended).0, "SHUTTING_DOWN");
        assert!(ended.get_error_details().retry_info().is_some());
    }
    tokio::time::timeout(PATIENCE, world.server).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn watches_are_limited_in_number() {
    let options = QueryOptions { watch_streams_max: 1, ..QueryOptions::default() };
    let (world, _writers) = World::open_with(options).await;
    world.topics().await;
    let first = world.watch().watch_messages(messages(&["a"], "")).await.unwrap();
    let refused = world.watch().watch_messages(messages(&["a"], "")).await.unwrap_err();
    assert_eq!(reason(&refused).0, "OVERLOADED");
    drop(first);
    tokio::time::timeout(PATIENCE, async {
        while world.watch().watch_messages(messages(&["a"], "")).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_watch_of_more_messages_than_a_lookup_is_refused() {
    let (world, _writers) = world().await;
    let names: Vec<_> = (0..1_001).map(|n| format!("wamid.{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    world.watch().watch_messages(messages(&names[..1_000], "")).await.unwrap();
    let refused = world.watch().watch_messages(messages(&names, "")).await.unwrap_err();
    assert_eq!(fields(&refused), ["wamids"]);
}

#[tokio::test]
async fn streams_above_those_of_one_connection_wait_for_a_place() {
    let (world, _writers) = World::open_with(QueryOptions::default()).await;
    world.topics().await;
    let mut open = Vec::new();
    for _ in 0..128 {
        open.push(world.watch().watch_messages(messages(&["a"], "")).await.unwrap());
    }
    let mut client = world.watch();
    let mut next = std::pin::pin!(client.watch_messages(messages(&["a"], "")));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut next).await;
    assert!(early.is_err(), "a 129th is served");
    drop(open.pop());
    tokio::time::timeout(PATIENCE, next).await.expect("it has the place").unwrap();
}
