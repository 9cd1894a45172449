//! Reactions under fire: rules that change while the processor runs, deadlines, outages of ingress
//! and retries in every order, with crashes after any command. Whatever happened, no action is told
//! twice, and everything equals the golden fold byte for byte.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tickfold_core::rules::Rules;
use tickfold_log::MemLog;
use tickfold_processor::{Bug, Options};

use crate::rng::Rng;
use crate::seeds::{Report, run_with, seeds};
use crate::workload::{
    NOON_MS, PARTITION, Traffic, accounts, append_rules, append_tick, append_webhook, body, change,
};
use crate::world::World;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;

/// Kinds that the seeds have to lead to, together.
const KINDS: [&str; 13] = [
    "sms_fallback",
    "fallback_superseded",
    "fallback_expired",
    "offer_resend",
    "resend",
    "back_off",
    "suppress_recipient",
    "halt_account",
    "route",
    "error_code",
    "pricing_conflict",
    "by later rules",
    "rules_version_not_above",
];

#[test]
fn no_action_is_told_twice_whatever_changes_or_dies() {
    let seeds = seeds(100);
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    let (mut outputs, mut crashes, mut failures) = (0, 0, Vec::new());
    for &seed in &seeds {
        match react(seed, &Options::default(), true) {
            Ok(report) => {
                assert_eq!(report.repeated, 0, "TICKFOLD_SEED={seed}");
                outputs += report.outputs;
                let landed = report.faults.iter().filter(|(name, _)| name.starts_with("crash"));
                crashes += landed.map(|(_, (_, landed))| landed).sum::<u64>();
                for (kind, count) in report.told {
                    *told.entry(kind).or_default() += count;
                }
            }
            Err(text) => failures.push(format!("TICKFOLD_SEED={seed}: {text}")),
        }
    }
    println!("{} seeds, {crashes} crashes, {outputs} outputs, {told:?}", seeds.len());
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    if seeds.len() > 1 {
        let never: Vec<_> = KINDS.iter().filter(|kind| !told.contains_key(**kind)).collect();
        assert!(never.is_empty(), "never told: {never:?}");
        assert!(crashes > seeds.len() as u64, "{crashes} crashes");
    }
}

#[test]
fn without_faults_the_same_holds() {
    for seed in seeds(30) {
        let report = react(seed, &Options::default(), false);
        let report = report.unwrap_or_else(|text| panic!("TICKFOLD_SEED={seed}: {text}"));
        assert_eq!(report.repeated, 0, "TICKFOLD_SEED={seed}");
        assert!(report.faults.is_empty(), "TICKFOLD_SEED={seed}");
    }
}

/// The check can fail: a processor that tells again what it folds again tells actions twice.
#[test]
fn a_refold_that_emits_tells_actions_twice() {
    let options = Options { bug: Some(Bug::RefoldEmits), ..Options::default() };
    let twice = (0..200).any(|seed| {
        let run = run_with(Box::new(Reacting::new()), seed, &options, true);
        run.map_or_else(|failure| failure.repeated, |report| report.repeated) > 0
    });
    assert!(twice, "the planted bug is not seen");
}

fn react(seed: u64, options: &Options, chaos: bool) -> Result<Report, String> {
    let run = run_with(Box::new(Reacting::new()), seed, options, chaos);
    run.map_err(|failure| failure.text)
}

/// Messages that fail, miss their deadline, are read and delivered late; rules that rise, and some
/// that do not; a customer who chooses. Event times are near the log's clock.
#[derive(Debug)]
struct Reacting {
    account: String,
    rules: Value,
    sent: Vec<Vec<u8>>,
}

impl Reacting {
    fn new() -> Self {
        let rules = serde_json::from_slice(&Rules::built_in().canonical()).unwrap();
        Self { account: accounts()[0].clone(), rules, sent: Vec::new() }
    }

