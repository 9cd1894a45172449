//! Rules that change while the node runs and is killed with SIGKILL at its fail points, under
//! webhooks that fail, miss their deadline and are delivered late; then the state is deleted and
//! folded again. No action is told twice, and the outputs are the golden fold, byte for byte.
//!
//! Each kill proves that it landed by the file that the fail point writes. The same run without
//! kills is the null control; with a planted bug, which emits again what it folds again, the same
//! look finds actions twice.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;

use serde_json::{Value, json};
use tempfile::TempDir;
use tickfold_core::records::Topic;
use tickfold_core::rules::Rules;

use crate::flows::{Log, LogClock, Stage, price, to};
use crate::support::{Node, Rng, SIGKILL, assert_golden, eventually, is_soak, messages_of, say};

const WABAS: [&str; 3] = ["300000000000041", "300000000000042", "300000000000043"];
const POINTS: [&str; 4] =
    ["after_append", "before_commit", "after_commit_before_store", "after_store"];
/// Posts of a life.
const POSTS: usize = 40;

/// A node over its lives.
struct Run {
    root: TempDir,
    log: Log,
    rng: Rng,
    /// Version of the rules applied last, and the document.
    rules: Value,
    /// Bodies that were not answered 200: Meta sends them again.
    owed: Vec<String>,
    sent: Vec<String>,
    bug: Option<&'static str>,
    landed: usize,
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn flows_survive_kills_while_rules_change() {
    let times = if is_soak() { 20 } else { 2 };
    let mut run = Run::new(Log::Embedded(LogClock::new(20)), 61);
    run.lives(times);
    assert_eq!(run.landed, times * POINTS.len());
    run.look();
    run.replay();
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn flows_survive_kills_while_rules_change_on_kafka() {
    let times = if is_soak() { 5 } else { 1 };
    let mut run = Run::new(Log::on_kafka("flows-crash"), 62);
    run.lives(times);
    assert_eq!(run.landed, times * POINTS.len());
    run.look();
    run.replay();
}

/// Without a kill the same holds, and with the planted bug the look sees actions twice.
#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn flows_without_kills_hold_and_a_refold_that_emits_is_seen() {
    let mut run = Run::new(Log::Embedded(LogClock::new(20)), 63);
    for _ in 0..POINTS.len() {
        let node = run.node();
        run.post(&node);
        node.stop();
    }
    run.look();
    assert_eq!(run.landed, 0);

    let mut run = Run::new(Log::Embedded(LogClock::new(20)), 64);
    run.bug = Some("refold_emits");
    for _ in 0..20 {
        run.life("after_commit_before_store", 30);
        let node = run.node();
        let (actions, ids) = told(&node);
        node.kill9();
        if actions > ids {
            say(&format!("with a refold that emits: {actions} actions of {ids} ids"));
            return;
        }
    }
    panic!("the planted bug is not seen");
}

impl Run {
    fn new(log: Log, seed: u64) -> Self {
        let rules = serde_json::from_slice(&Rules::built_in().canonical()).unwrap();
        let root = TempDir::new().unwrap();
        let (owed, sent) = (Vec::new(), Vec::new());
        Self { root, log, rng: Rng(seed), rules, owed, sent, bug: None, landed: 0 }
    }

    /// A life per fail point and time, each ended by it.
    fn lives(&mut self, times: usize) {
        for point in POINTS.repeat(times) {
            let before = self.landed;
            // How often a life reaches the place depends on the machine: the more it is missed, the
            // earlier it comes.
            for within in [30, 15, 8, 4, 2, 1] {
                self.life(point, within);
                if self.landed > before {
                    break;
                }
            }
        }
    }

    fn spawn(&self, point: Option<String>) -> Option<Node> {
        let mut command = self.log.command(self.root.path());
        if let Some(point) = point {
            command.env("TICKFOLD_FAIL_POINT", point);
            command.env("TICKFOLD_FAIL_POINT_FILE", self.proof());
        }
        if let Some(bug) = self.bug {
            command.env("TICKFOLD_BUG", bug);
        }
        // One that has much to fold may reach its fail point before it is up.
        match Node::spawn(self.root.path(), command) {
            Ok(node) => Some(node),
            Err(ended) => {
                // A broker that is busy making topics may not lead all of them yet, and `up` says so
                // and ends: whoever supervises it starts it again.
                let again = ended.stderr.contains("NotLeaderForPartition");
                assert!(ended.code.is_none() || again, "{}", ended.stderr);
                None
            }
        }
    }

    /// A node without a fail point.
    fn node(&self) -> Node {
        eventually("the node is up", || self.spawn(None))
    }

    fn proof(&self) -> std::path::PathBuf {
        self.root.path().join("fail-point")
    }

    /// Webhooks and new rules until the node comes to the fail point for a time of up to `within`
    /// and kills itself, or did not come there and is killed.
    fn life(&mut self, point: &str, within: usize) {
        let _ = std::fs::remove_file(self.proof());
        let reached = 1 + self.rng.below(within);
        if let Some(mut node) = self.spawn(Some(format!("{point}:{reached}"))) {
            self.post(&node);
            if !node.has_ended() && !self.proof().exists() {
                node.child.kill().unwrap();
            }
            let status = node.child.wait().unwrap();
            assert_eq!(status.signal(), Some(SIGKILL), "{}", node.log());
        }
        let named = std::fs::read_to_string(self.proof()).unwrap_or_default();
        self.landed += usize::from(named == point);
    }

