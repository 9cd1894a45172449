//! The order laws: facts and shown state do not depend on order or repetition; each fact enters
//! history once; the shown state never falls.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Folded, NOON, change, messages, permutations, status, status_body};
use tickfold_core::ids::Wamid;
use tickfold_core::records::Topic;
use tickfold_core::state::{ListedBy, Message, Status};
use tickfold_core::time::{HOUR_MS, Timestamp};

const WAMID: &str = "wamid.LAW";

/// Random histories of a law. Those that judge a mutant are fewer, since each mutant runs them.
const fn cases(count: u32) -> u32 {
    if cfg!(feature = "mutants") { count / 8 } else { count }
}

fn message(folded: &Folded) -> Message {
    folded.overlay.messages.get(&Wamid::from(WAMID)).unwrap().clone().unwrap()
}

#[test]
fn four_statuses_in_24_orders_each_repeated_give_the_same_facts_and_96_transitions() {
    let statuses = [("sent", 1), ("delivered", 2), ("read", 3), ("failed", 4)];
    let mut transitions = 0;
    let mut facts = Vec::new();
    for order in permutations(&statuses) {
        let mut folded = Folded::default();
        let mut rank = 0;
        for (word, after_s) in order.iter().flat_map(|one| [one, one]) {
            folded.webhook(&status_body(WAMID, word, *after_s));
            let shown = message(&folded).facts.state().map_or(0, Status::rank);
            assert!(shown >= rank, "shown state fell in {order:?}");
            rank = shown;
        }
        let mut seen: Vec<_> = folded
            .values(Topic::Transition)
            .iter()
            .map(|transition| transition["to"].as_str().unwrap().to_owned())
            .collect();
        transitions += seen.len();
        assert_eq!(message(&folded).history.len(), 4, "{order:?}");
        seen.sort();
        assert_eq!(seen, ["delivered", "failed", "read", "sent"], "{order:?}");
        assert_eq!(message(&folded).facts.state(), Some(&Status::Read));
        facts.push(message(&folded).facts);
    }
    assert_eq!(transitions, 96);
    assert!(facts.iter().all(|one| *one == facts[0]));
}

const WAMIDS: [&str; 3] = ["wamid.A", "wamid.B", "wamid.C"];
const PARTIES: [&str; 4] = ["447700900123", "GB.48", "US.7", ""];

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(words)
}

