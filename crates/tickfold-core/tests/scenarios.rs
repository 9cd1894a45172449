//! Short stories of three and more bodies, each told in every order: the facts, what is shown, and
//! the set of new facts are the same in all of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{Folded, NOON, change, messages, permutations, status, values};
use tickfold_core::records::Topic;

const US: &str = "wamid.OURS";
const THEM: &str = "wamid.THEIRS";

/// Folds the bodies in every order, twice each, and checks that all orders agree: in the facts, in
/// the last row of every key but for where it came from, and in the new facts told, each once.
/// Returns the rows by topic and key, and the new facts as `entity key to`.
fn tell(bodies: &[Vec<u8>]) -> (BTreeMap<String, Value>, Vec<String>) {
    let mut all = Vec::new();
    for order in permutations(&(0..bodies.len()).collect::<Vec<_>>()) {
        let mut folded = Folded::default();
        for &body in &order {
            folded.webhook(&bodies[body]);
        }
        let first = folded.outputs.len();
        for &body in order.iter().rev() {
            let again = folded.webhook(&bodies[body]);
            assert!(again.is_empty(), "{order:?}: a body that comes again says {again:?}");
        }
        assert_eq!(folded.outputs.len(), first);
        let mut told: Vec<_> = folded
            .values(Topic::Transition)
            .iter()
            .map(|t| {
                let cause = t["cause_wamid"].as_str().map(|by| format!(" by {by}"));
                let alias = t["reason"].as_str().filter(|_| t["to"] == "alias");
                let alias = alias.map(|other| format!(" {other}"));
                let fact = format!("{} {} {}", t["entity"], t["key"], t["to"]).replace('"', "");
                fact + &cause.or(alias).unwrap_or_default()
            })
            .collect();
        told.sort();
        let unique = told.windows(2).all(|pair| pair[0] != pair[1]);
        assert!(unique, "{order:?}: a fact is told twice: {told:#?}");
        all.push((order, folded.facts(), folded.rows(), told));
    }
    let (_, facts, rows, told) = all[0].clone();
    for (order, other_facts, other_rows, other_told) in &all {
        assert_eq!(*other_facts, facts, "facts in order {order:?}");
        assert_eq!(*other_rows, rows, "rows in order {order:?}");
        assert_eq!(*other_told, told, "new facts in order {order:?}");
    }
    (rows, told)
}

fn inbound(wamid: &str, after_s: i64, rest: &str) -> Vec<u8> {
    messages(&format!(
        r#""messages":[{{"id":"{wamid}","from":"447700900123","timestamp":"{}",{rest}}}]"#,
        NOON + after_s
    ))
}

