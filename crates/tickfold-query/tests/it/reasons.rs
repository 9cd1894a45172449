//! Reasons of failures as clients see them: each over a real socket with its payloads, and for each the
//! test that provokes it by its own cause.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tickfold_proto::admin::v1 as admin;
use tickfold_proto::query::v1 as pb;
use tickfold_query::{Auth, QueryOptions, Reason, mirror};
use tokio::net::TcpListener;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::callers::call;
use crate::mirror::http;
use crate::world::{World, reason, status, waba};

const GET: &str = "/tickfold.query.v1.QueryService/GetMessage";

/// Where each reason is provoked by its own cause over a real socket: in this crate, or in the binary.
const PROVOKED: &[(Reason, &str)] = &[
    (
        Reason::MessageNotFound,
        "lookups.rs::what_is_not_known_is_not_found_with_the_reason_of_its_kind",
    ),
    (
        Reason::ConversationNotFound,
        "lookups.rs::what_is_not_known_is_not_found_with_the_reason_of_its_kind",
    ),
    (
        Reason::TemplateNotFound,
        "lookups.rs::what_is_not_known_is_not_found_with_the_reason_of_its_kind",
    ),
    (
        Reason::AccountNotFound,
        "lookups.rs::what_is_not_known_is_not_found_with_the_reason_of_its_kind",
    ),
    (
        Reason::NumberNotFound,
        "standing.rs::what_is_said_of_a_number_is_told_of_its_account_until_its_id_is_known",
    ),
    (Reason::UserNotFound, "users.rs::a_user_is_one_under_each_identifier"),
    (Reason::TopicNotFound, "admin.rs::what_does_not_exist_is_refused"),
    (Reason::PartitionNotFound, "admin.rs::what_does_not_exist_is_refused"),
    (Reason::SecretNotFound, "tickfold/reasons.rs::what_a_node_has_not_is_refused_by_name"),
    (Reason::DeadLetterNotFound, "tickfold/reasons.rs::what_a_node_has_not_is_refused_by_name"),
    (Reason::OriginNotAllowed, "web.rs::a_page_may_call_if_its_origin_is_named"),
    (
        Reason::NoSecrets,
        "tickfold/callers.rs::kafka_nodes_ask_each_other_with_the_rights_of_their_caller",
    ),
    (Reason::CheckpointsOff, "tickfold/reasons.rs::what_a_node_has_not_is_refused_by_name"),
    (
        Reason::ReloadRefused,
        "tickfold/secrets.rs::a_signal_and_a_call_reload_secrets_and_a_bad_file_changes_nothing",
    ),
    (Reason::QuarantineOff, "tickfold/reasons.rs::what_a_node_has_not_is_refused_by_name"),
    (
        Reason::RulesVersionNotAbove,
        "tickfold/rules.rs::rules_are_shown_compared_and_applied_and_hold_after_a_crash",
    ),
    (Reason::ReplayNotFound, "tickfold/reasons.rs::what_a_node_has_not_is_refused_by_name"),
    (Reason::ReplayExists, "tickfold/replay.rs::a_replay_of_everything_is_the_live_state"),
    (Reason::ReplayBusy, "tickfold/replay.rs::a_killed_replay_goes_on_where_it_was"),
    (Reason::ReplayUnfinished, "tickfold/replay.rs::a_killed_replay_goes_on_where_it_was"),
    (
        Reason::ReplayIsPart,
        "tickfold/replay_swap.rs::what_is_not_the_state_of_the_log_is_not_swapped",
    ),
    (
        Reason::SwapRefused,
        "tickfold/replay_swap.rs::what_is_not_the_state_of_the_log_is_not_swapped",
    ),
    (Reason::RawTrimmed, "explain.rs::what_is_not_there_or_no_longer_in_the_log_is_refused"),
    (Reason::InvalidArgument, "lookups.rs::malformed_arguments_are_named"),
    (
        Reason::PageTokenInvalid,
        "paging.rs::a_token_is_good_for_the_request_it_came_from_and_after_a_restart",
    ),
    (
        Reason::PageTokenMismatch,
        "paging.rs::a_token_is_good_for_the_request_it_came_from_and_after_a_restart",
    ),
    (Reason::FilterInvalid, "find.rs::a_filter_is_refused_at_its_place_or_if_no_list_answers_it"),
    (
        Reason::FilterNotIndexed,
        "find.rs::a_filter_is_refused_at_its_place_or_if_no_list_answers_it",
    ),
    (
        Reason::ResumeTokenInvalid,
        "watch.rs::a_watch_of_messages_goes_on_by_its_token_with_what_changed_since",
    ),
    (
        Reason::ResumeTokenMismatch,
        "watch.rs::a_watch_of_messages_goes_on_by_its_token_with_what_changed_since",
    ),
    (
        Reason::ResumeTokenExpired,
        "watch.rs::transitions_of_an_account_are_each_told_once_over_resumes",
    ),
    (Reason::StreamAgeReached, "watch.rs::old_watches_are_asked_to_come_again"),
    (
        Reason::StoreNotOpen,
        "positions.rs::a_store_that_is_not_open_is_unavailable_and_worth_a_retry",
    ),
    (
        Reason::PartitionUnreachable,
        "peers.rs::without_the_owner_an_earlier_store_answers_or_nobody_does",
    ),
    (
        Reason::PartitionElsewhere,
        "peers.rs::a_call_of_another_node_is_answered_from_what_is_here_and_travels_no_further",
    ),
    (Reason::StoreUnreadable, "lookups.rs::a_store_that_cannot_be_understood_is_data_loss"),
    (
        Reason::LogUnavailable,
        "admin.rs::a_log_that_cannot_be_read_is_told_apart_from_one_that_is_damaged",
    ),
    (
        Reason::LogDamaged,
        "admin.rs::a_log_that_cannot_be_read_is_told_apart_from_one_that_is_damaged",
    ),
    (Reason::StoreReadFailed, "lookups.rs::a_store_that_cannot_be_read_is_internal"),
    (
        Reason::PositionNotReached,
        "positions.rs::a_position_that_does_not_come_is_told_before_the_callers_deadline",
    ),
    (Reason::DeadlineExceeded, "reasons.rs::an_answer_that_does_not_come_ends_at_the_deadline"),
    (Reason::RequestTooLarge, "reasons.rs::what_no_handler_sees_has_a_reason_too"),
    (Reason::RequestUnreadable, "reasons.rs::what_no_handler_sees_has_a_reason_too"),
    (Reason::EncodingUnsupported, "reasons.rs::what_no_handler_sees_has_a_reason_too"),
    (Reason::MethodUnknown, "reasons.rs::what_no_handler_sees_has_a_reason_too"),
    (
        Reason::Unauthenticated,
        "callers.rs::no_method_answers_without_a_token_and_none_says_why_to_whom_it_does_not_know",
    ),
    (Reason::ScopeMissing, "callers.rs::personal_data_needs_its_scope"),
    (
        Reason::Overloaded,
        "admin.rs::a_tail_ends_with_an_error_at_shutdown_and_gives_its_slot_back_when_dropped",
    ),
    (Reason::ResponseTooLarge, "lookups.rs::a_reply_that_clients_would_refuse_is_refused_by_us"),
    (
        Reason::ShuttingDown,
        "admin.rs::a_tail_ends_with_an_error_at_shutdown_and_gives_its_slot_back_when_dropped",
    ),
];

