//! What saves a campaign, end to end: a template, a number or an account that may not send halts at
//! once and resumes when it may again, by a webhook or by time alone; what fell, what is new and
//! what somebody did to a PIN is told. Everything is read as a service or a person would read it.
//!
//! Time: the embedded log's clock runs 720 times as fast (`TICKFOLD_LOG_CLOCK`), so that three hours
//! pass in 15 seconds; three days are put ahead while the node is down. On Kafka, where time is the
//! broker's, only what needs none is shown.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tickfold_core::records::Topic;

use crate::flows::{Log, LogClock, Stage, kinds};
use crate::metrics::Page;
use crate::support::{
    NUMBER, Node, PATIENCE, assert_golden, eventually, messages_of, say, tickfold, topic, up,
};

const NO_MESSAGES: &str = "RESTRICTED_BIZ_INITIATED_MESSAGING";
const DAY_MS: i64 = 86_400_000;

/// A body of a management field, told at a time of Meta's clock in seconds.
pub(crate) fn told(waba: &str, field: &str, time: i64, value: &str) -> String {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{waba}","time":{time},"changes":[{{"field":"{field}","value":{{{value}}}}}]}}]}}"#
    )
}

/// A status of a template, or whatever else the field tells of it.
fn template(waba: &str, id: &str, time: i64, rest: &str) -> String {
    let value = format!(
        r#""message_template_id":{id},"message_template_name":"spring","message_template_language":"en_US",{rest}"#
    );
    told(waba, "message_template_status_update", time, &value)
}

