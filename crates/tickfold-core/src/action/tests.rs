//! What follows from failures, row by row of the built-in table, and which ids are one.

use super::*;

const NOON: Timestamp = Timestamp::from_millis(1_795_132_800_000);

fn sender<'a>(category: Option<&'a str>) -> Sender<'a> {
    Sender {
        waba_id: Some("7"),
        phone_number_id: Some("3"),
        wamid: Some("wamid.A"),
        recipient: Some("447700900123"),
        country: Some("GB"),
        category,
        ..Sender::default()
    }
}

fn reactions(code: i64, sender: Sender<'_>, after_s: i64) -> Vec<Reaction> {
    let failed = Failed { sender, code: Some(code), time: NOON.plus(after_s * 1_000) };
    on_failure(&Rules::built_in(), &failed)
}

fn kinds(code: i64, sender: Sender<'_>) -> Vec<&'static str> {
    let word = |reaction: &Reaction| match reaction {
        Reaction::Action(action) => action.kind.as_str(),
        Reaction::Alert(_) => "alert",
    };
    reactions(code, sender, 0).iter().map(word).collect()
}

fn id(reaction: &Reaction) -> Option<ActionId> {
    match reaction {
        Reaction::Action(action) => Some(action.id()),
        Reaction::Alert(_) => None,
    }
}

#[test]
fn another_channel_is_for_categories_that_may_take_one() {
    assert_eq!(kinds(131_026, sender(None)), ["sms_fallback"]);
    assert_eq!(kinds(131_026, sender(Some("authentication"))), ["sms_fallback"]);
    assert_eq!(kinds(131_026, sender(Some("marketing"))), [""; 0]);
    assert_eq!(kinds(131_049, sender(Some("utility"))), ["sms_fallback"]);
    assert_eq!(kinds(131_049, sender(Some("marketing"))), ["back_off"]);
}

#[test]
fn a_failure_and_a_deadline_ask_for_one_fallback() {
    let failure = reactions(131_026, sender(Some("authentication")), 0);
    let rules = Rules::built_in();
    let deadline = fallback(&rules, &sender(Some("authentication")), NOON.plus(660_000)).unwrap();
    assert_eq!(id(&failure[0]), Some(deadline.id()));
    assert_eq!(fallback_id(&sender(None)), Some(deadline.id()));
    assert_eq!(deadline.terms.not_after, Some(NOON.plus(660_000 + 600_000)));
    let participant = Sender { participant: Some("1"), ..sender(None) };
    assert_ne!(fallback_id(&participant), Some(deadline.id()));
}

#[test]
fn two_codes_of_one_failure_ask_once() {
    let ids = |code| reactions(code, sender(None), 0).iter().map(id).collect::<Vec<_>>();
    assert_eq!(ids(131_000), ids(135_000));
    assert_ne!(ids(131_000), ids(131_056));
}

#[test]
fn a_halt_is_asked_for_once_an_hour_whichever_message_met_it() {
    let halt = |wamid: &'static str, after_s| {
        let met = Sender { wamid: Some(wamid), ..sender(None) };
        id(&reactions(131_042, met, after_s)[0])
    };
    assert_eq!(halt("a", 0), halt("b", 3_599));
    assert_ne!(halt("a", 0), halt("a", 3_600));
    let template = |template, wamid: &'static str| {
        let met = Sender { wamid: Some(wamid), template, ..sender(None) };
        id(&reactions(132_016, met, 0)[0])
    };
    assert_eq!(template(Some("9"), "a"), template(Some("9"), "b"));
    assert_ne!(template(None, "a"), template(None, "b"), "each may be of another template");
}

#[test]
fn an_error_without_a_message_acts_only_on_what_is_wider() {
    let value = Sender { wamid: None, recipient: None, ..sender(None) };
    assert_eq!(kinds(130_429, value), ["back_off"]);
    let [Reaction::Action(action)] = &reactions(130_429, value, 0)[..] else { panic!("one") };
    assert_eq!(Some(action.subject.as_str()), value.phone_number_id, "others may go on");
    let other = Sender { phone_number_id: Some("other"), ..value };
    assert_ne!(id(&reactions(130_429, other, 0)[0]), Some(action.id()));
    assert_eq!(kinds(131_035, value), ["alert"]);
    assert_eq!(kinds(131_042, value), ["halt_account", "alert"]);
    for code in [131_026, 131_047, 131_050, 131_000, 137_000, 132_016] {
        assert_eq!(kinds(code, value), [""; 0], "{code}");
    }
}

#[test]
fn waiting_and_trying_again_have_their_times() {
    let reactions = reactions(131_056, sender(None), 0);
    let [Reaction::Action(action)] = &reactions[..] else { panic!("{reactions:?}") };
    assert_eq!(action.terms.not_before, Some(NOON.plus(60_000)));
    assert_eq!(action.terms.not_after, Some(NOON.plus(60_000 + 24 * HOUR_MS)));
    assert_eq!(action.terms.scope, Some(BackOffScope::Recipient));
}

#[test]
fn an_opt_out_names_customer_and_account() {
    let reactions = reactions(131_050, sender(Some("marketing")), 0);
    let [Reaction::Action(action)] = &reactions[..] else { panic!("{reactions:?}") };
    assert_eq!(
        (action.kind, action.subject.as_str()),
        (ActionKind::SuppressRecipient, "7/447700900123")
    );
    assert_eq!(action.terms.category.as_deref(), Some("marketing"));
    assert_eq!(action.terms.not_after, None, "it holds");
}

#[test]
fn the_retries_of_one_intent_share_a_subject() {
    let sent = |wamid, intent| Sender { wamid: Some(wamid), intent, ..sender(None) };
    let id = |wamid, intent| fallback_id(&sent(wamid, intent)).unwrap();
    assert_eq!(id("a", Some("order-1")), id("b", Some("order-1")));
    assert_ne!(id("a", Some("order-1")), id("a", Some("order-2")));
    assert_ne!(id("a", None), id("b", None), "without one each message is for itself");
    assert_eq!(fallback_id(&Sender { wamid: None, ..sent("a", Some("order-1")) }), None);
}

#[test]
fn a_customers_choice_is_an_action_of_its_message() {
    let mut document: serde_json::Value =
        serde_json::from_slice(&Rules::built_in().canonical()).unwrap();
    document["inbound"] = serde_json::json!([
        {"when": {"keyword": "help"}, "then": {"do": "route", "queue": "support"}},
        {"when": {"keyword": "stop"}, "then": {"do": "suppress_recipient", "category": "marketing"}},
    ]);
    let rules = Rules::parse(document.to_string().as_bytes()).unwrap();
    let choose = |text| {
        on_inbound(&rules, &sender(None), &Inbound { text: Some(text), ..Inbound::default() }, NOON)
    };
    let route = choose("Help").unwrap();
    assert_eq!((route.kind.as_str(), route.subject.as_str()), ("route", "3/447700900123"));
    assert_eq!(
        (route.cause.as_str(), route.terms.queue.as_deref()),
        ("msg:wamid.A", Some("support"))
    );
    assert_eq!(choose("stop").unwrap().subject, "7/447700900123");
    assert_eq!(choose("hello"), None);
}