/// Those that no test provokes by their own cause over a socket, and why. That errors of the ports become
/// them, a test beside the reasons shows.
const NOT_PROVOKED: &[(Reason, &str)] = &[
    (Reason::SwapInterrupted, "a process that is killed in a swap answers nothing more"),
    (Reason::Defect, "there is none that we know of"),
];

#[test]
fn each_reason_is_provoked_or_it_is_said_why_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut listed: Vec<_> = PROVOKED.iter().chain(NOT_PROVOKED).map(|(of, _)| *of).collect();
    listed.sort();
    assert_eq!(
        listed,
        Reason::ALL
            .iter()
            .copied()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    for (of, place) in PROVOKED {
        let (file, name) = place.split_once("::").unwrap();
        let path = match file.strip_prefix("tickfold/") {
            Some(file) => root.join("../tickfold/tests/it").join(file),
            None => root.join("tests/it").join(file),
        };
        let text = std::fs::read_to_string(&path).unwrap();
        let body = text.split_once(&format!("fn {name}(")).unwrap_or_else(|| panic!("{place}")).1;
        // The word stands in the test, or in a function of the file that several tests call.
        let word = of.as_str();
        let of_kind = word.strip_suffix("_NOT_FOUND").is_some_and(|_| body.contains("_NOT_FOUND"));
        assert!(text.contains(word) || of_kind, "{place} does not name {word}");
    }
}

