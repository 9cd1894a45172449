//! Templates, accounts and numbers: where they stand, what was told of them, and lists of those that
//! are so and so, over partitions and over nodes.

use tickfold_core::time::HOUR_MS;
use tickfold_proto::query::v1 as pb;
use tonic::Code;

use crate::peers::{Pair, pair};
use crate::world::{World, Writers, after, change, fields, inbound, reason, status, waba};

const NO_MESSAGES: &str = "RESTRICTED_BIZ_INITIATED_MESSAGING";

fn template_event(account: u32, id: &str, rest: &str) -> String {
    let value = format!(
        r#"{{"message_template_id":{id},"message_template_name":"t{id}","message_template_language":"en_US",{rest}}}"#
    );
    change(&waba(account), "message_template_status_update", &value)
}

fn quality(account: u32, id: &str, score: &str) -> String {
    let rest = format!(r#""previous_quality_score":"GREEN","new_quality_score":"{score}""#);
    template_event(account, id, &rest)
}

fn restricted(account: u32, rest: &str) -> String {
    let value = format!(
        r#"{{"event":"ACCOUNT_RESTRICTION",{rest}"restriction_info":[{{"restriction_type":"{NO_MESSAGES}","expiration":1795140000}}]}}"#
    );
    change(&waba(account), "account_update", &value)
}

fn flagged(account: u32, display: &str) -> String {
    let value = format!(
        r#"{{"display_phone_number":"{display}","event":"FLAGGED","current_limit":"TIER_1K"}}"#
    );
    change(&waba(account), "phone_number_quality_update", &value)
}

/// Some message of the number with this id and display number.
fn of_number(account: u32, id: &str, display: &str) -> String {
    let body = status(&waba(account), &format!("wamid.{account}.{id}"), "sent", 1, "");
    let id = format!(r#""phone_number_id":"{id}""#);
    body.replace(r#""phone_number_id":"1""#, &id).replace("15550001111", display)
}

fn lines(history: &[pb::StandingTransition]) -> Vec<String> {
    let line = |line: &pb::StandingTransition| {
        let late = if line.late { " late" } else { "" };
        format!(
            "{}>{}={} {}>{}{late}",
            line.from, line.to, line.state, line.old_value, line.new_value
        )
    };
    history.iter().map(line).collect()
}

#[tokio::test]
async fn a_template_is_told_whole_with_its_history_newest_first() {
    let (world, mut writers) = World::open().await;
    writers.post(&template_event(1, "7", r#""event":"APPROVED""#));
    writers.now_ms += 1_000;
    let pause = r#""event":"PAUSED","reason":"LOW","other_info":{"title":"FIRST_PAUSE"}"#;
    writers.post(&template_event(1, "7", pause));
    writers.post(&quality(1, "7", "RED"));
    let category = format!(
        r#"{{"message_template_id":7,"message_template_language":"en_US","new_category":"UTILITY","correct_category":"MARKETING","category_update_timestamp":{}}}"#,
        1_795_132_800 + 86_400
    );
    writers.post(&change(&waba(1), "template_category_update", &category));
    let request = pb::GetTemplateRequest {
        waba_id: waba(1),
        template_id: "7".into(),
        language: "en_US".into(),
        ..Default::default()
    };
    let mut client = world.query();
    let reply = client.get_template(request.clone()).await.unwrap().into_inner();
    let shown = reply.template.unwrap();
    assert_eq!((shown.status.as_str(), shown.reason.as_str()), ("PAUSED", "LOW"));
    assert_eq!(after(shown.pause_end_time.as_ref()), Some(3 * 3_600));
    assert_eq!((shown.quality.as_str(), shown.previous_quality.as_str()), ("RED", "GREEN"));
    assert_eq!((shown.category.as_str(), shown.coming_category.as_str()), ("UTILITY", "MARKETING"));
    assert_eq!(after(shown.coming_category_time.as_ref()), Some(86_400));
    let halt = shown.halt.unwrap();
    assert_eq!((halt.kind.as_str(), halt.source.unwrap().offset), ("halt_template", 1));
    assert!(!halt.id.is_empty() && after(halt.decided_time.as_ref()) == Some(61));
    assert_eq!(
        lines(&shown.history),
        [
            "PAUSED>category_change_announced=PAUSED UTILITY>MARKETING",
            "PAUSED>quality=PAUSED GREEN>RED",
            "APPROVED>PAUSED=PAUSED >PAUSED",
            ">APPROVED=APPROVED >APPROVED",
        ]
    );
    let paused = &shown.history[2];
    assert_eq!((paused.reason.as_str(), paused.source.unwrap().partition), ("LOW", 1));
    assert_eq!(after(paused.event_time.as_ref()), Some(0));
    assert_eq!(after(paused.log_time.as_ref()), Some(61));
    assert!(paused.received_time.is_some());

    // The pause ends, and nobody said so.
    writers.now_ms += 3 * HOUR_MS;
    writers.tick(1);
    let shown = client.get_template(request).await.unwrap().into_inner().template.unwrap();
    assert_eq!((shown.status.as_str(), shown.halt), ("APPROVED", None));
    assert_eq!(shown.pause_end_time, None);
    assert_eq!(lines(&shown.history[..1]), ["PAUSED>pause_ended=APPROVED >"]);
    assert_eq!(after(shown.history[0].event_time.as_ref()), Some(3 * 3_600));
}

#[tokio::test]
async fn what_is_said_of_a_number_is_told_of_its_account_until_its_id_is_known() {
    let (world, mut writers) = World::open().await;
    writers.post(&restricted(0, r#""phone_number":"+1 555-000-1111","#));
    writers.post(&flagged(0, "15550001111"));
    let mut client = world.query();
    let number = pb::GetNumberRequest { phone_number_id: "1".into(), ..Default::default() };
    let unknown = client.get_number(number.clone()).await.unwrap_err();
    assert_eq!(reason(&unknown).0, "NUMBER_NOT_FOUND");
    let request = pb::GetAccountRequest { waba_id: waba(0), ..Default::default() };
    let account = client.get_account(request).await.unwrap().into_inner().account.unwrap();
    assert_eq!((account.state.as_str(), account.halt), ("active", None));
    assert_eq!(lines(&account.history), [">ACCOUNT_RESTRICTION=active >"]);
    let display = &account.display_numbers[0];
    assert_eq!((display.digits.as_str(), display.phone_number_ids.len()), ("15550001111", 0));
    assert_eq!(display.standing.as_ref().unwrap().state, "restricted");

    writers.post(&inbound(&waba(0), "wamid.I", 10));
    let shown = client.get_number(number).await.unwrap().into_inner().number.unwrap();
    assert_eq!((shown.waba_id, shown.display_phone_number.as_str()), (waba(0), "15550001111"));
    let standing = shown.standing.unwrap();
    assert_eq!(
        (standing.state.as_str(), standing.messaging_limit.as_str()),
        ("restricted", "TIER_1K")
    );
    assert_eq!(standing.quality_event, "FLAGGED");
    let restriction = &standing.restrictions[0];
    assert_eq!((restriction.r#type.as_str(), restriction.in_force), (NO_MESSAGES, true));
    assert_eq!(after(restriction.expire_time.as_ref()), Some(7_200));
    assert_eq!(shown.halts.len(), 1);
    assert_eq!(shown.halts[0].kind, "halt_number");
    let history = lines(&shown.history);
    assert_eq!(
        history,
        ["restricted>FLAGGED=restricted >TIER_1K", ">ACCOUNT_RESTRICTION=restricted >"]
    );
}

/// Ids of all pages of a list, with pages of any size.
macro_rules! listed {
    ($world:expr, $call:ident, $request:expr, $entries:ident, $id:expr) => {{
        let mut lists = Vec::new();
        for page_size in [1, 2, 3, 100] {
            let mut request = $request;
            request.page_size = page_size;
            let mut ids: Vec<String> = Vec::new();
            loop {
                let page = $world.query().$call(request.clone()).await.unwrap().into_inner();
                assert!(i32::try_from(page.$entries.len()).unwrap() <= page_size);
                ids.extend(page.$entries.iter().map($id));
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    break;
                }
            }
            lists.push(ids);
        }
        assert!(lists.iter().all(|list| *list == lists[0]), "pages of other sizes: {lists:?}");
        lists.remove(0)
    }};
}

async fn templates(world: &World, waba_id: &str, status: &str, quality: &str) -> Vec<String> {
    let [waba_id, status, quality] = [waba_id, status, quality].map(str::to_owned);
    let request = || pb::ListTemplatesRequest {
        waba_id: waba_id.clone(),
        status: status.clone(),
        quality: quality.clone(),
        ..Default::default()
    };
    listed!(world, list_templates, request(), templates, |one: &pb::Template| {
        assert!(one.history.is_empty(), "lists have no history");
        one.template_id.clone()
    })
}

async fn accounts(world: &World, state: &str, restriction_type: &str) -> Vec<String> {
    let [state, restriction_type] = [state, restriction_type].map(str::to_owned);
    let request = || pb::ListAccountsRequest {
        state: state.clone(),
        restriction_type: restriction_type.clone(),
        ..Default::default()
    };
    listed!(world, list_accounts, request(), accounts, |one: &pb::Account| one.waba_id.clone())
}

async fn numbers(world: &World, waba_id: &str, state: &str, quality_event: &str) -> Vec<String> {
    let [waba_id, state, quality_event] = [waba_id, state, quality_event].map(str::to_owned);
    let request = || pb::ListNumbersRequest {
        waba_id: waba_id.clone(),
        state: state.clone(),
        quality_event: quality_event.clone(),
        ..Default::default()
    };
    listed!(world, list_numbers, request(), numbers, |one: &pb::Number| one.phone_number_id.clone())
}

/// Five templates, two accounts and three numbers, in two partitions.
fn standing(writers: &mut Writers) {
    let pause = r#""event":"PAUSED","other_info":{"title":"FIRST_PAUSE"}"#;
    standing_of(&mut |body| drop(writers.post(body)), pause);
}

fn standing_of(post: &mut impl FnMut(&str), pause: &str) {
    post(&template_event(0, "1", r#""event":"APPROVED""#));
    post(&template_event(0, "2", pause));
    post(&template_event(0, "3", r#""event":"REJECTED""#));
    post(&template_event(1, "2", pause));
    post(&template_event(1, "4", r#""event":"PAUSED""#));
    post(&quality(0, "2", "RED"));
    post(&quality(1, "4", "YELLOW"));
    post(&restricted(1, ""));
    post(&restricted(0, r#""phone_number":"15550000002","#));
    post(&flagged(1, "15550000003"));
    post(&of_number(0, "n1", "15550000001"));
    post(&of_number(0, "n2", "15550000002"));
    post(&of_number(1, "n3", "15550000003"));
}

/// By rising id of the account.
fn of_both(of_0: &[&str], of_1: &[&str]) -> Vec<String> {
    let (first, second) = if waba(0) < waba(1) { (of_0, of_1) } else { (of_1, of_0) };
    first.iter().chain(second).map(ToString::to_string).collect()
}

#[tokio::test]
async fn lists_have_what_is_so_at_log_time_and_nothing_else() {
    let (world, mut writers) = World::open().await;
    standing(&mut writers);
    assert_eq!(templates(&world, "", "", "").await, of_both(&["1", "2", "3"], &["2", "4"]));
    assert_eq!(templates(&world, "", "PAUSED", "").await, of_both(&["2"], &["2", "4"]));
    assert_eq!(templates(&world, &waba(1), "paused", "").await, ["2", "4"]);
    assert_eq!(templates(&world, &waba(0), "REJECTED", "").await, ["3"]);
    assert_eq!(templates(&world, "", "PAUSED", "RED").await, ["2"]);
    assert_eq!(templates(&world, &waba(0), "", "yellow").await, [""; 0]);
    assert_eq!(templates(&world, "nobody", "", "").await, [""; 0]);
    assert_eq!(accounts(&world, "", "").await, of_both(&[&waba(0)], &[&waba(1)]));
    assert_eq!(accounts(&world, "restricted", "").await, [waba(1)]);
    assert_eq!(accounts(&world, "", NO_MESSAGES).await, [waba(1)]);
    assert_eq!(accounts(&world, "active", NO_MESSAGES).await, [""; 0]);
    assert_eq!(numbers(&world, "", "", "").await, ["n1", "n2", "n3"]);
    assert_eq!(numbers(&world, &waba(0), "", "").await, ["n1", "n2"]);
    assert_eq!(numbers(&world, "", "restricted", "").await, ["n2"]);
    assert_eq!(numbers(&world, "", "", "flagged").await, ["n3"]);
    assert_eq!(numbers(&world, &waba(0), "flagged", "").await, [""; 0]);

    // Pauses and restrictions end, and no webhook says so.
    writers.now_ms += 3 * HOUR_MS;
    writers.tick(0);
    writers.tick(1);
    assert_eq!(templates(&world, "", "PAUSED", "").await, ["4"], "it has to be ended by hand");
    assert_eq!(templates(&world, "", "APPROVED", "").await, of_both(&["1", "2"], &["2"]));
    assert_eq!(accounts(&world, "restricted", "").await, [""; 0]);
    assert_eq!(accounts(&world, "", NO_MESSAGES).await, [""; 0]);
    assert_eq!(numbers(&world, "", "active", "").await, ["n1", "n2"]);
}

#[tokio::test]
async fn either_node_lists_what_both_have() {
    let Pair { nodes, mut writers, .. } = pair().await;
    let pause = r#""event":"PAUSED""#;
    for partition in [0, 1] {
        let mine = waba(partition);
        let writer = &mut writers[partition as usize];
        let mut post = |body: &str| {
            if body.contains(&format!(r#""id":"{mine}""#)) {
                writer.post(body);
            }
        };
        standing_of(&mut post, pause);
    }
    for node in &nodes {
        assert_eq!(templates(node, "", "PAUSED", "").await, of_both(&["2"], &["2", "4"]));
        assert_eq!(templates(node, &waba(1), "", "").await, ["2", "4"]);
        assert_eq!(accounts(node, "", "").await, of_both(&[&waba(0)], &[&waba(1)]));
        assert_eq!(numbers(node, "", "", "").await, ["n1", "n2", "n3"]);
    }
    // One that moved is one, with what is said of it in both accounts.
    writers[1].post(&of_number(1, "n2", "15550000002"));
    for node in &nodes {
        assert_eq!(numbers(node, "", "", "").await, ["n1", "n2", "n3"]);
        let request = pb::GetNumberRequest { phone_number_id: "n2".into(), ..Default::default() };
        let shown = node.query().get_number(request).await.unwrap().into_inner().number.unwrap();
        assert_eq!(lines(&shown.history), [">ACCOUNT_RESTRICTION=restricted >"]);
        assert_eq!(shown.halts.len(), 1);
    }
}

#[tokio::test]
async fn odd_arguments_of_lists_are_named() {
    let (world, mut writers) = World::open().await;
    standing(&mut writers);
    let mut client = world.query();
    let request = pb::ListTemplatesRequest { page_size: 1, ..Default::default() };
    let page = client.list_templates(request.clone()).await.unwrap().into_inner();
    let page_token = page.next_page_token;
    let other = pb::ListTemplatesRequest { status: "PAUSED".into(), page_token, ..request };
    let error = client.list_templates(other.clone()).await.unwrap_err();
    assert_eq!(
        (reason(&error).0.as_str(), fields(&error)),
        ("PAGE_TOKEN_MISMATCH", vec!["page_token".into()])
    );
    // The token of another kind of list is not one of this.
    let accounts = pb::ListAccountsRequest { page_token: other.page_token, ..Default::default() };
    let error = client.list_accounts(accounts).await.unwrap_err();
    assert_eq!(reason(&error).0, "PAGE_TOKEN_MISMATCH");
    let long = "x".repeat(300);
    let errors = [
        client
            .list_templates(pb::ListTemplatesRequest { status: long.clone(), ..Default::default() })
            .await
            .unwrap_err(),
        client
            .list_accounts(pb::ListAccountsRequest { page_size: -1, ..Default::default() })
            .await
            .unwrap_err(),
        client
            .list_numbers(pb::ListNumbersRequest { quality_event: long, ..Default::default() })
            .await
            .unwrap_err(),
    ];
    for (error, field) in errors.iter().zip(["status", "page_size", "quality_event"]) {
        assert_eq!((error.code(), fields(error)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
}