fn text(wamid: &str, after_s: i64) -> Vec<u8> {
    inbound(wamid, after_s, r#""type":"text","text":{"body":"hi"}"#)
}

fn ours(word: &str, after_s: i64, rest: &str) -> Vec<u8> {
    let json = status(US, word, after_s);
    let open = json.strip_suffix('}').unwrap();
    messages(&format!(r#""statuses":[{open}{rest}}}]"#))
}

fn row<'a>(rows: &'a BTreeMap<String, Value>, key: &str) -> &'a Value {
    rows.get(key).unwrap_or_else(|| panic!("no row {key} in {:#?}", rows.keys()))
}

#[test]
fn edits_wait_for_their_message() {
    let edit = |wamid: &str, after_s: i64| {
        inbound(
            wamid,
            after_s,
            &format!(
                r#""type":"edit","edit":{{"original_message_id":"{THEM}","message":{{"type":"text","text":{{"body":"hello"}}}}}}"#
            ),
        )
    };
    let (rows, told) = tell(&[text(THEM, 1), edit("wamid.E1", 5), edit("wamid.E2", 9)]);
    let shown = row(&rows, "message.state.v1 wamid.THEIRS");
    assert_eq!(shown["edited_time"], "2026-11-20T00:00:09.000Z");
    assert_eq!(shown["state"], "received");
    // Two edits of one message are two facts of it, told by what caused them.
    assert_eq!(told.iter().filter(|fact| fact.contains(" edited by wamid.E")).count(), 2);
}

#[test]
fn a_revocation_and_a_reaction_wait_for_their_message() {
    let revoke = inbound(
        "wamid.R",
        7,
        &format!(r#""type":"revoke","revoke":{{"original_message_id":"{THEM}"}}"#),
    );
    let react = inbound(
        "wamid.L",
        3,
        &format!(r#""type":"reaction","reaction":{{"message_id":"{THEM}","emoji":"+"}}"#),
    );
    let (rows, told) = tell(&[text(THEM, 1), revoke, react]);
    let shown = row(&rows, "message.state.v1 wamid.THEIRS");
    assert_eq!(shown["revoked"], true);
    assert_eq!(shown["revoked_time"], "2026-11-20T00:00:07.000Z");
    assert_eq!(shown["reaction_count"], 1);
    assert!(told.contains(&format!("message {THEM} revoked by wamid.R")));
}

#[test]
fn the_latest_reaction_of_a_user_counts() {
    let react = |wamid: &str, after_s: i64, emoji: &str| {
        let rest = format!(r#""type":"reaction","reaction":{{"message_id":"{US}"{emoji}}}"#);
        inbound(wamid, after_s, &rest)
    };
    let bodies = [
        ours("delivered", 1, ""),
        react("wamid.L1", 2, r#","emoji":"+""#),
        react("wamid.L2", 3, r#","emoji":"""#),
    ];
    let (rows, _) = tell(&bodies);
    assert_eq!(row(&rows, &format!("message.state.v1 {US}"))["reaction_count"], 0);
    let (rows, _) = tell(&[&bodies[..], &[react("wamid.L3", 9, r#","emoji":"-""#)]].concat());
    assert_eq!(row(&rows, &format!("message.state.v1 {US}"))["reaction_count"], 1);
}

#[test]
fn a_failure_does_not_hide_a_delivery_and_pricing_comes_when_it_comes() {
    let pricing = r#","pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}"#;
    let (rows, told) = tell(&[
        ours("failed", 1, ""),
        ours("delivered", 2, ""),
        ours("delivered", 2, pricing),
        ours("read", 3, ""),
    ]);
    let shown = row(&rows, &format!("message.state.v1 {US}"));
    assert_eq!((&shown["state"], &shown["error_code"]), (&json!("read"), &json!(131_026)));
    assert_eq!(shown["pricing_category"], "utility");
    assert_eq!(told.len(), 3);
}

#[test]
fn every_participant_of_a_group_has_a_ladder() {
    let of = |participant: &str, word: &str, after_s: i64| {
        let rest = format!(
            r#","recipient_type":"group","recipient_id":"G"{}"#,
            if participant.is_empty() {
                String::new()
            } else {
                format!(r#","recipient_participant_id":"{participant}""#)
            }
        );
        ours(word, after_s, &rest)
    };
    let (rows, told) = tell(&[
        of("", "sent", 1),
        of("1", "delivered", 2),
        of("2", "delivered", 3),
        of("2", "read", 4),
    ]);
    assert_eq!(row(&rows, &format!("message.state.v1 {US}"))["state"], "read");
    assert_eq!(row(&rows, &format!("message.state.v1 {US}/1"))["state"], "delivered");
    assert_eq!(row(&rows, "conversation.state.v1 318840000000202/G")["outbound_count"], 1);
    assert_eq!(told.len(), 4);
}

#[test]
fn first_contact_is_told_once_per_number_and_party() {
    let (rows, told) =
        tell(&[text("wamid.1", 30), text("wamid.2", 10), text("wamid.3", 20), ours("sent", 5, "")]);
    let shown = row(&rows, "conversation.state.v1 318840000000202/447700900123");
    assert_eq!(shown["first_inbound_time"], "2026-11-20T00:00:10.000Z");
    assert_eq!(shown["window_expire_time"], "2026-11-21T00:00:30.000Z");
    assert_eq!((&shown["inbound_count"], &shown["outbound_count"]), (&json!(3), &json!(1)));
    assert_eq!(shown["window_state"], "open");
    assert_eq!(told.iter().filter(|fact| fact.ends_with("first_contact")).count(), 1);
    assert_eq!(told.iter().filter(|fact| fact.ends_with("window_opened")).count(), 1);
}

fn call(value: &str) -> Vec<u8> {
    change("calls", value)
}

#[test]
fn a_call_opens_the_window_and_ends_as_it_ended() {
    let event = |event: &str, after_s: i64, rest: &str| {
        call(&format!(
            r#""calls":[{{"id":"wacid.1","from":"447700900123","to":"15550100001","event":"{event}","direction":"USER_INITIATED","timestamp":"{}"{rest}}}]"#,
            NOON + after_s
        ))
    };
    let status = call(&format!(
        r#""statuses":[{{"id":"wacid.1","type":"call","status":"ACCEPTED","timestamp":"{}","recipient_id":"447700900123"}}]"#,
        NOON + 3
    ));
    let (rows, told) = tell(&[
        event("connect", 1, ""),
        status,
        event("terminate", 20, r#","status":["Completed"],"duration":17"#),
        event("call_recording_available", 40, ""),
    ]);
    let shown = row(&rows, "conversation.state.v1 318840000000202/447700900123");
    assert_eq!(shown["window_expire_time"], "2026-11-21T00:00:01.000Z");
    let of_call: Vec<_> = told.iter().filter(|fact| fact.starts_with("call ")).collect();
    assert_eq!(of_call.len(), 4, "{told:?}");
}

#[test]
fn a_payment_is_not_its_message() {
    let pay = |word: &str, after_s: i64| {
        ours(
            word,
            after_s,
            r#","type":"payment","payment":{"reference_id":"o","amount":{"value":5,"offset":100},"currency":"INR","transaction":{"id":"t"}}"#,
        )
    };
    let (rows, told) = tell(&[pay("pending", 1), pay("failed", 2), pay("captured", 3)]);
    assert!(rows.keys().all(|key| !key.starts_with("message.state")), "{rows:?}");
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|fact| fact.starts_with(&format!("payment {US}/o/t "))));
    let mut folded = Folded::default();
    let failed = ours(
        "failed",
        2,
        r#","type":"payment","errors":[{"code":2015}],"payment":{"reference_id":"o","transaction":{"id":"t"}}"#,
    );
    let facts = [failed, pay("captured", 3), pay("pending", 1)].map(|body| {
        let outputs = folded.webhook(&body);
        let [event] = &values(&outputs, Topic::Event)[..] else { panic!("one event") };
        let [fact] = &values(&outputs, Topic::Transition)[..] else { panic!("one transition") };
        assert_eq!(event["error_code"], fact["error_code"]);
        json!([fact["from"], fact["to"], fact["state"], fact["late"], fact["error_code"]])
    });
    assert_eq!(
        facts,
        [
            json!([null, "failed", "failed", false, 2015]),
            json!(["failed", "captured", "captured", false, null]),
            json!(["captured", "pending", "captured", true, null]),
        ]
    );
}

#[test]
fn the_latest_preference_counts_and_a_failure_teaches_one() {
    let prefer = |value: &str, after_s: i64| {
        change(
            "user_preferences",
            &format!(
                r#""user_preferences":[{{"wa_id":"447700900123","category":"marketing_messages","value":"{value}","timestamp":{}}}]"#,
                NOON + after_s
            ),
        )
    };
    let key = "user.state.v1 215589900000101/447700900123/preference/marketing_messages";
    let (rows, told) = tell(&[prefer("stop", 5), prefer("resume", 9), prefer("signup", 7)]);
    assert_eq!(row(&rows, key)["preference"], "resume");
    assert_eq!(told.len(), 3);
    let (rows, _) = tell(&[prefer("resume", 5), prefer("stop", 5), prefer("signup", 1)]);
    assert_eq!(row(&rows, key)["preference"], "stop", "of equal times stop counts");

    let failed = status(US, "failed", 9).replace("131026", "131050");
    let failed = messages(&format!(r#""statuses":[{failed}]"#));
    let mut folded = Folded::default();
    for body in [prefer("resume", 5), failed] {
        folded.webhook(&body);
    }
    assert_eq!(folded.rows()[key]["preference"], "stop");
}

#[test]
fn a_stop_in_a_group_is_that_of_who_is_in_it() {
    let failed = status(US, "failed", 9).replace("131026", "131050").replace(
        r#""recipient_id""#,
        r#""recipient_type":"group","recipient_participant_id":"447700900777","recipient_id""#,
    );
    let mut folded = Folded::default();
    folded.webhook(&messages(&format!(r#""statuses":[{failed}]"#)));
    let rows = folded.rows();
    let stopped: Vec<_> = rows.keys().filter(|key| key.contains("/preference/")).collect();
    let key = "user.state.v1 215589900000101/447700900777/preference/marketing_messages";
    assert_eq!(stopped, [key]);
}

#[test]
fn identifiers_of_one_user_are_dated_edges() {
    let both = inbound("wamid.B", 1, r#""from_user_id":"GB.1","type":"text""#);
    let update = change(
        "user_id_update",
        &format!(
            r#""user_id_update":[{{"wa_id":"447700900456","user_id":{{"previous":"GB.1","current":"GB.2"}},"timestamp":"{}"}}]"#,
            NOON + 5
        ),
    );
    let new = messages(&format!(
        r#""contacts":[{{"user_id":"GB.2","profile":{{"name":"Imo","username":"@imo"}}}}],"messages":[{{"id":"wamid.N","from_user_id":"GB.2","timestamp":"{}","type":"text"}}]"#,
        NOON + 9
    ));
    let (rows, told) = tell(&[both, update, new]);
    let alias = |key: &str| row(&rows, &format!("user.state.v1 215589900000101/{key}")).clone();
    assert_eq!(alias("447700900123/alias/GB.1/same")["alias_time"], "2026-11-20T00:00:01.000Z");
    assert_eq!(alias("GB.1/alias/GB.2/became")["alias_time"], "2026-11-20T00:00:05.000Z");
    assert_eq!(alias("GB.2/alias/GB.1/was")["relation"], "was");
    assert_eq!(alias("GB.2/alias/447700900456/same")["relation"], "same");
    assert_eq!(alias("GB.2")["username"], "@imo");
    // Rows keep the identifier they came with.
    assert_eq!(row(&rows, "message.state.v1 wamid.N")["party"], "GB.2");
    assert!(told.iter().any(|fact| fact == "user 215589900000101/GB.1 alias GB.2"));
}

#[test]
fn a_card_links_its_user_only_when_it_was_asked_for() {
    let card = |wamid: &str, origin: &str, phone: &str| {
        messages(&format!(
            r#""messages":[{{"id":"{wamid}","from_user_id":"GB.1","timestamp":"{NOON}","type":"contacts","origin":"{origin}","contacts":[{{"phones":[{{"phone":"{phone}"}}]}}]}}]"#
        ))
    };
    let (rows, _) = tell(&[
        card("wamid.1", "other", "+44 7700 900789"),
        card("wamid.2", "contact_request", "+44 7700 900123"),
        text("wamid.3", 1),
    ]);
    let users: Vec<_> = rows.keys().filter(|key| key.starts_with("user.state.v1")).collect();
    let users: Vec<_> = users.iter().filter_map(|key| key.split_once("101/")).collect();
    let users: Vec<_> = users.iter().map(|(_, key)| *key).collect();
    assert_eq!(users, ["447700900123/alias/GB.1/same", "GB.1/alias/447700900123/same"]);
}

#[test]
fn the_past_enriches_and_opens_nothing() {
    let thread = |messages: &str| {
        change(
            "history",
            &format!(
                r#""history":[{{"metadata":{{"phase":0,"chunk_order":1,"progress":9}},"threads":[{{"id":"447700900123","messages":[{messages}]}}]}}]"#
            ),
        )
    };
    let past = NOON - 500_000;
    let placeholder = format!(
        r#"{{"from":"447700900123","id":"{THEM}","timestamp":"{past}","type":"media_placeholder","history_context":{{"status":"READ"}}}}"#
    );
    let sent = format!(
        r#"{{"from":"15550100001","to":"447700900123","id":"{US}","timestamp":"{past}","type":"text","history_context":{{"status":"DELIVERED"}}}}"#
    );
    let media = change(
        "history",
        &format!(
            r#""messages":[{{"from":"447700900123","id":"{THEM}","timestamp":"{past}","type":"image","image":{{"id":"77","mime_type":"image/jpeg"}}}}]"#
        ),
    );
    let mut folded = Folded::default();
    for body in [thread(&format!("{placeholder},{sent}")), media.clone(), ours("read", 1, "")] {
        folded.webhook(&body);
    }
    let events: Vec<_> = folded.values(Topic::Event).iter().map(|e| e["kind"].clone()).collect();
    assert_eq!(events, ["history_chunk", "media_placeholder", "text"]);

    let (rows, told) = tell(&[thread(&sent), ours("read", 1, ""), ours("sent", 0, "")]);
    assert_eq!(row(&rows, &format!("message.state.v1 {US}"))["state"], "read");
    assert_eq!(told.len(), 3);
    let (rows, _) = tell(&[thread(&placeholder), media, ours("read", 1, "")]);
    let shown = row(&rows, &format!("message.state.v1 {THEM}"));
    assert_eq!((&shown["message_type"], &shown["media_id"]), (&json!("image"), &json!("77")));
    let shown = row(&rows, "conversation.state.v1 318840000000202/447700900123");
    assert_eq!((shown.get("window_state"), &shown["inbound_count"]), (None, &json!(1)));
}

#[test]
fn a_group_is_what_its_latest_events_say() {
    let group = |kind: &str, after_s: i64, rest: &str| {
        change(
            "group_participants_update",
            &format!(
                r#""groups":[{{"group_id":"G","type":"{kind}","timestamp":"{}"{rest}}}]"#,
                NOON + after_s
            ),
        )
    };
    let one = r#"_participants":[{"wa_id":"447700900123"}]"#;
    let (_, told) = tell(&[
        group("group_create", 1, r#","request_id":"r","subject":"VIP""#),
        group("group_participants_add", 2, &format!(r#","added{one}"#)),
        group("group_participants_remove", 3, &format!(r#","removed{one}"#)),
        group("group_suspend", 4, ""),
        group("group_suspend_cleared", 5, ""),
    ]);
    assert_eq!(told.len(), 5);
    assert!(told.iter().all(|fact| fact.starts_with("group 318840000000202/G ")));
}

#[test]
fn what_came_by_standby_is_the_same_message() {
    let standby = |value: &str| change("standby", &format!(r#""standby":{{{value}}}"#));
    let sent = status(US, "sent", 1);
    let delivered = status(US, "delivered", 2);
    let (rows, told) = tell(&[
        standby(&format!(r#""statuses":[{sent}]"#)),
        messages(&format!(r#""statuses":[{delivered}]"#)),
        standby(&format!(
            r#""messages":[{{"id":"{THEM}","from":"447700900123","timestamp":"{NOON}","type":"text"}}]"#
        )),
    ]);
    let shown = row(&rows, &format!("message.state.v1 {US}"));
    assert_eq!((&shown["state"], &shown["standby"]), (&json!("delivered"), &json!(true)));
    assert!(told.iter().any(|fact| fact.ends_with("first_contact")), "it opens the window too");
}

#[test]
fn a_free_entry_point_lasts_as_long_as_meta_says() {
    let free = |word: &str, after_s: i64, expires: &str| {
        let rest = format!(
            r#","conversation":{{"id":"c","origin":{{"type":"referral_conversion"}}{expires}}},"pricing":{{"type":"free_entry_point","category":"referral_conversion"}}"#
        );
        ours(word, after_s, &rest)
    };
    let expires = format!(r#","expiration_timestamp":"{}""#, NOON + 72 * 3_600);
    let bodies = [
        inbound(
            THEM,
            0,
            r#""type":"text","referral":{"source_type":"ad","source_id":"7","ctwa_clid":"c"}"#,
        ),
        free("sent", 1, &expires),
        free("delivered", 2, ""),
    ];
    let (rows, told) = tell(&bodies);
    let shown = row(&rows, "conversation.state.v1 318840000000202/447700900123");
    assert_eq!(shown["free_entry_state"], "open");
    assert_eq!(shown["free_entry_expire_time"], "2026-11-23T00:00:00.000Z");
    assert_eq!(shown["referral_source_id"], "7");
    assert!(told.iter().any(|fact| fact.ends_with("free_entry_opened")));

    let mut folded = Folded::default();
    bodies.iter().for_each(|body| drop(folded.webhook(body)));
    let ends = |folded: &mut Folded, hours: i64| {
        let outputs = folded.advance(hours * 3_600_000).tick();
        let ended = values(&outputs, Topic::Transition);
        ended.iter().map(|t| t["to"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ends(&mut folded, 22), [""; 0]);
    assert_eq!(ends(&mut folded, 1), ["window_closing"]);
    assert_eq!(ends(&mut folded, 1), ["window_closed"]);
    assert_eq!(ends(&mut folded, 48), ["free_entry_ended"]);
    let key = "conversation.state.v1 318840000000202/447700900123";
    assert_eq!(folded.rows()[key]["free_entry_state"], "closed");
}

#[test]
fn a_price_of_a_free_entry_point_is_evidence_of_one() {
    let expires = NOON + 72 * 3_600;
    let free = |word: &str, after_s: i64, conversation: &str| {
        let rest = format!(
            r#"{conversation},"pricing":{{"type":"free_entry_point","category":"marketing"}}"#
        );
        ours(word, after_s, &rest)
    };
    let conversation = format!(r#","conversation":{{"id":"c","expiration_timestamp":{expires}}}"#);
    let (rows, told) =
        tell(&[free("delivered", 2, ""), free("sent", 1, &conversation), text(THEM, 0)]);
    let shown = row(&rows, "conversation.state.v1 318840000000202/447700900123");
    assert_eq!(shown["free_entry_expire_time"], "2026-11-23T00:00:00.000Z");
    assert!(told.iter().any(|fact| fact.ends_with("free_entry_opened")));
}

#[test]
fn any_webhook_with_both_identifiers_links_them() {
    let group = change(
        "group_participants_update",
        &format!(
            r#""groups":[{{"group_id":"G","type":"group_participants_add","timestamp":"{NOON}","request_id":"r","added_participants":[{{"wa_id":"447700900123","user_id":"GB.1"}}]}},
            {{"group_id":"G","type":"group_join_request_created","timestamp":"{NOON}","join_request_id":"j","wa_id":"12025550143","user_id":"US.1"}}]"#
        ),
    );
    let payment = ours(
        "pending",
        1,
        r#","recipient_user_id":"GB.2","type":"payment","payment":{"reference_id":"o"}"#,
    );
    let moved = inbound(
        THEM,
        2,
        r#""from_user_id":"GB.1","type":"system","system":{"type":"user_changed_number","wa_id":"447700900456","user_id":"GB.3"}"#,
    );
    let (rows, _) = tell(&[group, payment, moved]);
    let users: Vec<_> = rows.keys().filter(|key| key.starts_with("user.state.v1")).collect();
    let of: Vec<_> = users.iter().filter_map(|key| key.split_once("101/")).map(|at| at.1).collect();
    for alias in [
        "447700900123/alias/GB.1/same",
        "12025550143/alias/US.1/same",
        "447700900123/alias/GB.2/same",
        "447700900123/alias/447700900456/became",
        "GB.1/alias/GB.3/became",
        "447700900456/alias/GB.3/same",
    ] {
        assert!(of.contains(&alias), "no {alias} in {of:#?}");
    }
}

#[test]
fn a_recipient_that_stands_inside_the_message_is_one() {
    let status = format!(
        r#""statuses":[{{"id":"{US}","status":"deleted","timestamp":"{NOON}","message":{{"recipient_id":"447700900123"}}}}]"#
    );
    let (rows, _) = tell(&[messages(&status), text(THEM, 1), ours("sent", 0, "")]);
    assert_eq!(row(&rows, &format!("message.state.v1 {US}"))["party"], "447700900123");
    let mut folded = Folded::default();
    folded.webhook(&messages(&status));
    assert_eq!(folded.rows()[&format!("message.state.v1 {US}")]["party"], "447700900123");
}

#[test]
fn identifiers_of_one_message_are_bounded_in_every_order() {
    let of = |n: u32| {
        let to = format!(r#""recipient_id":"{}""#, 447_700_900_500_u64 + u64::from(n));
        let body = String::from_utf8(ours("sent", 1, "")).unwrap();
        body.replace(r#""recipient_id":"447700900123""#, &to).into_bytes()
    };
    let facts = |bodies: &mut dyn Iterator<Item = u32>| {
        let mut folded = Folded::default();
        bodies.for_each(|n| drop(folded.webhook(&of(n))));
        let wamid = tickfold_core::ids::Wamid::from(US);
        let message = folded.overlay.messages.get(&wamid).unwrap().clone().unwrap();
        assert_eq!(message.facts.parties.len(), 32);
        let counts: Vec<_> = folded
            .rows()
            .iter()
            .filter(|(key, _)| key.starts_with("conversation"))
            .map(|(key, row)| (key.clone(), row["outbound_count"].clone()))
            .filter(|(_, count)| *count != 0)
            .collect();
        (message.facts, counts)
    };
    let (rising, falling) = (facts(&mut (0..100)), facts(&mut (0..100).rev()));
    assert_eq!(rising, falling);
    assert_eq!(rising.1, [("conversation.state.v1 318840000000202/447700900500".into(), json!(1))]);
}

#[test]
fn a_trace_id_is_kept_wherever_it_stands() {
    let error = r#"{"code":131000,"title":"t","fbtrace_id":"Az8"}"#;
    let traced = r#","errors":[{"code":131000,"error_data":{"details":"d","fbtrace_id":"Az8"}}]"#;
    let bodies = [
        ("an error of a value", messages(&format!(r#""errors":[{error}]"#))),
        ("a payment", ours("failed", 1, &format!(r#","type":"payment"{traced}"#))),
        (
            "a call",
            change(
                "calls",
                &format!(
                    r#""calls":[{{"id":"wacid.1","event":"terminate","timestamp":"{NOON}"{traced}}}]"#
                ),
            ),
        ),
        (
            "a group",
            change(
                "group_lifecycle_update",
                &format!(r#""groups":[{{"type":"group_create","timestamp":"{NOON}"{traced}}}]"#),
            ),
        ),
        ("the history", change("history", &format!(r#""history":[{{"errors":[{error}]}}]"#))),
        ("a message", inbound(THEM, 1, &format!(r#""type":"unsupported"{traced}"#))),
        ("a field that is new", change("novel_updates", r#""fbtrace_id":"Az8""#)),
    ];
    for (what, body) in bodies {
        let mut folded = Folded::default();
        folded.webhook(&body);
        assert_eq!(folded.values(Topic::Event)[0]["fbtrace_id"], "Az8", "{what}");
    }
}

#[test]
fn a_new_member_beside_items_is_told_once_and_costs_no_item() {
    let sent = status(US, "sent", 1);
    let body =
        messages(&format!(r#""statuses":[{sent}],"stickers_update":[{{"id":1}}],"none":[]"#));
    let mut folded = Folded::default();
    folded.webhook(&body);
    folded.webhook(&body);
    assert!(folded.rows().contains_key(&format!("message.state.v1 {US}")));
    let alerts = folded.values(Topic::Alert);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(
        (&alerts[0]["kind"], &alerts[0]["subject"]),
        (&json!("unknown_word"), &json!("member/messages.stickers_update"))
    );
}

#[test]
fn what_the_app_sent_is_ours_and_moves_no_window() {
    let echo = |wamid: &str, after_s: i64, rest: &str| {
        change(
            "smb_message_echoes",
            &format!(
                r#""message_echoes":[{{"from":"15550100001","to":"447700900123","id":"{wamid}","timestamp":"{}",{rest}}}]"#,
                NOON + after_s
            ),
        )
    };
    let target = format!(r#""original_message_id":"{US}""#);
    let (rows, told) = tell(&[
        echo(US, 1, r#""type":"text","text":{"body":"open until 6"}"#),
        echo("wamid.E", 2, &format!(r#""type":"edit","edit":{{{target}}}"#)),
        echo("wamid.R", 3, &format!(r#""type":"revoke","revoke":{{{target}}}"#)),
    ]);
    let shown = row(&rows, &format!("message.state.v1 {US}"));
    assert_eq!((&shown["direction"], &shown["state"]), (&json!("outbound"), &json!("echo")));
    assert_eq!((&shown["revoked"], &shown["message_type"]), (&json!(true), &json!("text")));
    let shown = row(&rows, "conversation.state.v1 318840000000202/447700900123");
    assert_eq!((&shown["outbound_count"], shown.get("window_state")), (&json!(3), None));
    assert_eq!(told.len(), 5);
}

#[test]
fn labels_and_trace_ids_stay_with_the_message() {
    let (rows, _) = tell(&[
        ours(
            "sent",
            1,
            r#","biz_opaque_callback_data":"{\"campaign\":\"autumn\",\"intent\":\"i\"}""#,
        ),
        ours("delivered", 2, ""),
        ours("failed", 3, r#","errors":[{"code":131000,"fbtrace_id":"Az8"}]"#),
    ]);
    let shown = row(&rows, &format!("message.state.v1 {US}"));
    assert_eq!((&shown["label_campaign"], &shown["label_intent"]), (&json!("autumn"), &json!("i")));
    assert_eq!(shown["fbtrace_id"], "Az8");
}

#[test]
fn a_window_that_was_renewed_closes_at_its_new_end() {
    let mut folded = Folded::default();
    folded.webhook(&text("wamid.1", 0));
    folded.advance(20 * 3_600_000);
    folded.webhook(&text("wamid.2", 20 * 3_600));
    let told = |folded: &mut Folded, minutes: i64| -> Vec<String> {
        let outputs = folded.advance(minutes * 60_000).tick();
        let told = values(&outputs, Topic::Transition);
        told.iter().map(|one| one["to"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(told(&mut folded, 10 * 60), [""; 0], "the first end has passed");
    assert_eq!(told(&mut folded, 12 * 60 + 58), [""; 0]);
    assert_eq!(told(&mut folded, 2), ["window_closing"], "an hour before the end");
    // Renewed by five minutes, which is told late: it ends as much later and says so.
    folded.webhook(&text("wamid.3", 20 * 3_600 + 300));
    assert_eq!(told(&mut folded, 60), ["window_closing"]);
    assert_eq!(told(&mut folded, 4), ["window_closed"]);
    let closing = folded.values(Topic::Transition);
    let closing: Vec<_> = closing.iter().filter(|one| one["to"] == "window_closing").collect();
    assert_eq!((&closing[0]["from"], &closing[0]["state"]), (&json!("open"), &json!("open")));
    assert_eq!(closing[0]["event_time"], "2026-11-21T19:00:00.000Z");
    assert_eq!(closing[1]["event_time"], "2026-11-21T19:05:00.000Z");
    let before = folded.values(Topic::Transition).len();
    folded.webhook(&text("wamid.late", 3_600));
    let told: Vec<_> =
        folded.values(Topic::Transition).iter().map(|t| t["to"].clone()).skip(before).collect();
    assert_eq!(told, ["received"], "a message of the day before opens nothing: {told:?}");
}