/// Asks for the state of a moment; that of the world fails for the reason of this number.
fn then(offset: u64) -> pb::GetMessageRequest {
    let moment = pb::moment::Moment::Position(pb::Position { partition: 0, offset });
    let at = Some(pb::Moment { moment: Some(moment) });
    pb::GetMessageRequest { wamid: "w".to_owned(), at, ..Default::default() }
}

#[tokio::test]
async fn each_reason_arrives_with_its_code_and_what_to_do() {
    let (world, _writers) = World::open().await;
    for (number, of) in (0..).zip(Reason::ALL) {
        let status = world.query().get_message(then(number)).await.unwrap_err();
        assert_eq!(status.code(), of.code(), "{of:?}");
        let partition = ("partition".to_owned(), "0".to_owned());
        assert_eq!(reason(&status), (of.as_str().to_owned(), vec![partition]));
        let details = status.get_error_details();
        let retry = details.retry_info().and_then(|retry| retry.retry_delay);
        assert_eq!(retry, of.retry_after(), "{of:?}");
        let help = &details.help().unwrap().links[0];
        assert_eq!((help.description.as_str(), help.url.as_str()), (of.advice(), ""));
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_ends_at_the_deadline() {
    let request_timeout = Duration::from_millis(200);
    let options = QueryOptions { request_timeout, ..QueryOptions::default() };
    let (world, _writers) = World::open_with(options).await;
    let status = world.query().get_message(then(u64::MAX)).await.unwrap_err();
    assert_eq!(reason(&status).0, "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn what_no_handler_sees_has_a_reason_too() {
    let (world, _writers) = World::open().await;
    let told = |status: tonic::Status| (status.code(), reason(&status).0);
    let too_large = (Code::OutOfRange, "REQUEST_TOO_LARGE".to_owned());
    let message =
        |bytes: usize| pb::GetMessageRequest { wamid: "w".repeat(bytes), ..Default::default() };
    let error = world.query().get_message(message(5 * 1024 * 1024)).await.unwrap_err();
    assert_eq!(told(error), too_large);

    // A number where the method has a text.
    let unreadable = call::<u64, ()>(&world.channel, GET, Request::new(7)).await.unwrap_err();
    assert_eq!(told(unreadable), (Code::InvalidArgument, "REQUEST_UNREADABLE".to_owned()));

    let mut zstd = Request::new(message(1));
    zstd.metadata_mut().insert("grpc-encoding", "zstd".parse().unwrap());
    let unsupported = world.query().get_message(zstd).await.unwrap_err();
    let accepted = unsupported.metadata().get("grpc-accept-encoding").cloned();
    assert!(accepted.is_some_and(|accepted| accepted.to_str().unwrap().contains("gzip")));
    assert_eq!(told(unsupported), (Code::Unimplemented, "ENCODING_UNSUPPORTED".to_owned()));

    for path in
        ["/tickfold.query.v1.QueryService/Nothing", "/tickfold.query.v9.QueryService/GetMessage"]
    {
        let unknown = call::<u64, ()>(&world.channel, path, Request::new(7)).await.unwrap_err();
        assert_eq!(told(unknown), (Code::Unimplemented, "METHOD_UNKNOWN".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_request_that_does_not_come_to_its_end_is_ended_with_a_reason() {
    let second = Duration::from_secs(1);
    let options = QueryOptions {
        request_timeout: second,
        request_timeout_max: second,
        ..QueryOptions::default()
    };
    let (world, _writers) = World::open_with(options).await;
    let mut client = Grpc::new(world.channel.clone());
    client.ready().await.unwrap();
    let never = tokio_stream::pending::<pb::GetMessageRequest>();
    let codec = ProstCodec::<_, pb::GetMessageResponse>::default();
    let ended = client.client_streaming(Request::new(never), PathAndQuery::from_static(GET), codec);
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap().unwrap_err();
    assert_eq!(
        (ended.code(), reason(&ended).0.as_str()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
}

#[tokio::test]
async fn every_service_reads_gzip_and_no_more_of_it_than_a_request_may_have() {
    let (world, mut writers) = World::open().await;
    writers.post(&status(&waba(0), "wamid.A", "sent", 1, ""));
    world.append(&mut writers).await;
    world.publish(&mut writers).await;
    let gzip = CompressionEncoding::Gzip;
    let (mut query, mut watch, mut admin) = (
        world.query().send_compressed(gzip).accept_compressed(gzip),
        world.watch().send_compressed(gzip).accept_compressed(gzip),
        world.admin().send_compressed(gzip).accept_compressed(gzip),
    );
    let asked =
        |wamid: &str| pb::GetMessageRequest { wamid: wamid.to_owned(), ..Default::default() };
    let watched = |wamid: &str| pb::WatchMessagesRequest {
        wamids: vec![wamid.to_owned()],
        ..Default::default()
    };
    let listed = |topic: &str| admin::TailRequest { topic: topic.to_owned(), ..Default::default() };
    assert!(query.get_message(asked("wamid.A")).await.is_ok());
    let mut told = watch.watch_messages(watched("wamid.A")).await.unwrap().into_inner();
    let first = tokio::time::timeout(Duration::from_secs(30), told.message()).await.unwrap();
    assert!(first.unwrap().unwrap().item.is_some());
    // It is read, and asks for what is not there.
    let absent = admin.tail(listed("none")).await.map(drop).unwrap_err();
    assert_eq!(absent.code(), Code::NotFound);

    // 64 MiB in 64 KiB.
    let bomb = "w".repeat(64 * 1024 * 1024);
    for refused in [
        query.get_message(asked(&bomb)).await.map(drop),
        watch.watch_messages(watched(&bomb)).await.map(drop),
        admin.tail(listed(&bomb)).await.map(drop),
    ] {
        assert_eq!(reason(&refused.unwrap_err()).0, "REQUEST_TOO_LARGE");
    }
}

#[tokio::test]
async fn a_path_or_verb_that_the_mirror_has_not_is_told_as_a_failure() {
    let (world, _writers) = World::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = mirror(&world.door, &Auth::default()).unwrap();
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, router).await });
    for (verb, path, code) in [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/messages/wamid.A/nothing/at/all", 404),
        ("POST", "/v1/nothing", 404),
        ("POST", "/v1/messages/wamid.A", 405),
        ("DELETE", "/v1/templates", 405),
    ] {
        let answer = http(address, verb, path, &[], b"").await;
        assert_eq!(answer.code, code, "{verb} {path}");
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(body.contains("METHOD_UNKNOWN") && body.contains("google.rpc.ErrorInfo"), "{body}");
        assert_eq!(answer.header("allow"), (code == 405).then_some("GET,HEAD"));
    }
    assert_eq!(http(address, "GET", "/v1/messages/wamid.A", &[], b"").await.code, 404);
}
