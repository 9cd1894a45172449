//! What is refused, on a log in memory of which the test is the processor.

use tickfold_core::fold::Partition;
use tickfold_core::overlay::{Nothing, Overlay};
use tickfold_core::raw::{WebhookHeaders, tick_headers};
use tickfold_core::signature::sign;
use tickfold_core::time::Timestamp;
use tickfold_ingress::{App, Secret};
use tickfold_log::{Append, Header, MemLog};
use tickfold_processor::{raw_record, topic_specs};
use tonic_types::StatusExt as _;

use super::*;

const NOW_MS: i64 = 1_795_132_800_000;
const BROKEN: &[u8] = b"{\"object\":";

fn append(log: &MemLog, topic: &str, headers: Vec<(&str, String)>, value: Bytes) {
    let header = |(name, value): (&str, String)| Header {
        name: name.to_owned().into(),
        value: Bytes::from(value),
    };
    let append = Append {
        to: TopicPartition::new(topic, 0),
        key: None,
        value: Some(value),
        headers: headers.into_iter().map(header).collect(),
        timestamp_ms: None,
    };
    log.append_now(vec![append]).unwrap();
}

/// A tick, a webhook that is broken, and one that nobody signed, with their dead letters.
fn log() -> MemLog {
    let log = MemLog::new(NOW_MS);
    log.ensure_topics_now(&topic_specs("wa", 1)).unwrap();
    append(&log, "wa.webhook.raw.v1", tick_headers(1), Bytes::new());
    for secret in ["secret", "nobody's"] {
        let headers = WebhookHeaders {
            signature: sign(secret.as_bytes(), BROKEN),
            received_time: Timestamp::from_millis(NOW_MS),
            app: "main".to_owned(),
            secret_id: "old".to_owned(),
            request_id: "r".to_owned(),
            partition_count: 1,
        };
        append(&log, "wa.webhook.raw.v1", headers.encode(), Bytes::from_static(BROKEN));
    }
    let (mut overlay, partition) = (Overlay::default(), Partition { id: 0, count: 1 });
    for record in log.records("wa.webhook.raw.v1", 0) {
        let raw = raw_record(&record);
        for output in tickfold_core::fold(&mut overlay, &Nothing, partition, &raw).unwrap() {
            assert_eq!(output.topic, Topic::DeadLetter);
            append(&log, "wa.dead-letter.v1", Vec::new(), output.value.unwrap());
        }
    }
    log
}

fn service(log: &MemLog, apps: Option<Apps>) -> DeadLetters {
    DeadLetters::new(Parts {
        log: Arc::new(log.clone()),
        raw: RawTopic { name: "wa.webhook.raw.v1".to_owned(), partitions: 1 },
        topic_prefix: "wa".to_owned(),
        apps,
        redriving: Mutex::default(),
    })
}

fn apps() -> Apps {
    let app = App {
        name: "main".to_owned(),
        secrets: vec![Secret::new("new", "secret")],
        verify_tokens: Vec::new(),
    };
    Apps::new(vec![app], Timestamp::from_millis(NOW_MS)).unwrap()
}

fn only_say(offsets: impl IntoIterator<Item = u64>) -> Request<pb::RedriveDeadLettersRequest> {
    Request::new(pb::RedriveDeadLettersRequest {
        positions: offsets.into_iter().map(|offset| told((0, offset))).collect(),
        validate_only: true,
        ..Default::default()
    })
}

/// Of each position why it is refused; empty if it is not.
async fn refused(
    service: &DeadLetters,
    request: Request<pb::RedriveDeadLettersRequest>,
) -> Vec<String> {
    let reply = service.redrive_dead_letters(request).await.unwrap().into_inner();
    reply.results.into_iter().map(|result| result.refused).collect()
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

#[tokio::test]
async fn each_position_is_refused_for_its_own_reason() {
    let log = log();
    let service = service(&log, Some(apps()));
    let expected = ["no_webhook", "", "signature_not_verified", "no_dead_letter"];
    assert_eq!(refused(&service, only_say([0, 1, 2, 9])).await, expected);
    let mut trusting = only_say([2]);
    trusting.get_mut().retired_secret_ids = vec!["old".to_owned()];
    assert_eq!(refused(&service, trusting).await, [""]);
    assert_eq!(log.records("wa.webhook.raw.v1", 0).len(), 3, "it was only said");

    // What is trimmed can still be looked at, and no more.
    log.trim(&TopicPartition::new("wa.webhook.raw.v1", 0), 2).await.unwrap();
    assert_eq!(refused(&service, only_say([1])).await, ["trimmed"]);
    let request = pb::GetDeadLetterRequest { position: Some(told((0, 1))), raw: true };
    // The body is shown to who may see personal data: the guard says who that is.
    let mut request = Request::new(request);
    request.extensions_mut().insert(Access::unchecked());
    let shown = service.get_dead_letter(request).await.unwrap().into_inner();
    assert_eq!((shown.dead_letters.len(), shown.webhook), (1, None));
    assert_eq!(shown.dead_letters[0].raw.as_bytes(), BROKEN);
}

#[tokio::test]
async fn a_call_that_cannot_be_right_is_refused_whole() {
    let log = log();
    let blind = service(&log, None);
    let status = blind.redrive_dead_letters(only_say([1])).await.unwrap_err();
    assert_eq!(reason(&status), "NO_SECRETS");
    // It reads like any other node.
    let listed =
        blind.list_dead_letters(Request::new(Default::default())).await.unwrap().into_inner();
    assert_eq!(listed.dead_letters.len(), 2);

    let service = service(&log, Some(apps()));
    let mut both = only_say([1]);
    both.get_mut().filter = Some(pb::DeadLetterFilter::default());
    for (request, by) in [
        (only_say([]), "INVALID_ARGUMENT"),
        (both, "INVALID_ARGUMENT"),
        (only_say(0..101), "INVALID_ARGUMENT"),
    ] {
        let status = service.redrive_dead_letters(request).await.unwrap_err();
        assert_eq!(reason(&status), by);
    }
    let page = |page_size, token: &str| {
        let page_token = token.to_owned();
        Request::new(pb::ListDeadLettersRequest { page_size, page_token, ..Default::default() })
    };
    for (request, by) in
        [(page(1_001, ""), "INVALID_ARGUMENT"), (page(0, "x"), "PAGE_TOKEN_INVALID")]
    {
        assert_eq!(reason(&service.list_dead_letters(request).await.unwrap_err()), by);
    }
    // Pages are whole: each dead letter once.
    let first = service.list_dead_letters(page(1, "")).await.unwrap().into_inner();
    let rest = page(1, &first.next_page_token);
    let rest = service.list_dead_letters(rest).await.unwrap().into_inner();
    let offsets = first.dead_letters.iter().chain(&rest.dead_letters);
    let offsets: Vec<_> = offsets.map(|letter| letter.position.as_ref().unwrap().offset).collect();
    assert_eq!((offsets, rest.next_page_token.as_str()), (vec![2, 1], ""));
}