    /// A document with other deadlines, actions and routes; now and then one that is refused.
    fn apply(&mut self, log: &MemLog, rng: &mut Rng) {
        if rng.one_in(4) {
            append_rules(log, &self.rules.to_string());
            return;
        }
        let rules = &mut self.rules;
        rules["version"] = json!(rules["version"].as_u64().unwrap() + 1);
        rules["deadlines"][0]["ttl"] = json!(rng.pick(&["30s", "1m", "10m"]));
        rules["deadlines"][0]["buffer"] = json!(rng.pick(&["0s", "60s"]));
        rules["fallbacks"][0]["valid_for"] = json!(rng.pick(&["1m", "10m"]));
        let undeliverable = rng.pick(&["sms_fallback", "await_deadline", "alert"]);
        rules["codes"][0]["actions"] = json!([{ "do": undeliverable }]);
        let queue = rng.pick(&["sales", "support"]);
        rules["inbound"] =
            json!([{"when": {"keyword": "agent"}, "then": {"do": "route", "queue": queue}}]);
        append_rules(log, &rules.to_string());
    }

    fn status(&self, log: &MemLog, rng: &mut Rng) -> Vec<u8> {
        let wamid = format!("wamid.{}", rng.below(10));
        let word = rng.pick(&["sent", "sent", "delivered", "read", "failed", "failed"]);
        let time = self.time(log, rng);
        let code = rng.pick(&[131_026, 131_000, 131_056, 131_036, 131_042, 131_050, 7]);
        let errors = match word {
            "failed" => format!(r#","errors":[{{"code":{code}}}]"#),
            _ => String::new(),
        };
        let category = rng.pick(&["authentication", "authentication", "utility"]);
        let label = if rng.one_in(4) { r#","biz_opaque_callback_data":"intent=7""# } else { "" };
        let status = format!(
            r#"{{"id":"{wamid}","status":"{word}","timestamp":"{time}","recipient_id":"447700900123","pricing":{{"billable":true,"pricing_model":"PMP","type":"regular","category":"{category}"}}{label}{errors}}}"#
        );
        self.value(&format!(r#""statuses":[{status}]"#))
    }

    fn choice(&self, log: &MemLog, rng: &mut Rng) -> Vec<u8> {
        let (n, time) = (rng.below(6), self.time(log, rng));
        self.value(&format!(
            r#""messages":[{{"id":"wamid.in{n}","from":"447700900123","timestamp":"{time}","type":"text","text":{{"body":"agent"}}}}]"#
        ))
    }

    /// Some while before now.
    fn time(&self, log: &MemLog, rng: &mut Rng) -> i64 {
        log.now_ms() / 1_000 - rng.pick(&[0, 0, 5, 60, 300, 660])
    }

    fn value(&self, members: &str) -> Vec<u8> {
        let value = format!(
            r#"{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550001","phone_number_id":"106540352242922"}},{members}}}"#
        );
        body(&[change(&self.account, &value)])
    }
}

impl Traffic for Reacting {
    fn append_one(&mut self, log: &MemLog, rng: &mut Rng) {
        match rng.below(12) {
            0..=2 => append_tick(log),
            3 => self.apply(log, rng),
            4 if !self.sent.is_empty() => {
                let at = rng.below(self.sent.len() as u64) as usize;
                append_webhook(log, &self.sent[at].clone());
            }
            5 => {
                let body = self.choice(log, rng);
                append_webhook(log, &body);
            }
            _ => {
                let body = self.status(log, rng);
                append_webhook(log, &body);
                self.sent.push(body);
            }
        }
    }

    /// Within and beyond what counts as a gap, and once in a while an outage.
    fn pause_ms(&mut self, rng: &mut Rng) -> u64 {
        rng.pick(&[500, 5_000, 15_000, 29_000, 29_000, 31_000, 180_000, 1_200_000])
    }
}

/// A login code on its way when ingress goes down, and another sent meanwhile.
const BEFORE: &str = "wamid.before";
const DURING: &str = "wamid.during";

/// One status of a login code, so many seconds after noon.
fn code(wamid: &str, word: &str, after_s: i64) -> Vec<u8> {
    let time = NOON_MS / 1_000 + after_s;
    let status = format!(
        r#"{{"id":"{wamid}","status":"{word}","timestamp":"{time}","recipient_id":"447700900123","pricing":{{"billable":true,"pricing_model":"PMP","type":"regular","category":"authentication"}}}}"#
    );
    Reacting::new().value(&format!(r#""statuses":[{status}]"#))
}

/// Ingress listens for so long: a tick every 5 seconds.
fn listen(world: &mut World, ms: u64) {
    for _ in 0..ms / (5 * SECOND_MS) {
        world.pass(5 * SECOND_MS);
        append_tick(&world.log);
        world.settle(0);
    }
}

/// Everything equals the golden fold, once the last ticks are committed too.
fn compare(world: &mut World) {
    world.pass(10 * SECOND_MS);
    world.settle(0);
    world.equals_golden(0).unwrap();
}

fn actions(world: &World) -> Vec<Value> {
    let records = world.log.records("wa.action.v1", PARTITION);
    records.iter().map(|r| serde_json::from_slice(r.value.as_ref().unwrap()).unwrap()).collect()
}

/// Number of derived records.
fn outputs(world: &World) -> u64 {
    let topics = world.log.topics_now().unwrap();
    let derived = topics.iter().filter(|topic| *topic.spec.name != *world.raw.topic);
    derived.map(|topic| topic.bounds[PARTITION as usize].end).sum()
}

/// A code is sent, then nobody listens for 20 minutes, in which its deadline passes and another
/// code is sent.
fn outage() -> World {
    let mut world = World::single();
    world.start_and_settle(0);
    append_webhook(&world.log, &code(BEFORE, "sent", 0));
    world.settle(0);
    listen(&mut world, MINUTE_MS);
    let before = outputs(&world);
    // The process lives or is started anew, it makes no difference: nothing is appended.
    for minute in 0..20 {
        world.pass(MINUTE_MS);
        if minute == 10 {
            world.crash(0);
            world.start(0);
        }
        world.settle(0);
        assert_eq!(outputs(&world), before, "ingress is down: nothing fires");
    }
    world
}

/// What Meta sends again then, in every order, with a kill before and after each commit.
#[test]
fn an_outage_with_retries_in_any_order_fires_no_false_fallback() {
    let retries = [
        code(BEFORE, "delivered", 2),
        code(DURING, "sent", 300),
        code(DURING, "delivered", 301),
        code(DURING, "read", 302),
    ];
    for order in orders(retries.len()) {
        let mut world = outage();
        for (n, at) in order.iter().enumerate() {
            listen(&mut world, 15 * SECOND_MS);
            append_webhook(&world.log, &retries[*at]);
            world.run_to(0, if n % 2 == 0 { "commit" } else { "write_store" });
            world.crash(0);
            world.start_and_settle(0);
        }
        listen(&mut world, 30 * MINUTE_MS);
        // Nor an offer of another code: by now it would come too late.
        assert_eq!(actions(&world), [Value::Null; 0], "{order:?}");
        compare(&mut world);
    }
}

/// The null controls: what is really lost is told, and without the outage the fallback comes.
#[test]
fn what_an_outage_really_lost_is_told_once() {
    let mut world = outage();
    listen(&mut world, 30 * MINUTE_MS);
    let [action] = actions(&world).try_into().unwrap();
    assert_eq!((&action["kind"], &action["wamid"]), (&json!("fallback_expired"), &json!(BEFORE)));
    compare(&mut world);

    let mut world = World::single();
    world.start_and_settle(0);
    append_webhook(&world.log, &code(BEFORE, "sent", 0));
    listen(&mut world, 10 * MINUTE_MS);
    assert!(actions(&world).is_empty());
    listen(&mut world, 2 * MINUTE_MS);
    let [action] = actions(&world).try_into().unwrap();
    assert_eq!((&action["kind"], &action["wamid"]), (&json!("sms_fallback"), &json!(BEFORE)));
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for _ in 0..count {
        let longer = |order: &Vec<usize>| {
            let rest = (0..count).filter(|at| !order.contains(at));
            rest.map(|at| [order.as_slice(), &[at]].concat()).collect::<Vec<_>>()
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    orders
}
