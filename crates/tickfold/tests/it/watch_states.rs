//! Watches of states, actions and alerts on Kafka with two processors, by `tickfold watch`: the owner of what they
//! watch is killed while they are served by the other node, and then the node that serves them is killed.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tickfold_core::records::Topic;

use crate::kafka_roles::{Cluster, account_in, share};
use crate::standing::told;
use crate::support::{NUMBER, Node, PARTY, base, eventually, messages_of, say, status_body_of};
use crate::watch::spawn_watch;

/// A watch as somebody runs it: killed and started again, it goes on by the file with its token.
struct Watched {
    args: Vec<String>,
    file: PathBuf,
    lines: Arc<Mutex<Vec<Value>>>,
    child: Option<Child>,
}

impl Watched {
    fn new(cluster: &Cluster, args: &[&str]) -> Self {
        let file = cluster.root.path().join(format!("{}.token", args[0]));
        let args = args.iter().map(ToString::to_string).collect();
        Self { args, file, lines: Arc::default(), child: None }
    }

    /// Starts it at this node, or starts it again there.
    fn start(&mut self, node: &Node) {
        self.kill();
        let mut child = spawn_watch(node, &self.args, &self.file);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::clone(&self.lines);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        self.child = Some(child);
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// What was told under this word, in order.
    fn told(&self, word: &str) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter_map(|line| line.get(word).cloned()).collect()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The states that are watched, by their words.
type States = BTreeMap<&'static str, Value>;

/// All kinds of watches, by their words.
struct All {
    states: BTreeMap<&'static str, (Watched, Vec<String>)>,
    records: BTreeMap<&'static str, (Watched, Topic)>,
}

impl All {
    fn new(cluster: &Cluster, waba: &str) -> Self {
        let states = [
            ("conversation", vec!["conversation", NUMBER, PARTY]),
            ("number", vec!["number", NUMBER]),
            ("account", vec!["account", waba]),
        ];
        let states = states.map(|(word, args)| {
            let get = std::iter::once(&"get").chain(&args).map(ToString::to_string).collect();
            (word, (Watched::new(cluster, &args), get))
        });
        let records = [("action", Topic::Action, "actions"), ("alert", Topic::Alert, "alerts")];
        let records = records.map(|(word, topic, name)| {
            let args = [name, "--waba", waba, "--from-beginning"];
            (word, (Watched::new(cluster, &args), topic))
        });
        Self { states: states.into(), records: records.into() }
    }

    fn start(&mut self, node: &Node) {
        self.states.values_mut().for_each(|(watched, _)| watched.start(node));
        self.records.values_mut().for_each(|(watched, _)| watched.start(node));
    }

    /// Waits until each was told what there is now, which is not what was before, and checks that nothing of it came
    /// twice or out of order. What the states are.
    fn caught_up(&self, node: &Node, waba: &str, before: &States) -> States {
        let state = |word: &'static str| {
            let (watched, get) = &self.states[word];
            let get: Vec<_> = get.iter().map(String::as_str).collect();
            let told = eventually(&format!("the watch of the {word} shows what is"), || {
                let told = plain(watched.told(word).pop()?);
                let got = node.cli(&[get.as_slice(), &["-o", "json"]].concat());
                let got = plain(serde_json::from_str(&got.stdout).ok()?);
                (told == got && before.get(word) != Some(&told)).then_some(told)
            });
            let revisions = watched.told(word);
            let revisions: Vec<_> = revisions.iter().map(|one| one["revision"].as_u64()).collect();
            assert!(revisions.is_sorted(), "{word}: {revisions:?}");
            (word, told)
        };
        let states = self.states.keys().copied().map(state).collect();
        for (word, (watched, topic)) in &self.records {
            let of_account = |records: Vec<Value>| -> Vec<String> {
                let own = records.iter().filter(|one| one["waba_id"] == waba);
                own.map(|one| one["event_id"].as_str().unwrap().to_owned()).collect()
            };
            let wanted = of_account(node.values(*topic));
            assert!(!wanted.is_empty(), "no {word} of {waba}");
            eventually(&format!("each {word} is told"), || {
                let mut told = watched.told(word);
                // Killed behind a line and before its token, the command prints that line again.
                told.dedup();
                (of_account(told) == wanted).then_some(())
            });
        }
        states
    }
}

/// A state without how and when it was asked for.
fn plain(mut state: Value) -> Value {
    let members = state.as_object_mut().unwrap();
    for name in ["as_of", "messages", "next_page_token"] {
        members.remove(name);
    }
    state
}

/// Something that changes each of the states, and asks for an action and an alert.
fn post(ingress: &Node, waba: &str, turn: i64) {
    let time = base() + 10 * turn;
    ingress.post(status_body_of(waba, &format!("wamid.S{turn}"), "failed", 10 * turn));
    let text = format!(
        r#""messages":[{{"id":"wamid.IN{turn}","from":"{PARTY}","timestamp":"{time}","type":"text","text":{{"body":"hello"}}}}]"#
    );
    ingress.post(messages_of(waba, &text));
    let (quality, decision) = match turn % 2 {
        0 => ("FLAGGED", "REJECTED"),
        _ => ("UNFLAGGED", "APPROVED"),
    };
    let quality = format!(
        r#""display_phone_number":"15550100001","event":"{quality}","current_limit":"TIER_{turn}K""#
    );
    ingress.post(told(waba, "phone_number_quality_update", time, &quality));
    let decision = format!(r#""decision":"{decision}""#);
    ingress.post(told(waba, "account_review_update", time, &decision));
}

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn kafka_states_actions_and_alerts_are_told_on_when_their_owner_changes() {
    let cluster = Cluster::new(85);
    let ingress = cluster.node("ingress", "ingress");
    let [server, owner] = ["first", "second"].map(|name| cluster.node("processor", name));
    let shares = share(&[&server, &owner]);
    let waba = account_in(*shares[1].first().unwrap());
    let mut all = All::new(&cluster, &waba);
    all.start(&server);
    post(&ingress, &waba, 0);
    let states = all.caught_up(&server, &waba, &States::new());

    // The streams stay open, and go on by the new owner, which is the node that serves them.
    // It dies over what was posted just now.
    post(&ingress, &waba, 1);
    owner.kill9();
    let states = all.caught_up(&server, &waba, &states);

    // And then that one goes, and another node knows their tokens.
    let other = cluster.node("processor", "second");
    share(&[&server, &other]);
    post(&ingress, &waba, 2);
    let states = all.caught_up(&server, &waba, &states);
    post(&ingress, &waba, 3);
    server.kill9();
    all.start(&other);
    all.caught_up(&other, &waba, &states);
    let lines: usize =
        all.states.values().map(|(watched, _)| watched.lines.lock().unwrap().len()).sum();
    say(&format!("states over two changes of owner on kafka: {lines} lines"));
    drop(all);
    assert_eq!(ingress.cli(&["stop"]).code, Some(0));
    other.stop();
}