/// A status among few messages, so that histories collide.
fn status_item() -> impl Strategy<Value = Vec<u8>> {
    let words = one_of(&["sent", "delivered", "read", "played", "failed", "FAILED", "mystery"]);
    let rest = one_of(&[
        "",
        r#","recipient_user_id":"US.7""#,
        r#","recipient_type":"group","recipient_participant_id":"49""#,
        r#","biz_opaque_callback_data":"campaign=a""#,
        r#","biz_opaque_callback_data":"campaign=b","template_id":"7""#,
        r#","pricing":{"type":"regular","category":"utility"}"#,
        r#","pricing":{"type":"regular","category":"marketing"},"fbtrace_id":"t""#,
        r#","conversation":{"id":"c","expiration_timestamp":"1795200000","origin":{"type":"referral_conversion"}}"#,
        r#","conversation":{"id":"d","expiration_timestamp":1795300000,"origin":{"type":"referral_conversion"}}"#,
    ]);
    let code = prop::option::of(prop::sample::select(vec![131_000_i64, 131_047, 131_050]));
    (words, one_of(&WAMIDS), 0..6_i64, one_of(&PARTIES), code, rest, any::<bool>()).prop_map(
        |(word, wamid, after_s, party, code, rest, standby)| {
            let mut json = status(wamid, word, after_s).replace("447700900123", party);
            if let Some(code) = code {
                json = json.replace("131026", &code.to_string());
            }
            let json = format!("{}{rest}}}", json.strip_suffix('}').unwrap());
            match standby {
                true => change("standby", &format!(r#""standby":{{"statuses":[{json}]}}"#)),
                false => messages(&format!(r#""statuses":[{json}]"#)),
            }
        },
    )
}

/// A message of a customer, of the app or of the past, some of which act on another.
fn message_item() -> impl Strategy<Value = Vec<u8>> {
    let rest = one_of(&[
        r#""type":"text","text":{"body":"hi"}"#,
        r#""type":"image","image":{"id":"1","mime_type":"image/png"}"#,
        r#""type":"image","image":{"id":"2"},"context":{"forwarded":true}"#,
        r#""type":"media_placeholder","history_context":{"status":"READ"}"#,
        r#""type":"edit","edit":{"original_message_id":"wamid.A"}"#,
        r#""type":"revoke","revoke":{"original_message_id":"wamid.B"}"#,
        r#""type":"reaction","reaction":{"message_id":"wamid.A","emoji":"+"}"#,
        r#""type":"reaction","reaction":{"message_id":"wamid.A"}"#,
        r#""type":"text","group_id":"G""#,
        r#""type":"text","referral":{"source_id":"1"}"#,
        r#""type":"interactive","interactive":{"type":"call_permission_reply","call_permission_reply":{"response":"accept"}}"#,
        r#""type":"interactive","interactive":{"type":"call_permission_reply","call_permission_reply":{"response":"reject"}}"#,
        r#""type":"system","system":{"type":"user_changed_number","wa_id":"49"}"#,
        r#""type":"contacts","origin":"contact_request","contacts":[{"phones":[{"wa_id":"49"}]}]"#,
        r#""type":"unsupported","errors":[{"code":131051}]"#,
    ]);
    let wamid = one_of(&["wamid.A", "wamid.B", "wamid.D", "wamid.E", "wamid.F"]);
    let place = one_of(&["messages", "message_echoes", "history", "standby"]);
    (wamid, 0..6_i64, one_of(&PARTIES), rest, place, any::<bool>()).prop_map(
        |(wamid, after_s, party, rest, place, both)| {
            let time = NOON + after_s;
            let side = if place == "message_echoes" { "to" } else { "from" };
            let user = if both { format!(r#","{side}_user_id":"GB.48""#) } else { String::new() };
            let json = format!(
                r#"{{"id":"{wamid}","{side}":"{party}"{user},"timestamp":"{time}",{rest}}}"#
            );
            let contacts = format!(
                r#""contacts":[{{"wa_id":"{party}","user_id":"GB.48","profile":{{"name":"n{after_s}"}}}}]"#
            );
            match place {
                "messages" => messages(&format!(r#"{contacts},"messages":[{json}]"#)),
                "standby" => change(place, &format!(r#""standby":{{"messages":[{json}]}}"#)),
                "history" => change(
                    place,
                    &format!(r#""history":[{{"threads":[{{"id":"49","messages":[{json}]}}]}}]"#),
                ),
                _ => change(place, &format!(r#""message_echoes":[{json}]"#)),
            }
        },
    )
}

/// Something of a call, a payment, a group or a user.
fn other_item() -> impl Strategy<Value = Vec<u8>> {
    let kind = one_of(&["call", "call_status", "payment", "group", "preference", "user_id"]);
    let word = prop::sample::select(vec![0_usize, 1, 2, 3]);
    (kind, word, 0..6_i64, one_of(&PARTIES)).prop_map(|(kind, word, after_s, party)| {
        let time = NOON + after_s;
        let pick = |words: [&'static str; 4]| words[word];
        match kind {
            "call" => change("calls", &format!(
                r#""calls":[{{"id":"wacid.1","from":"{party}","event":"{}","timestamp":"{time}","direction":"USER_INITIATED","status":"Completed"}}]"#,
                pick(["connect", "terminate", "call_held", "call_created"])
            )),
            "call_status" => change("calls", &format!(
                r#""statuses":[{{"id":"wacid.1","type":"call","status":"{}","timestamp":"{time}","recipient_id":"{party}","errors":[{{"code":{word}}}]}}]"#,
                pick(["RINGING", "ACCEPTED", "REJECTED", "NEW"])
            )),
            "payment" => messages(&format!(
                r#""statuses":[{{"id":"wamid.A","type":"payment","status":"{}","timestamp":"{time}","recipient_id":"{party}","payment":{{"amount":{{"value":{after_s}}},"refunds":[{{"id":"r","updated_timestamp":{time},"status":"s"}}]}}}}]"#,
                pick(["pending", "captured", "failed", "new"])
            )),
            "group" => change("group_settings_update", &format!(
                r#""groups":[{{"group_id":"G","type":"{}","timestamp":"{time}","subject":"s{word}","join_request_id":"j","wa_id":"{party}","added_participants":[{{"wa_id":"{party}"}}]}}]"#,
                pick(["group_create", "group_suspend", "group_suspend_cleared", "group_join_request_revoked"])
            )),
            "preference" => change("user_preferences", &format!(
                r#""user_preferences":[{{"wa_id":"{party}","user_id":"GB.48","value":"{}","timestamp":{time}}}]"#,
                pick(["stop", "resume", "signup", "STOP"])
            )),
            _ => change("user_id_update", &format!(
                r#""user_id_update":[{{"wa_id":"{party}","user_id":{{"previous":"GB.48","current":"{}"}},"timestamp":"{time}"}}]"#,
                pick(["GB.48", "US.7", "GB.1", ""])
            )),
        }
    })
}

/// Something of a template, an account or a number: equal times, missing ones, both forms of a
/// category change, restrictions lifted before they are set, numbers by id and by display.
fn management_item() -> impl Strategy<Value = Vec<u8>> {
    let template = [
        ("message_template_status_update", r#""event":"APPROVED""#),
        (
            "message_template_status_update",
            r#""event":"PAUSED","other_info":{"title":"FIRST_PAUSE"}"#,
        ),
        ("message_template_status_update", r#""event":"DISABLED","reason":"x""#),
        ("message_template_status_update", r#""event":"DISABLED","reason":"y""#),
        ("message_template_status_update", r#""event":"REINSTATED""#),
        ("message_template_status_update", r#""new_quality_score":"RED""#),
        (
            "message_template_quality_update",
            r#""new_quality_score":"GREEN","previous_quality_score":"RED""#,
        ),
        (
            "template_category_update",
            r#""new_category":"UTILITY","correct_category":"MARKETING","category_update_timestamp":1795219200"#,
        ),
        ("template_category_update", r#""new_category":"MARKETING","previous_category":"UTILITY""#),
        (
            "template_correct_category_detection",
            r#""category":"UTILITY","correct_category":"MARKETING""#,
        ),
        ("message_template_components_update", r#""message_template_element":"a""#),
        ("message_template_components_update", r#""message_template_element":"b""#),
    ];
    let other = [
        (
            "account_update",
            r#""event":"ACCOUNT_RESTRICTION","restriction_info":[{"restriction_type":"RESTRICTED_BIZ_INITIATED_MESSAGING","expiration":1795140000}]"#,
        ),
        (
            "account_update",
            r#""event":"ACCOUNT_RESTRICTION","restriction_info":[{"restriction_type":"RESTRICTED_BIZ_INITIATED_MESSAGING"},{"restriction_type":"RESTRICTED_UTILITY_TEMPLATES","expiration":"1795150000"}]"#,
        ),
        (
            "account_update",
            r#""event":"ACCOUNT_RESTRICTION","violation_info":{"violation_type":"SPAM_UNBAN"}"#,
        ),
        (
            "account_update",
            r#""event":"ACCOUNT_RESTRICTION","violation_info":{"violation_type":"UTILITY_TEMPLATES_UNBAN"}"#,
        ),
        (
            "account_update",
            r#""event":"ACCOUNT_RESTRICTION","phone_number":"15550100001","restriction_info":[{"restriction_type":"RESTRICTED_BIZ_INITIATED_MESSAGING","expiration":1795140000}]"#,
        ),
        (
            "account_update",
            r#""event":"ACCOUNT_RESTRICTION","phone_number":"+1 555-010-0001","violation_info":{"violation_type":"BIZ_INITIATED_MESSAGING_UNBAN"}"#,
        ),
        (
            "account_update",
            r#""event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":"SCHEDULE_FOR_DISABLE","waba_ban_date":"November 20, 2026"}"#,
        ),
        (
            "account_update",
            r#""event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":["REINSTATE"]}"#,
        ),
        (
            "account_update",
            r#""event":"PARTNER_REMOVED","waba_info":{"waba_id":"215589900000101"}"#,
        ),
        ("account_update", r#""event":"PARTNER_ADDED","waba_info":{"waba_id":"215589900000101"}"#),
        (
            "account_update",
            r#""event":"VOLUME_BASED_PRICING_TIER_UPDATE","volume_tier_info":{"tier_update_time":1795132800,"tier":"1:2","effective_month":"2026-11"}"#,
        ),
        (
            "account_update",
            r#""event":"VOLUME_BASED_PRICING_TIER_UPDATE","volume_tier_info":{"tier_update_time":1795132200,"tier":"1:2","effective_month":"2026-11"}"#,
        ),
        (
            "account_update",
            r#""event":"AUTH_INTL_PRICE_ELIGIBILITY_UPDATE","auth_international_rate_eligibility":{"start_time":1797724800,"exception_countries":[{"country_code":"ID","start_time":1}]}"#,
        ),
        ("account_update", r#""event":"BUSINESS_PRIMARY_LOCATION_COUNTRY_UPDATE","country":"AE""#),
        ("account_review_update", r#""decision":"APPROVED""#),
        ("account_review_update", r#""decision":"REJECTED""#),
        ("business_capability_update", r#""max_daily_conversations_per_business":"TIER_2K""#),
        ("business_capability_update", r#""max_daily_conversation_per_phone":250"#),
        (
            "phone_number_quality_update",
            r#""display_phone_number":"15550100001","event":"FLAGGED","current_limit":"TIER_1K""#,
        ),
        (
            "phone_number_quality_update",
            r#""display_phone_number":"+1 555-010-0001","event":"UNFLAGGED""#,
        ),
        (
            "phone_number_quality_update",
            r#""display_phone_number":"+1 555-010-0001","event":"DOWNGRADE","old_limit":"TIER_1K","current_limit":"TIER_250""#,
        ),
        (
            "phone_number_name_update",
            r#""display_phone_number":"15550100001","decision":"REJECTED""#,
        ),
        (
            "phone_number_name_update",
            r#""display_phone_number":"15550100002","decision":"APPROVED""#,
        ),
        ("security", r#""display_phone_number":"15550100001","event":"PIN_CHANGED""#),
        (
            "business_username_update",
            r#""display_phone_number":"15550100001","status":"approved","username":"u""#,
        ),
        ("business_username_updates", r#""display_phone_number":"15550100001","status":"deleted""#),
        ("flows", r#""flow_id":"1","event":"FLOW_STATUS_CHANGE","new_status":"BLOCKED""#),
    ];
    let template = template.map(|(field, value)| (field, format!(r#""message_template_id":9,"message_template_name":"otp","message_template_language":"en-US",{value}"#)));
    let other = other.map(|(field, value)| (field, value.to_owned()));
    let all: Vec<_> = template.into_iter().chain(other).collect();
    let entry = one_of(&["215589900000101", "215589900000102"]);
    let time = one_of(&["1795132800", "1795132801", "1795132802", "\"1795132801\"", "0", "null"]);
    (prop::sample::select(all), entry, time).prop_map(|((field, value), entry, time)| {
        format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{entry}","time":{time},"changes":[{{"field":"{field}","value":{{{value}}}}}]}}]}}"#
        )
        .into_bytes()
    })
}

/// A status that only says which number of which account there is: another number displayed the
/// same, or the same number in another account. A message belongs to one account.
fn number_item() -> impl Strategy<Value = Vec<u8>> {
    let number = one_of(&["318840000000202", "318840000000203"]);
    let display = one_of(&["15550100001", "+1 555-010-0001", "15550100002", ""]);
    let entry = one_of(&["215589900000101", "215589900000102"]);
    (number, display, entry, 0..3_i64).prop_map(|(number, display, entry, after_s)| {
        let wamid = if entry.ends_with('1') { "wamid.A" } else { "wamid.Z" };
        let body = String::from_utf8(status_body(wamid, "sent", after_s)).unwrap();
        body.replace("318840000000202", number)
            .replace("15550100001", display)
            .replace("215589900000101", entry)
            .into_bytes()
    })
}

fn item() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => status_item(),
        4 => message_item(),
        3 => other_item(),
        6 => management_item(),
        2 => number_item()
    ]
}

/// Facts of all entities after a history of bodies, as text.
fn facts(bodies: &[Vec<u8>]) -> String {
    let mut folded = Folded::default();
    for body in bodies {
        folded.webhook(body);
    }
    folded.facts()
}

/// What the last record of every charge says of its price, and the totals that are not zero.
fn charged(bodies: &[Vec<u8>]) -> BTreeMap<String, Value> {
    let mut folded = Folded::default();
    bodies.iter().for_each(|body| drop(folded.webhook(body)));
    let mut told = BTreeMap::new();
    for mut charge in folded.values(Topic::Charge) {
        let id = charge["charge_id"].to_string();
        let price = ["category", "pricing_type", "month", "billable", "conflicting", "event_time"];
        charge.as_object_mut().unwrap().retain(|name, _| price.contains(&name.as_str()));
        told.insert(id, charge);
    }
    for (key, row) in folded.rows() {
        if row.get("charge_count").is_some_and(|count| *count != 0) {
            told.insert(key, json!([row["charge_count"], row["billable_count"]]));
        }
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(400), ..ProptestConfig::default() })]

    #[test]
    fn facts_do_not_depend_on_order_or_repetition(
        (history, shuffled) in prop::collection::vec(item(), 1..14).prop_flat_map(|items| {
            let twice: Vec<_> = items.iter().chain(&items).cloned().collect();
            (Just(items), Just(twice).prop_shuffle())
        })
    ) {
        // Repetition in another order may not change anything but the journal.
        prop_assert_eq!(facts(&history), facts(&shuffled));
    }

    /// The shown state is a function of the facts: what the tables show in the end is the same in
    /// every order.
    #[test]
    fn rows_of_management_do_not_depend_on_order(
        (history, shuffled) in prop::collection::vec(
            prop_oneof![3 => management_item(), 1 => number_item()], 1..12
        ).prop_flat_map(|items| (Just(items.clone()), Just(items).prop_shuffle()))
    ) {
        let rows = |bodies: &[Vec<u8>]| {
            let mut folded = Folded::default();
            bodies.iter().for_each(|body| drop(folded.webhook(body)));
            let mut rows = folded.rows();
            rows.retain(|key, _| {
                ["template", "number", "account"].iter().any(|table| key.starts_with(table))
            });
            rows
        };
        prop_assert_eq!(rows(&history), rows(&shuffled));
    }

    /// What is shown changes by itself at most once, which the lists rely on: at every time it is one
    /// of the words that the facts are listed under, and the only one of its kind.
    #[test]
    fn what_is_shown_at_any_time_is_listed(
        history in prop::collection::vec(
            prop_oneof![4 => management_item(), 1 => number_item()], 1..12
        ),
        hours in prop::collection::vec(-2..24 * 40_i64, 8)
    ) {
        let mut folded = Folded::default();
        history.iter().for_each(|body| drop(folded.webhook(body)));
        let overlay = &folded.overlay;
        // Expiries of the items above, and the times beside them.
        let known = [1_795_140_000_000, 1_795_150_000_000, i64::MIN, i64::MAX];
        let times = hours.iter().map(|hour| NOON * 1_000 + hour * HOUR_MS);
        for at in times.chain(known).map(Timestamp::from_millis) {
            for (_, change) in overlay.templates.changes() {
                let facts = &change.after.as_ref().unwrap().facts;
                let shown = facts.status(at).map(|status| (ListedBy::State, status));
                let listed = facts.listed();
                prop_assert!(shown.is_none_or(|shown| listed.contains(&shown)), "{:?}", facts);
                let so = listed.iter().filter(|(by, word)| {
                    *by == ListedBy::State && facts.is_listed(*by, word, at)
                });
                prop_assert_eq!(so.count(), usize::from(shown.is_some()));
            }
            for (_, change) in overlay.accounts.changes() {
                let facts = &change.after.as_ref().unwrap().facts;
                let listed = facts.listed();
                prop_assert!(listed.contains(&(ListedBy::State, facts.state(at).as_str())));
                for (kind, _) in facts.restrictions.in_force(at) {
                    prop_assert!(listed.contains(&(ListedBy::Restriction, kind)));
                }
            }
            for (_, change) in overlay.numbers.changes() {
                let facts = &change.after.as_ref().unwrap().facts;
                let listed = facts.listed();
                let state = facts.standing.state(at).as_str();
                prop_assert!(listed.contains(&(ListedBy::State, state)));
                prop_assert!(facts.is_listed(ListedBy::State, state, at));
            }
        }
    }

    #[test]
    fn what_was_told_once_is_not_told_again(
        history in prop::collection::vec(item(), 1..10)
    ) {
        let mut folded = Folded::default();
        for body in &history {
            folded.webhook(body);
        }
        let told = folded.outputs.len();
        for body in history.iter().rev() {
            folded.webhook(body);
        }
        // What cannot be read is said each time.
        let mut again = folded.outputs.split_off(told);
        again.retain(|output| output.topic != Topic::DeadLetter);
        prop_assert!(again.is_empty(), "{:?}", again);
    }

    /// A redrive is a body that comes again, at any time and of anything, redrives too: facts stay as
    /// they are, and nothing is told but what still cannot be read.
    #[test]
    fn a_redrive_tells_nothing_that_was_told(
        history in prop::collection::vec(
            (item(), prop::option::of(any::<prop::sample::Index>())), 1..10
        )
    ) {
        let (mut folded, mut plain) = (Folded::default(), Folded::default());
        for (body, redrive) in &history {
            folded.webhook(body);
            plain.webhook(body);
            if let Some(which) = redrive {
                let of = which.index(folded.kept.len());
                let mut outputs = folded.redrive(u64::try_from(of).unwrap());
                outputs.retain(|output| output.topic != Topic::DeadLetter);
                prop_assert!(outputs.is_empty(), "{:?}", outputs);
            }
        }
        prop_assert_eq!(folded.facts(), plain.facts());
    }

    /// What is charged in the end, and what it sums up to, is the same in every order.
    #[test]
    fn charges_and_totals_do_not_depend_on_order(
        (history, shuffled) in prop::collection::vec(status_item(), 1..14).prop_flat_map(|items| {
            let twice: Vec<_> = items.iter().chain(&items).cloned().collect();
            (Just(items), Just(twice).prop_shuffle())
        })
    ) {
        prop_assert_eq!(charged(&history), charged(&shuffled));
    }

    #[test]
    fn any_bytes_are_folded_without_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        Folded::default().webhook(&body);
    }

    #[test]
    fn any_damage_to_a_body_is_folded_without_panic(at in 0..400_usize, byte in any::<u8>()) {
        let mut body = status_body(WAMID, "failed", 1);
        let at = at % body.len();
        body[at] = byte;
        Folded::default().webhook(&body);
    }

    #[test]
    fn each_slot_of_any_body_is_appended_where_it_is_folded(
        ids in prop::collection::vec("[0-9]{1,16}|", 0..6), partitions in 1..40_u32
    ) {
        let entries: Vec<_> = ids.iter().map(|id| format!(r#"{{"id":"{id}","changes":[{{"field":"x","value":{{}}}}]}}"#)).collect();
        let body = format!(r#"{{"object":"whatsapp_business_account","entry":[{}]}}"#, entries.join(",")).into_bytes();
        let destinations = tickfold_core::route(&body, partitions);
        let placement = tickfold_core::route::Placement::new(&body, partitions);
        for (_, waba_id) in tickfold_core::route::slots(&body) {
            let partition = placement.partition(waba_id.as_ref());
            prop_assert_eq!(destinations.iter().filter(|d| d.partition == partition).count(), 1);
        }
        for destination in destinations {
            let by_key = tickfold_core::raw::partition_of_key(&destination.key, partitions);
            prop_assert_eq!(destination.partition, by_key);
        }
    }
}

/// The bodies of the corpus that are JSON and not huge.
static CORPUS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let bodies = files.iter().map(|file| std::fs::read(file).unwrap());
    bodies
        .filter(|body| body.len() < 8_000)
        .filter_map(|body| serde_json::from_slice(&body).ok())
        .collect()
});

/// What is put in the place of any value: wrong types, absent and absurd ones, times in every form,
/// and ids that are the same everywhere, so that things that have nothing to do with each other meet.
fn replacement() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        Value::Null,
        json!(""),
        json!([]),
        json!({}),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(1_795_132_801),
        json!("1795132802"),
        json!(1_795_132_803_500_i64),
        json!("-1795132800"),
        json!("99999999999999"),
        json!("wamid.A"),
        json!("447700900123"),
        json!("GB.48"),
        json!("delivered"),
        json!("FAILED"),
        json!("reaction"),
        json!("\u{202e}\u{1f469}\u{200d}\u{1f467}\u{0}\u{fffd}"),
        json!("x".repeat(600)),
        json!([[[{"id": "wamid.A"}]]]),
        json!({"id": "wamid.A", "status": "read", "timestamp": "1795132804"}),
        json!([131_026, null, {"code": "131050"}, {"code": 131_000, "error_data": "text"}]),
    ])
}

/// What is done to a body, at a place of it.
#[derive(Debug, Clone)]
enum Damage {
    Replace(Value),
    Remove,
    Repeat,
    Wrap,
}

fn damage() -> impl Strategy<Value = (prop::sample::Index, Damage)> {
    let what = prop_oneof![
        6 => replacement().prop_map(Damage::Replace),
        1 => Just(Damage::Remove),
        1 => Just(Damage::Repeat),
        1 => Just(Damage::Wrap),
    ];
    (any::<prop::sample::Index>(), what)
}

/// Pointers to every value below the changes of a body.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let deep_enough = at.matches('/').count() > 3;
    found.extend(deep_enough.then(|| at.to_owned()));
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            places(member, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
        }),
        Value::Array(elements) => elements.iter().enumerate().for_each(|(index, element)| {
            places(element, &format!("{at}/{index}"), found);
        }),
        _ => {}
    }
}

/// A body of the corpus with some damage.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let body = any::<prop::sample::Index>().prop_map(|index| index.get(CORPUS.as_slice()).clone());
    (body, prop::collection::vec(damage(), 0..5)).prop_map(|(mut body, damages)| {
        for (place, damage) in damages {
            let mut found = Vec::new();
            places(&body, "", &mut found);
            if found.is_empty() {
                break;
            }
            let at = place.get(&found);
            let (parent, name) = at.rsplit_once('/').unwrap();
            let value = body.pointer(at).unwrap().clone();
            let parent = body.pointer_mut(parent).unwrap();
            match damage {
                Damage::Replace(other) => *body.pointer_mut(at).unwrap() = other,
                Damage::Wrap => *body.pointer_mut(at).unwrap() = json!([value]),
                Damage::Remove => {
                    let name = name.replace("~1", "/").replace("~0", "~");
                    if let Some(members) = parent.as_object_mut() {
                        members.remove(&name);
                    }
                }
                Damage::Repeat => {
                    if let Some(elements) = parent.as_array_mut() {
                        elements.extend([value.clone(), value]);
                    }
                }
            }
        }
        serde_json::to_vec(&body).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(300), ..ProptestConfig::default() })]

    /// The laws hold for whatever Meta may send too: bodies of the catalogue with anything in the
    /// place of anything. Nothing panics, and what is said once is not said again.
    #[test]
    fn damaged_bodies_keep_the_laws(
        (history, shuffled) in prop::collection::vec(damaged(), 1..6).prop_flat_map(|items| {
            let twice: Vec<_> = items.iter().chain(&items).cloned().collect();
            (Just(items), Just(twice).prop_shuffle())
        })
    ) {
        let mut folded = Folded::default();
        for body in history.iter().chain(&history) {
            folded.webhook(body);
        }
        let twice = folded.facts();
        prop_assert_eq!(&twice, &facts(&history));
        prop_assert_eq!(&twice, &facts(&shuffled));
        let mut once = Folded::default();
        history.iter().for_each(|body| drop(once.webhook(body)));
        // What names nothing and has no time counts each time, and so does what cannot be read.
        let told = |folded: &Folded| {
            let counted = |output: &&tickfold_core::fold::Output| match output.topic {
                Topic::DeadLetter => false,
                Topic::Event => {
                    let event: Value = serde_json::from_slice(output.value.as_ref().unwrap()).unwrap();
                    !event["natural_key"].as_str().unwrap().starts_with("verr:")
                }
                _ => true,
            };
            folded.outputs.iter().filter(counted).count()
        };
        prop_assert_eq!(told(&folded), told(&once));
    }
}
