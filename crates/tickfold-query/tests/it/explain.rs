//! Explaining a message: each raw record that touched it, and what it did or why nothing.

use std::time::Duration;

use tickfold_log::{Log, TopicPartition};
use tickfold_proto::query::v1::explain_message_response::Part;
use tickfold_proto::query::v1::{self as pb, MessageView, RecordOutcome};
use tickfold_query::QueryOptions;
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use crate::world::{P, RAW, World, after, message, price, reason, status, waba};

/// What is told of a message, and how far that went.
async fn explain(
    world: &World,
    wamid: &str,
    view: MessageView,
    limit: u32,
) -> Result<(Vec<pb::ExplainedRecord>, pb::Explanation), Status> {
    let (wamid, view) = (wamid.to_owned(), view.into());
    let request = pb::ExplainMessageRequest { wamid, view, limit, ..Default::default() };
    let mut parts = world.query().explain_message(request).await?.into_inner();
    let mut records = Vec::new();
    while let Some(part) = parts.next().await {
        match part?.part.unwrap() {
            Part::Record(record) => records.push(record),
            Part::End(end) => {
                assert!(parts.next().await.is_none(), "nothing follows the end");
                return Ok((records, end));
            }
        }
    }
    panic!("no end");
}

fn outcomes(records: &[pb::ExplainedRecord]) -> Vec<(u64, RecordOutcome)> {
    records.iter().map(|one| (one.source.unwrap().offset, one.outcome())).collect()
}

fn learned(record: &pb::ExplainedRecord) -> Vec<(&str, &str)> {
    record.learned.iter().map(|fact| (fact.name.as_str(), fact.value.as_str())).collect()
}

const WAMID: &str = "wamid.HBg/A+B==";

#[tokio::test]
async fn each_record_is_told_with_what_it_changed_or_why_nothing() {
    let (world, mut writers) = World::open().await;
    let utility = price("utility", "regular");
    let post = |writers: &mut crate::world::Writers, body: String| {
        assert_eq!(writers.post(&body).len(), 1);
    };
    let of = |word: &str, after: i64, rest: &str| status(&waba(0), WAMID, word, after, rest);
    post(&mut writers, of("sent", 1, &utility));
    post(&mut writers, of("sent", 1, &utility).replace('/', "\\/"));
    post(&mut writers, of("failed", 2, r#","errors":[{"code":131026}]"#));
    post(&mut writers, status(&waba(0), "wamid.HBg/A+C==", "sent", 2, ""));
    let answer = format!(r#""from":"49170","type":"text","context":{{"id":"{WAMID}"}}"#);
    post(&mut writers, message(&waba(0), "wamid.I", 3, &answer));
    post(&mut writers, of("delivered", 5, &utility));
    post(&mut writers, of("delivered", 4, ""));
    post(&mut writers, of("", 5, ""));
    let reaction = format!(
        r#""from":"49170","type":"reaction","reaction":{{"message_id":"{WAMID}","emoji":"+"}}"#
    );
    post(&mut writers, message(&waba(0), "wamid.R", 6, &reaction));
    writers.now_ms += 5_000;
    writers.tick(0);
    world.append(&mut writers).await;

    let (records, end) = explain(&world, WAMID, MessageView::Full, 0).await.unwrap();
    use RecordOutcome::{Amended, Broken, Mentioned, NewFact, Repeated};
    assert_eq!(
        outcomes(&records),
        [
            (0, NewFact),
            (1, Repeated),
            (2, NewFact),
            (4, Mentioned),
            (5, NewFact),
            (6, Amended),
            (7, Broken),
            (8, NewFact)
        ]
    );
    assert!(end.complete);
    let range = end.ranges[0];
    assert_eq!((range.partition, range.from_offset, range.until_offset), (0, 0, 10));
    assert_eq!((range.records, end.ranges.len(), end.as_of.unwrap().positions.len()), (10, 1, 2));

    let [first, repeated, failed, answered, delivered, earlier, broken, reacted] = &records[..]
    else {
        panic!("eight records")
    };
    assert_eq!((first.kind.as_str(), first.request_id.as_str()), ("webhook", "r"));
    assert_eq!(after(first.log_time.as_ref()), Some(60));
    assert!(first.received_time.is_some() && !first.too_old);
    assert!(learned(first).contains(&("status sent", "2026-11-20T00:00:01.000Z")));
    assert!(learned(first).contains(&("pricing", "utility, regular, PMP, a quote")));
    assert!(learned(first).contains(&("party", "49170")));
    assert_eq!(first.transitions[0].to_text, "sent");
    assert_eq!((repeated.learned.len(), repeated.transitions.len()), (0, 0));
    assert_eq!(repeated.items[0].naming, "itself");
    assert_eq!(repeated.items[0].path, first.items[0].path);
    assert_eq!(failed.actions[0].kind, "sms_fallback");
    assert!(failed.actions[0].superseded);
    assert_eq!(answered.items[0].naming, "answers");
    assert_eq!(delivered.actions[0].kind, "fallback_superseded");
    let charge = &delivered.charges[0];
    assert_eq!((charge.sequence, charge.billable), (5, true));
    // An earlier time is a better value, and the charge of it a correction.
    assert_eq!(learned(earlier), [("status delivered", "2026-11-20T00:00:04.000Z")]);
    assert_eq!((earlier.transitions.len(), earlier.charges[0].sequence), (0, 6));
    assert_eq!((broken.items[0].naming.as_str(), broken.learned.len()), ("broken", 0));
    assert_eq!(reacted.items[0].naming, "changes");
    assert!(
        learned(reacted).iter().any(|(name, value)| *name == "reaction" && value.contains('+'))
    );

    // What is told is what the message has.
    let request = pb::GetMessageRequest {
        wamid: WAMID.into(),
        view: MessageView::History.into(),
        ..Default::default()
    };
    let told = world.query().get_message(request).await.unwrap().into_inner().message.unwrap();
    let transitions: Vec<_> = records.iter().flat_map(|one| one.transitions.clone()).collect();
    assert_eq!(transitions, told.history);
    let last = records.iter().flat_map(|one| &one.charges).last();
    assert_eq!(last, told.charge.as_ref());
    let actions: Vec<_> = records.iter().flat_map(|one| one.actions.clone()).collect();
    assert_eq!(actions, told.actions);

    // A limit ends it early and says so; a lesser view has no personal data.
    let (few, end) = explain(&world, WAMID, MessageView::Basic, 2).await.unwrap();
    assert_eq!((few.len(), end.complete, end.ranges[0].until_offset), (2, false, 2));
    assert!(learned(&few[0]).contains(&("party", "")), "{:?}", few[0]);
}

#[tokio::test]
async fn a_deadline_that_passed_is_told_with_the_record_that_let_it_pass() {
    let (world, mut writers) = World::open().await;
    let sent = status(&waba(1), WAMID, "sent", 50, &price("authentication", "regular"));
    writers.post(&sent);
    // Ticks as ingress appends them, until long after any deadline of a login code.
    for _ in 0..400 {
        writers.now_ms += 5_000;
        writers.tick(1);
    }
    world.append(&mut writers).await;
    let (records, end) = explain(&world, WAMID, MessageView::Full, 0).await.unwrap();
    assert!(end.complete);
    assert_eq!(records.len(), 2, "{records:?}");
    let timer = &records[1];
    assert_eq!((timer.outcome(), timer.kind.as_str()), (RecordOutcome::Decided, "tick"));
    assert_eq!(timer.actions[0].kind, "sms_fallback");
    assert_eq!(timer.actions[0].source, timer.source);
    assert!(timer.items.is_empty() && timer.learned.is_empty());
}

#[tokio::test]
async fn a_message_in_two_partitions_is_explained_in_both() {
    let (world, mut writers) = World::open().await;
    let one = status(&waba(0), WAMID, "sent", 1, "");
    let other = status(&waba(1), WAMID, "read", 2, "");
    let entry = |body: &str| {
        let start = body.find(r#"{"id""#).unwrap();
        body[start..body.rfind("]}").unwrap()].to_owned()
    };
    let body = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{},{}]}}"#,
        entry(&one),
        entry(&other)
    );
    assert_eq!(writers.post(&body).len(), usize::try_from(P).unwrap());
    writers.post(&status(&waba(0), WAMID, "sent", 1, ""));
    world.append(&mut writers).await;
    let (records, end) = explain(&world, WAMID, MessageView::Full, 0).await.unwrap();
    let told: Vec<_> =
        records.iter().map(|one| (one.source.unwrap().partition, one.outcome())).collect();
    let (new, repeated) = (RecordOutcome::NewFact, RecordOutcome::Repeated);
    assert_eq!(told, [(0, new), (0, repeated), (1, new)]);
    let namings: Vec<_> = records[0].items.iter().map(|item| item.naming.as_str()).collect();
    assert_eq!(namings, ["itself", "elsewhere"]);
    assert!(end.complete && end.ranges.len() == 2);
}