    /// New rules between webhooks; what is not answered is owed.
    fn post(&mut self, node: &Node) {
        let mut http = node.webhooks();
        // Early: most fail points are reached soon.
        let apply_at = self.rng.below(3);
        for n in 0..POSTS {
            if n == apply_at {
                self.apply(node);
            }
            let body = match self.owed.pop() {
                Some(body) => body,
                None if !self.sent.is_empty() && self.rng.below(4) == 0 => {
                    self.sent[self.rng.below(self.sent.len())].clone()
                }
                None => self.body(),
            };
            let answer = http.post_signed(body.as_bytes());
            match answer.is_ok_and(|answer| answer.status == 200) {
                true => self.sent.push(body),
                false => self.owed.push(body),
            }
        }
    }

    /// The next version; a node that dies meanwhile may have it on some partitions, and gets it
    /// again or a later one in its next life.
    fn apply(&mut self, node: &Node) {
        let mut pick = |of: &[&'static str]| of[self.rng.below(of.len())];
        let rules = &mut self.rules;
        rules["version"] = json!(rules["version"].as_u64().unwrap() + 1);
        rules["deadlines"][0]["ttl"] = json!(pick(&["30s", "1m", "10m"]));
        rules["codes"][0]["actions"] = json!([{"do": pick(&["sms_fallback", "alert"])}]);
        rules["fallbacks"][0]["valid_for"] = json!("12h");
        rules["inbound"] = json!([
            {"when": {"keyword": "agent"}, "then": {"do": "route", "queue": pick(&["a", "b"])}},
        ]);
        let file = self.root.path().join("rules.json");
        std::fs::write(&file, rules.to_string()).unwrap();
        let _ = node.cli(&["rules", "apply", file.to_str().unwrap()]);
    }

    fn body(&mut self) -> String {
        let waba = WABAS[self.rng.below(WABAS.len())];
        let n = self.rng.below(60);
        let ago_s = [5, 60, 640][self.rng.below(3)];
        let time = self.log.now_ms() / 1_000 - ago_s;
        let wamid = format!("wamid.{waba}.{n}");
        let members = to("447700900701") + &price("authentication", "regular");
        let status = |word: &str, rest: &str| {
            format!(
                r#""statuses":[{{"id":"{wamid}","status":"{word}","timestamp":"{time}"{members}{rest}}}]"#
            )
        };
        let code = [131_026, 131_000, 131_042, 7][self.rng.below(4)];
        let value = match self.rng.below(8) {
            0..=2 => status("sent", ""),
            3 => status("delivered", ""),
            4 => status("read", ""),
            5 => format!(
                r#""messages":[{{"id":"wamid.{waba}.in{n}","from":"447700900702","timestamp":"{time}","type":"text","text":{{"body":"agent"}}}}]"#
            ),
            _ => status("failed", &format!(r#","errors":[{{"code":{code}}}]"#)),
        };
        messages_of(waba, &value)
    }

    /// The last life: everything owed is posted, and a minute of log time passes, so that deadlines
    /// come due.
    fn look(&mut self) {
        let node = self.node();
        self.post(&node);
        for body in std::mem::take(&mut self.owed) {
            node.post(body);
        }
        let stage = Stage { log: self.log.clone(), node };
        let kinds = stage.eventually("a fallback after its deadline", |stage| {
            let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
            for action in stage.values(Topic::Action) {
                let of_deadline =
                    action["kind"] == "sms_fallback" && action["error_code"].is_null();
                let kind = if of_deadline { "deadline" } else { action["kind"].as_str().unwrap() };
                *kinds.entry(kind.to_owned()).or_default() += 1;
            }
            kinds.contains_key("deadline").then_some(kinds)
        });
        let golden = assert_golden(&stage.node);
        let (actions, ids) = told(&stage.node);
        assert_eq!(actions, ids, "an action is told twice");
        let versions: BTreeSet<_> = stage
            .values(Topic::Action)
            .iter()
            .map(|action| action["rules_version"].as_u64().unwrap())
            .collect();
        assert!(versions.len() > 1, "under one version of the rules only: {versions:?}");
        say(&format!(
            "{}: {} kills, {} outputs, rules {versions:?}, {kinds:?}",
            self.log.name(),
            self.landed,
            golden.count()
        ));
        stage.node.stop();
    }

    /// The state is deleted: it is folded again from raw, and nothing is told again.
    fn replay(&self) {
        std::fs::remove_dir_all(self.root.path().join("data/state")).unwrap();
        let node = self.node();
        assert_golden(&node);
        let (actions, ids) = told(&node);
        assert_eq!(actions, ids, "an action is told twice");
        assert!(actions > 0);
        node.stop();
    }
}

/// How many actions there are, and how many ids.
fn told(node: &Node) -> (usize, usize) {
    let actions = node.values(Topic::Action);
    let ids: BTreeSet<_> = actions.iter().map(|action| action["action_id"].to_string()).collect();
    (actions.len(), ids.len())
}