fn event(waba: &str, id: &str, time: i64, event: &str) -> String {
    template(waba, id, time, &format!(r#""event":"{event}""#))
}

/// `kind reason severity` of alerts, in order.
fn alerts(stage: &Stage, waba: &str) -> Vec<String> {
    let alerts = stage.of(waba, Topic::Alert);
    let said = |alert: &Value| {
        assert!(alert["next_step"].as_str().unwrap().len() > 10, "{alert}");
        let text = |name: &str| alert[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", text("kind"), text("reason"), text("severity"))
    };
    alerts.iter().map(said).collect()
}

/// Waits until the last action of an account is of this kind, and returns all.
fn acted(stage: &Stage, waba: &str, kind: &str) -> Vec<Value> {
    stage.eventually(&format!("{kind} of {waba}"), |stage| {
        let actions = stage.actions(waba);
        (actions.last()?["kind"] == kind).then_some(actions)
    })
}

/// Ids that a list shows.
fn listed(node: &Node, args: &[&str], id: &str) -> Vec<String> {
    let [what] = [args[0]];
    let shown = node.cli_json(&[&["list"], args].concat());
    let entries = shown[what].as_array().unwrap().iter();
    entries.map(|entry| entry[id].as_str().unwrap().to_owned()).collect()
}

/// A reader of the action topic that was there before, as a service is.
struct Reader {
    child: Child,
    lines: mpsc::Receiver<(Instant, Value)>,
}

impl Reader {
    fn of_actions(node: &Node) -> Self {
        let mut command = tickfold();
        command.args(["tail", &topic(Topic::Action), "--from-beginning", "-o", "jsonl"]);
        command.args(["--grpc-addr", &node.grpc]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let record: Value = serde_json::from_str(&line).unwrap();
                if sender.send((Instant::now(), record["value"].clone())).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// When the next action came, and what it is.
    fn next(&self) -> (Instant, Value) {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no action was read"))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CAMPAIGN: &str = "310000000000001";
const PAUSES: usize = 25;

#[test]
fn a_pause_halts_with_alert_and_row_in_one_commit() {
    let dir = TempDir::new().unwrap();
    let mut command = up(dir.path());
    // Without ticks nothing is committed but what is posted.
    command.env("TICKFOLD_INGRESS_TICK_INTERVAL", "30m");
    let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("{ended:?}"));
    let now = crate::support::base();
    // The first commit of a partition also makes its position known; this is not that one.
    node.post(event(CAMPAIGN, "1000", now, "APPROVED"));
    assert_golden(&node);
    let page = || Page::parse(&node.admin("/metrics").text());
    let commits = |page: &Page| page.sum("tickfold_processor_commits_total");
    let reader = Reader::of_actions(&node);
    let mut http = node.webhooks();
    let (mut answered, mut after_200, mut readable) = (Vec::new(), Vec::new(), Vec::new());
    for id in 1..=PAUSES {
        let before = page();
        let body = event(CAMPAIGN, &id.to_string(), now + 1, "PAUSED");
        let begun = Instant::now();
        assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200);
        let ok = Instant::now();
        answered.push(ok - begun);
        let (read, halt) = reader.next();
        after_200.push(read.saturating_duration_since(ok));
        readable.push(read.saturating_duration_since(begun));
        assert_eq!(
            (&halt["kind"], &halt["template"], &halt["template_name"]),
            (&json!("halt_template"), &json!(id.to_string()), &json!("spring"))
        );
        // Whoever sees the action sees the alert and the row, without waiting.
        let alert = node.values(Topic::Alert).pop().unwrap();
        let row = node.values(Topic::TemplateState).pop().unwrap();
        let transition = node.values(Topic::Transition).pop().unwrap();
        assert_eq!(
            (&alert["kind"], &alert["reason"]),
            (&json!("template_status"), &json!("PAUSED"))
        );
        assert_eq!(
            (&row["template_id"], &row["status"]),
            (&json!(id.to_string()), &json!("PAUSED"))
        );
        let place = |record: &Value| {
            [&record["source_partition"], &record["source_offset"]].map(Clone::clone)
        };
        let places = [&halt, &alert, &row, &transition].map(place);
        assert!(places.iter().all(|one| *one == places[0]), "of one raw record: {places:?}");
        // And the log took one commit, which had them all.
        let after = eventually("the commit is counted", || {
            let after = page();
            (commits(&after) > commits(&before)).then_some(after)
        });
        assert!((commits(&after) - commits(&before) - 1.0).abs() < 0.5, "one commit");
        let outputs = |page: &Page, of: Topic| {
            let by_topic = page.by("tickfold_processor_outputs_total", "topic");
            by_topic.get(&topic(of)).copied().unwrap_or_default()
        };
        for of in
            [Topic::Action, Topic::Alert, Topic::TemplateState, Topic::Transition, Topic::Event]
        {
            let added = outputs(&after, of) - outputs(&before, of);
            assert!((added - 1.0).abs() < 0.5, "{added} of {of:?} in that commit");
        }
    }
    for (what, samples) in [
        ("POST to 200", &mut answered),
        ("200 to halt read by a service", &mut after_200),
        ("POST to halt read by a service", &mut readable),
    ] {
        samples.sort();
        let ms = |sample: &Duration| sample.as_secs_f64() * 1_000.0;
        say(&format!(
            "PAUSED, {what}: p50 {:.1} ms, max {:.1} ms of {PAUSES}",
            ms(&samples[PAUSES / 2]),
            ms(samples.last().unwrap())
        ));
    }

    node.post(event(CAMPAIGN, "7", now + 2, "REINSTATED"));
    let (_, resume) = reader.next();
    assert_eq!((&resume["kind"], &resume["template"]), (&json!("resume_template"), &json!("7")));
    let halted = node.values(Topic::Action).into_iter().find(|action| action["template"] == "7");
    assert_eq!(resume["supersedes"], halted.unwrap()["action_id"]);

    assert_golden(&node);
    let paused =
        listed(&node, &["templates", "--account", CAMPAIGN, "--status", "PAUSED"], "template_id");
    assert_eq!(paused.len(), PAUSES - 1);
    assert!(!paused.contains(&"7".to_owned()));
    // Page by page, as a person goes on.
    let page = ["list", "templates", "--status", "PAUSED", "--limit", "10"];
    let first = node.cli(&page);
    let (_, token) = first.stderr.trim_end().split_once("--page-token ").unwrap();
    let rest = node.cli(&[&page[..4], &["--page-token", token]].concat());
    assert_eq!((first.stdout.lines().count(), rest.stderr.as_str()), (10, ""));
    let lines = first.stdout.lines().chain(rest.stdout.lines());
    let ids: std::collections::BTreeSet<_> =
        lines.filter_map(|line| line.split('/').nth(1)).collect();
    assert_eq!(ids, paused.iter().map(String::as_str).collect());
    let shown = node.cli_json(&["get", "template", CAMPAIGN, "8", "en_US"]);
    let halt = node.values(Topic::Action).into_iter().find(|action| action["template"] == "8");
    assert_eq!(shown["halt"]["id"], halt.unwrap()["action_id"]);
    let shown = node.cli_json(&["get", "template", CAMPAIGN, "7", "en_US"]);
    assert_eq!((&shown["status"], shown.get("halt")), (&json!("REINSTATED"), None));
    assert_eq!(history(&shown), ["PAUSED>REINSTATED=REINSTATED", "->PAUSED=PAUSED"]);
    node.stop();
}

/// `from>to=state` of the lines of a history, the newest first, each with its times.
fn history(shown: &Value) -> Vec<String> {
    let line = |line: &Value| {
        assert!(line["log_time"].is_string() && line["source"]["offset"].is_u64(), "{line}");
        let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        format!("{}>{}={}", text("from"), text("to"), text("state"))
    };
    shown["history"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn a_pause_halts_and_a_reinstatement_resumes_on_kafka() {
    let dir = TempDir::new().unwrap();
    let stage = Stage::start(dir.path(), Log::on_kafka("standing"));
    let now = stage.ago(5);
    stage.node.post(event(CAMPAIGN, "1", now, "APPROVED"));
    stage.settled();
    let begun = Instant::now();
    stage.node.post(event(CAMPAIGN, "1", now + 1, "PAUSED"));
    let answered = begun.elapsed();
    let halt = acted(&stage, CAMPAIGN, "halt_template").remove(0);
    say(&format!(
        "kafka: 200 after {answered:.1?}, halt seen by a poll after {:.1?}",
        begun.elapsed()
    ));
    let alert = stage.eventually("the alert", |stage| stage.of(CAMPAIGN, Topic::Alert).pop());
    let row = stage.row(Topic::TemplateState, &format!("{CAMPAIGN}/1/en_US")).unwrap();
    for record in [&alert, &row] {
        assert_eq!(record["source_offset"], halt["source_offset"], "of one raw record: {record}");
    }
    assert_eq!((&alert["severity"], &row["status"]), (&json!("critical"), &json!("PAUSED")));
    stage.node.post(event(CAMPAIGN, "1", now + 2, "REINSTATED"));
    let actions = acted(&stage, CAMPAIGN, "resume_template");
    assert_eq!(kinds(&actions), ["halt_template", "resume_template"]);
    assert_eq!(actions[1]["supersedes"], halt["action_id"]);
    assert_golden(&stage.node);
    stage.node.stop();
}

/// A scenario: what is posted before the node is killed, and what must follow after it.
type Scenario = (&'static str, fn(&Stage), fn(&Stage));

const SCENARIOS: [Scenario; 9] = [
    ("a pause that ends", pause_begins, pause_ends),
    ("APPROVED after DISABLED", disabled_begins, disabled_ends),
    ("restriction of an account that expires", expiry_begins, expiry_ends),
    ("restriction of an account that is lifted", lifted_begins, lifted_ends),
    ("restriction of a number that expires", number_begins, number_ends),
    ("restriction of a number that is lifted", number_lifted_begins, number_lifted_ends),
    ("quality that falls", quality_begins, quality_ends),
    ("a PIN", pin_begins, pin_ends),
    ("a field never seen before", field_begins, field_ends),
];

fn start(root: &Path) -> Stage {
    Stage::start(root, Log::Embedded(LogClock::new(720)))
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn halts_end_by_webhooks_and_by_time_alone() {
    let dir = TempDir::new().unwrap();
    let mut stage = start(dir.path());
    for (name, begins, _) in SCENARIOS {
        say(&format!("{name} begins"));
        begins(&stage);
    }
    stage.settled();
    stage.kill_and_restart();
    for (name, _, ends) in SCENARIOS {
        let begun = Instant::now();
        ends(&stage);
        say(&format!("{name} ended in {:.1?}", begun.elapsed()));
    }
    assert_golden(&stage.node);
    assert_eq!(stage.values(Topic::DeadLetter), [Value::Null; 0]);
    let actions = stage.values(Topic::Action);
    let mut ids: Vec<_> = actions.iter().map(|action| action["action_id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), actions.len(), "no action is told twice");
    stage.node.stop();
}

const PAUSED: &str = "310000000000011";

fn pause_begins(stage: &Stage) {
    let now = stage.ago(0);
    stage.node.post(event(PAUSED, "9", now - 10, "APPROVED"));
    let pause = r#""event":"PAUSED","other_info":{"title":"FIRST_PAUSE"}"#;
    stage.node.post(template(PAUSED, "9", now, pause));
    acted(stage, PAUSED, "halt_template");
}

fn pause_ends(stage: &Stage) {
    let actions = acted(stage, PAUSED, "resume_template");
    assert_eq!(kinds(&actions), ["halt_template", "resume_template"]);
    assert_eq!(actions[1]["supersedes"], actions[0]["action_id"]);
    let row = stage.row(Topic::TemplateState, &format!("{PAUSED}/9/en_US")).unwrap();
    assert_eq!((&row["status"], row.get("pause_end_time")), (&json!("APPROVED"), None));
    let shown =
        stage.shown(&["get", "template", PAUSED, "9", "en_US"], "status", json!("APPROVED"));
    assert_eq!(
        history(&shown),
        ["PAUSED>pause_ended=APPROVED", "APPROVED>PAUSED=PAUSED", "->APPROVED=APPROVED"]
    );
    // It ended three hours after Meta's word, and is told at the next record of its partition.
    let ms = |line: &Value| {
        let text = line["event_time"].as_str().unwrap();
        tickfold_core::time::Timestamp::parse_rfc3339(text).unwrap().as_millis()
    };
    let lines = &shown["history"];
    assert_eq!(ms(&lines[0]) - ms(&lines[1]), 3 * 3_600_000);
    let paused = ["templates", "--account", PAUSED, "--status", "PAUSED"];
    assert_eq!(listed(&stage.node, &paused, "template_id"), [""; 0]);
}

const DISABLED: &str = "310000000000012";

fn disabled_begins(stage: &Stage) {
    let now = stage.ago(0);
    stage.node.post(event(DISABLED, "9", now - 20, "DISABLED"));
    acted(stage, DISABLED, "halt_template");
    // Told later, but older.
    stage.node.post(event(DISABLED, "9", now - 30, "APPROVED"));
}

fn disabled_ends(stage: &Stage) {
    let key = format!("{DISABLED}/9/en_US");
    assert_eq!(kinds(&stage.actions(DISABLED)), ["halt_template"]);
    assert_eq!(stage.row(Topic::TemplateState, &key).unwrap()["status"], "DISABLED");
    assert_eq!(alerts(stage, DISABLED), ["template_status DISABLED critical"]);
    stage.node.post(event(DISABLED, "9", stage.ago(0), "APPROVED"));
    acted(stage, DISABLED, "resume_template");
    assert_eq!(stage.row(Topic::TemplateState, &key).unwrap()["status"], "APPROVED");
}

/// A restriction of an account, or of a number of it.
fn restricted(stage: &Stage, waba: &str, phone_number: &str, hours: Option<i64>) -> String {
    let now = stage.ago(0);
    let expiration = hours.map(|hours| format!(r#","expiration":{}"#, now + hours * 3_600));
    let value = format!(
        r#""event":"ACCOUNT_RESTRICTION",{phone_number}"restriction_info":[{{"restriction_type":"{NO_MESSAGES}"{}}}]"#,
        expiration.unwrap_or_default()
    );
    told(waba, "account_update", now, &value)
}

fn lifted(stage: &Stage, waba: &str, phone_number: &str) -> String {
    let value = format!(
        r#""event":"ACCOUNT_RESTRICTION",{phone_number}"violation_info":{{"violation_type":"SPAM_UNBAN"}}"#
    );
    told(waba, "account_update", stage.ago(0), &value)
}

const EXPIRING: &str = "310000000000013";

fn expiry_begins(stage: &Stage) {
    stage.node.post(restricted(stage, EXPIRING, "", Some(4)));
    let halt = acted(stage, EXPIRING, "halt_account").remove(0);
    assert!(halt["not_after"].is_string(), "the halt has an end: {halt}");
    assert_eq!(alerts(stage, EXPIRING), ["account_state restricted critical"]);
    let restricted = ["accounts", "--restriction", NO_MESSAGES];
    eventually("the account is listed as restricted", || {
        let accounts = listed(&stage.node, &restricted, "waba_id");
        accounts.contains(&EXPIRING.to_owned()).then_some(())
    });
}

fn expiry_ends(stage: &Stage) {
    let actions = acted(stage, EXPIRING, "resume_account");
    assert_eq!(kinds(&actions), ["halt_account", "resume_account"]);
    let row = |key: &str| stage.row(Topic::AccountState, key).unwrap();
    assert_eq!(row(EXPIRING)["state"], "active");
    let restriction = row(&format!("{EXPIRING}/restriction/{NO_MESSAGES}"));
    assert_eq!(restriction["restriction_state"], "ended");
    let shown = stage.shown(&["get", "account", EXPIRING], "state", json!("active"));
    assert_eq!(
        history(&shown),
        ["restricted>restriction_ended=active", "->ACCOUNT_RESTRICTION=restricted"]
    );
    assert_eq!(shown["restrictions"][0]["in_force"], false);
    let restricted = ["accounts", "--restriction", NO_MESSAGES];
    assert!(!listed(&stage.node, &restricted, "waba_id").contains(&EXPIRING.to_owned()));
}

const LIFTED: &str = "310000000000014";

fn lifted_begins(stage: &Stage) {
    stage.node.post(restricted(stage, LIFTED, "", None));
    acted(stage, LIFTED, "halt_account");
}

fn lifted_ends(stage: &Stage) {
    stage.node.post(lifted(stage, LIFTED, ""));
    let actions = acted(stage, LIFTED, "resume_account");
    assert_eq!(kinds(&actions), ["halt_account", "resume_account"]);
    assert_eq!(stage.row(Topic::AccountState, LIFTED).unwrap()["state"], "active");
}

/// Some message of a number of an account.
fn of_number(stage: &Stage, waba: &str, number: &str, display: &str) -> String {
    let time = stage.ago(1);
    let members = format!(
        r#""statuses":[{{"id":"wamid.{number}.{time}","status":"sent","timestamp":"{time}","recipient_id":"447700900123"}}]"#
    );
    messages_of(waba, &members).replace(NUMBER, number).replace("15550100001", display)
}

const OF_NUMBER: &str = "310000000000015";
const NUMBER_A: &str = "318840000000901";
const DISPLAY_A: &str = r#""phone_number":"+1 555-010-0901","#;

/// Its id is known only after the restriction came.
fn number_begins(stage: &Stage) {
    stage.node.post(restricted(stage, OF_NUMBER, DISPLAY_A, Some(4)));
    let halt = acted(stage, OF_NUMBER, "halt_number").remove(0);
    assert_eq!(halt["subject"], format!("{OF_NUMBER}/15550100901"));
    stage.node.post(of_number(stage, OF_NUMBER, NUMBER_A, "15550100901"));
    let shown = stage.shown(&["get", "number", NUMBER_A], "state", json!("restricted"));
    assert_eq!(
        (&shown["halts"][0]["id"], &shown["waba_id"]),
        (&halt["action_id"], &json!(OF_NUMBER))
    );
    assert_eq!(history(&shown), ["->ACCOUNT_RESTRICTION=restricted"]);
    let numbers = ["numbers", "--state", "restricted"];
    assert!(listed(&stage.node, &numbers, "phone_number_id").contains(&NUMBER_A.to_owned()));
    let account = stage.row(Topic::AccountState, OF_NUMBER).unwrap();
    assert_eq!(account["state"], "active", "the account itself may send");
}

fn number_ends(stage: &Stage) {
    let actions = acted(stage, OF_NUMBER, "resume_number");
    assert_eq!(kinds(&actions), ["halt_number", "resume_number"]);
    assert_eq!(actions[1]["phone_number_id"], NUMBER_A, "by now its id is known");
    assert_eq!(stage.row(Topic::NumberState, NUMBER_A).unwrap()["state"], "active");
    let shown = stage.shown(&["get", "number", NUMBER_A], "state", json!("active"));
    assert_eq!(
        history(&shown),
        ["restricted>restriction_ended=active", "->ACCOUNT_RESTRICTION=restricted"]
    );
}

const OF_NUMBER_LIFTED: &str = "310000000000016";
const NUMBER_B: &str = "318840000000902";
const DISPLAY_B: &str = r#""phone_number":"15550100902","#;

fn number_lifted_begins(stage: &Stage) {
    stage.node.post(of_number(stage, OF_NUMBER_LIFTED, NUMBER_B, "+1 555-010-0902"));
    stage.node.post(restricted(stage, OF_NUMBER_LIFTED, DISPLAY_B, None));
    let halt = acted(stage, OF_NUMBER_LIFTED, "halt_number").remove(0);
    assert_eq!((&halt["subject"], halt.get("not_after")), (&json!(NUMBER_B), None));
}

fn number_lifted_ends(stage: &Stage) {
    stage.node.post(lifted(stage, OF_NUMBER_LIFTED, DISPLAY_B));
    let actions = acted(stage, OF_NUMBER_LIFTED, "resume_number");
    assert_eq!(kinds(&actions), ["halt_number", "resume_number"]);
    assert_eq!(alerts(stage, OF_NUMBER_LIFTED), ["number_state restricted critical"]);
}

const QUALITY: &str = "310000000000017";

fn quality(stage: &Stage, old: &str, new: &str) -> String {
    let scores = format!(r#""previous_quality_score":"{old}","new_quality_score":"{new}""#);
    template(QUALITY, "9", stage.ago(0), &scores)
}

fn quality_begins(stage: &Stage) {
    stage.node.post(quality(stage, "UNKNOWN", "GREEN"));
}

fn quality_ends(stage: &Stage) {
    assert_eq!(alerts(stage, QUALITY), [""; 0], "nothing fell so far");
    stage.node.post(quality(stage, "GREEN", "RED"));
    let told = stage.eventually("the fall is told", |stage| {
        let alerts = alerts(stage, QUALITY);
        (!alerts.is_empty()).then_some(alerts)
    });
    assert_eq!(told, ["template_quality RED critical"]);
    let shown = stage.shown(&["get", "template", QUALITY, "9", "en_US"], "quality", json!("RED"));
    let newest = &shown["history"][0];
    assert_eq!((&newest["old_value"], &newest["new_value"]), (&json!("GREEN"), &json!("RED")));
    let red = ["templates", "--account", QUALITY, "--quality", "red"];
    assert_eq!(listed(&stage.node, &red, "template_id"), ["9"]);
}

const PIN: &str = "310000000000018";
const NUMBER_C: &str = "318840000000903";

fn pin_begins(stage: &Stage) {
    stage.node.post(of_number(stage, PIN, NUMBER_C, "15550100903"));
    let value = r#""display_phone_number":"15550100903","event":"PIN_CHANGED","requester":"61550000000001""#;
    stage.node.post(told(PIN, "security", stage.ago(0), value));
}

fn pin_ends(stage: &Stage) {
    assert_eq!(alerts(stage, PIN), ["security PIN_CHANGED critical"]);
    let shown = stage.shown(&["get", "number", NUMBER_C], "security_event", json!("PIN_CHANGED"));
    assert_eq!(shown["security_requester"], "61550000000001");
    assert_eq!(history(&shown), ["->PIN_CHANGED=active"]);
    assert_eq!(kinds(&stage.actions(PIN)), [""; 0]);
}

const FIELD: &str = "310000000000019";

fn field_begins(stage: &Stage) {
    for ago in [1, 0] {
        let body = told(FIELD, "field_of_next_year", stage.ago(ago), r#""hue":"teal""#);
        stage.node.post(body);
    }
}

fn field_ends(stage: &Stage) {
    assert_eq!(alerts(stage, FIELD), ["unknown_word field_of_next_year info"], "once");
    let events = stage.of(FIELD, Topic::Event);
    assert!(
        events.iter().all(|event| event["raw"].as_str().unwrap().contains("teal")),
        "{events:?}"
    );
    assert_eq!(events.len(), 2, "each is kept as it came");
}

const REMOVED: &str = "310000000000020";
const NUMBER_D: &str = "318840000000904";

/// The account is taken away, and then nothing more comes of it: that is told once, and the silence
/// that follows is no news.
#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn a_partner_that_was_removed_is_silent_and_that_is_no_news() {
    let dir = TempDir::new().unwrap();
    let mut stage = start(dir.path());
    stage.node.post(of_number(&stage, REMOVED, NUMBER_D, "15550100904"));
    let parting = |stage: &Stage, event: &str| {
        let value = format!(
            r#""event":"{event}","waba_info":{{"waba_id":"{REMOVED}","owner_business_id":"6"}},"disconnection_info":{{"reason":"PRIMARY_INACTIVITY"}}"#
        );
        told(REMOVED, "account_update", stage.ago(0), &value)
    };
    stage.node.post(parting(&stage, "PARTNER_REMOVED"));
    acted(&stage, REMOVED, "halt_account");
    let told = ["account_state disconnected critical"];
    assert_eq!(alerts(&stage, REMOVED), told);
    let row = stage.row(Topic::AccountState, REMOVED).unwrap();
    assert_eq!(row["disconnection_reason"], "PRIMARY_INACTIVITY");

    // Three days of silence.
    stage.node.child.kill().unwrap();
    stage.node.child.wait().unwrap();
    let Log::Embedded(clock) = &mut stage.log else { unreachable!("it was started so") };
    clock.skip(3 * DAY_MS);
    let until = stage.log.now_ms();
    stage.kill_and_restart();
    stage.eventually("three days passed", |stage| {
        let shown = stage.node.cli_json(&["get", "account", REMOVED]);
        let time = shown["as_of"]["event_time"].as_str().unwrap();
        let time = tickfold_core::time::Timestamp::parse_rfc3339(time).unwrap().as_millis();
        (time >= until).then_some(())
    });
    assert_eq!(alerts(&stage, REMOVED), told, "nobody is woken for what is known");
    assert_eq!(kinds(&stage.actions(REMOVED)), ["halt_account"]);
    let disconnected = ["accounts", "--state", "disconnected"];
    assert_eq!(listed(&stage.node, &disconnected, "waba_id"), [REMOVED]);

    stage.node.post(parting(&stage, "PARTNER_ADDED"));
    let actions = acted(&stage, REMOVED, "resume_account");
    assert_eq!(kinds(&actions), ["halt_account", "resume_account"]);
    let shown = stage.shown(&["get", "account", REMOVED], "state", json!("active"));
    assert_eq!(
        history(&shown),
        ["disconnected>PARTNER_ADDED=active", "->PARTNER_REMOVED=disconnected"]
    );
    assert_golden(&stage.node);
    stage.node.stop();
}