#[tokio::test]
async fn what_is_not_there_or_no_longer_in_the_log_is_refused() {
    let (world, mut writers) = World::open().await;
    writers.tick(0);
    writers.post(&status(&waba(0), WAMID, "sent", 1, ""));
    writers.tick(0);
    world.append(&mut writers).await;
    let error = explain(&world, "wamid.X", MessageView::Full, 0).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).0.as_str()), (Code::NotFound, "MESSAGE_NOT_FOUND"));
    let raw = TopicPartition::new(RAW, 0);
    world.log.trim(&raw, 1).await.unwrap();
    assert!(explain(&world, WAMID, MessageView::Full, 0).await.unwrap().1.complete);
    world.log.trim(&raw, 2).await.unwrap();
    let error = explain(&world, WAMID, MessageView::Full, 0).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    let (why, metadata) = reason(&error);
    assert_eq!(why, "RAW_TRIMMED");
    assert_eq!(metadata, [("partition".into(), "0".into()), ("start".into(), "2".into())]);
}

#[tokio::test]
async fn an_explanation_that_does_not_open_is_ended_at_the_deadline() {
    let request_timeout = Duration::from_millis(200);
    let options = QueryOptions { request_timeout, ..QueryOptions::default() };
    let (world, _writers) = World::open_with(options).await;
    // A state of then that is never made.
    let never = pb::Position { partition: 0, offset: u64::MAX };
    let request = pb::ExplainMessageRequest {
        wamid: WAMID.to_owned(),
        at: Some(pb::Moment { moment: Some(pb::moment::Moment::Position(never)) }),
        ..Default::default()
    };
    let mut client = world.query();
    let opened = tokio::time::timeout(Duration::from_secs(10), client.explain_message(request));
    let late = opened.await.expect("an answer").err().unwrap();
    assert_eq!(reason(&late).0, "DEADLINE_EXCEEDED");
}
