//! The events of the demonstration, and what has to come of them.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use tickfold_core::signature::sign;
use tickfold_workload::Webhook;
use tokio::process::Child;
use tokio::time::Instant;

use super::node::{Node, SECRET};
use super::say;
use crate::cli::Demo;
use crate::load::{Outcome, Pool, Target};
use crate::node::now;

const ACCOUNT: &str = "102290129340398";
const NUMBER: &str = "106540352242922";
const TEMPLATE: &str = "594425479261596";

/// How long to wait for what follows from a webhook.
const PATIENCE: Duration = Duration::from_secs(20);

/// `tickfold load` under way.
pub(super) struct Burst(Child);

/// What it reported.
pub(super) struct Report(Value);

impl Burst {
    pub(super) fn begin(node: &Node, demo: &Demo) -> Result<Self> {
        let (rate, duration) = (demo.rate.to_string(), format!("{}s", demo.duration.as_secs()));
        let url = node.url();
        let mut command = node.command(&["load", "--verify", "--verify-timeout", "60s"]);
        command.args(["-o", "json", "--url", &url, "--rate", &rate, "--duration", &duration]);
        command.args(["--disorder", "0.33", "--duplicates", "0.1", "--batches", "0.05"]);
        command.stdout(Stdio::piped());
        Ok(Self(command.spawn().context("start tickfold load")?))
    }

    /// Waits for its end. It counts webhooks that the dead node did not answer as failures, as they
    /// are; here its verification is asked for.
    pub(super) async fn end(self) -> Result<Report> {
        let output = self.0.wait_with_output().await.context("wait for tickfold load")?;
        let report = serde_json::from_slice(&output.stdout);
        Ok(Report(report.context("read the report of tickfold load")?))
    }
}

impl Report {
    fn number(&self, pointer: &str) -> u64 {
        self.0.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
    }

    /// Webhooks that had an answer other than 200, or none.
    fn unanswered(&self) -> u64 {
        self.number("/sent") - self.number("/accepted").min(self.number("/sent"))
    }

    /// Facts that had to be there.
    fn facts(&self) -> u64 {
        self.number("/verify/facts")
    }

    pub(super) fn is_right(&self) -> bool {
        self.0.pointer("/verify/ok") == Some(&Value::Bool(true)) && self.number("/accepted") > 0
    }

    pub(super) fn text(&self) -> String {
        let of = |name: &str| self.number(&format!("/verify/{name}"));
        format!(
            "  {} answered 200; {} met no node, and Meta would send them again\n  asked over gRPC: {} \
             facts of {} messages, {} conversations, {} templates: {} missing, {} twice, {} unexplained",
            self.number("/accepted"),
            self.unanswered(),
            self.facts(),
            of("messages"),
            of("conversations"),
            of("templates"),
            of("missing"),
            of("twice"),
            of("unexplained"),
        )
    }
}

/// Posts a change of an account, signed, and wants a 200.
async fn post(node: &Node, field: &str, time_s: i64, value: Value) -> Result<()> {
    let body = json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": ACCOUNT, "time": time_s, "changes": [{ "field": field, "value": value }] }],
    });
    let body = Bytes::from(body.to_string());
    let signature = Some(sign(SECRET.as_bytes(), &body));
    let webhook = Webhook { body, signature, forgery: None, facts: [].into() };
    let pool = Pool::new(Target::new(&node.url(), None)?, 1);
    let outcome = pool.post(&webhook, Instant::now() + PATIENCE).await;
    ensure!(
        matches!(outcome, Outcome::Answered { status: 200, .. }),
        "a webhook was not taken: {outcome:?}"
    );
    Ok(())
}

/// A template that Meta pauses, which halts it.
pub(super) async fn pause_template(node: &Node) -> Result<()> {
    let value = json!({
        "event": "PAUSED",
        "message_template_id": TEMPLATE.parse::<u64>().unwrap_or_default(),
        "message_template_name": "order_update",
        "message_template_language": "en_US",
        "reason": "NONE",
        "other_info": { "title": "FIRST_PAUSE", "description": "Low quality: paused for 3 hours." },
    });
    post(node, "message_template_status_update", now().as_millis() / 1_000, value).await?;
    let action = action(node, "halt_template", TEMPLATE).await?;
    node.show(&["get", "template", ACCOUNT, TEMPLATE, "en_US"]).await?;
    tell(&action)
}

/// A message that Meta cannot deliver, which asks for an SMS once.
pub(super) async fn fail_message(node: &Node) -> Result<()> {
    let wamid = "wamid.ZGVtby1vdHAtMTMxMDI2";
    let time_s = now().as_millis() / 1_000;
    let status = |status: &str, rest: Value| {
        let mut members = json!({
            "id": wamid, "status": status, "timestamp": time_s.to_string(),
            "recipient_id": "16505551234", "biz_opaque_callback_data": "intent=otp-4711",
        });
        if let (Some(members), Value::Object(rest)) = (members.as_object_mut(), rest) {
            members.extend(rest);
        }
        json!({
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": "15550783881", "phone_number_id": NUMBER },
            "statuses": [members],
        })
    };
    let priced = json!({ "pricing": {
        "billable": true, "pricing_model": "PMP", "type": "regular", "category": "authentication",
    } });
    let failed = json!({ "errors": [{
        "code": 131_026, "title": "Message undeliverable",
        "error_data": { "details": "Message Undeliverable." },
    }] });
    // Twice, and in the wrong order: it is asked for once.
    post(node, "messages", time_s, status("failed", failed.clone())).await?;
    post(node, "messages", time_s, status("sent", priced)).await?;
    post(node, "messages", time_s, status("failed", failed)).await?;
    let action = action(node, "sms_fallback", wamid).await?;
    node.show(&["get", "message", wamid]).await?;
    tell(&action)
}

fn tell(action: &Value) -> Result<()> {
    let of = |name: &str| action.get(name).and_then(Value::as_str).unwrap_or("-");
    let until = of("not_after");
    say(&format!("  action {} {}, until {until}", of("kind"), of("action_id")))
}

/// Waits for the action that names this.
async fn action(node: &Node, kind: &str, names: &str) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let actions = records(node, "wa.action.v1").await?;
        let found = actions.into_iter().find(|action| {
            action.get("kind").and_then(Value::as_str) == Some(kind)
                && action.to_string().contains(names)
        });
        if let Some(action) = found {
            return Ok(action);
        }
        ensure!(Instant::now() < deadline, "no action {kind} came of it");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The values of a topic, from its beginning to its end.
async fn records(node: &Node, topic: &str) -> Result<Vec<Value>> {
    let tail = ["tail", topic, "--from-beginning", "--until-end", "-o", "jsonl"];
    let (status, text) = node.ask(&tail).await?;
    ensure!(status.success(), "tickfold {} ended with {status}", tail.join(" "));
    let values = text.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).context("read a record")?;
        Ok(record.get_mut("value").map(Value::take).unwrap_or_default())
    });
    values.collect()
}

/// What the topics say.
pub(super) struct Counts {
    facts: usize,
    distinct_facts: usize,
    charges: usize,
    distinct_charges: usize,
    actions: usize,
    distinct_actions: usize,
}

impl Counts {
    pub(super) async fn of(node: &Node) -> Result<Self> {
        let transitions = records(node, "wa.transition.v1").await?;
        let of_message = |fact: &&Value| fact.get("entity") == Some(&Value::from("message"));
        let facts: Vec<_> = transitions.iter().filter(of_message).collect();
        // A fact of a message is its key, its word, and the error code where it is one.
        let named = |fact: &&Value| {
            ["key", "to", "error_code", "cause_wamid"]
                .map(|name| fact.get(name).map(Value::to_string))
        };
        let distinct_facts = facts.iter().map(named).collect::<BTreeSet<_>>().len();
        let charges = records(node, "wa.charge.v1").await?;
        let actions = records(node, "wa.action.v1").await?;
        let distinct = |records: &[Value], names: &[&str]| {
            let name = |record: &Value| -> Vec<_> {
                names.iter().map(|name| record.get(*name).map(Value::to_string)).collect()
            };
            records.iter().map(name).collect::<BTreeSet<_>>().len()
        };
        Ok(Self {
            facts: facts.len(),
            distinct_facts,
            distinct_charges: distinct(&charges, &["charge_id", "sequence"]),
            charges: charges.len(),
            distinct_actions: distinct(&actions, &["action_id"]),
            actions: actions.len(),
        })
    }

    pub(super) fn text(&self, burst: &Report) -> String {
        format!(
            "  {} facts of messages, each once; {} of them were accepted in the burst and had to be \
             there\n  {} charges, {} actions, each once",
            self.facts,
            burst.facts(),
            self.charges,
            self.actions
        )
    }

    /// Nothing twice, and nothing less than what was accepted: the burst and the two facts after it.
    pub(super) fn check(&self, burst: &Report) -> Result<()> {
        ensure!(
            self.facts == self.distinct_facts,
            "{} facts came twice",
            self.facts - self.distinct_facts
        );
        ensure!(self.charges == self.distinct_charges, "a charge came twice");
        ensure!(self.actions == self.distinct_actions, "an action came twice");
        let least = burst.facts() + 2;
        ensure!(self.facts as u64 >= least, "{} facts, and {least} were accepted", self.facts);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Counts {
        Counts {
            facts: 12,
            distinct_facts: 12,
            charges: 3,
            distinct_charges: 3,
            actions: 2,
            distinct_actions: 2,
        }
    }

    #[test]
    fn counts_that_do_not_agree_are_told() {
        let burst = Report(json!({ "verify": { "ok": true, "facts": 10 }, "accepted": 5 }));
        assert!(burst.is_right());
        counts().check(&burst).unwrap();
        for (wrong, why) in [
            (Counts { distinct_facts: 11, ..counts() }, "1 facts came twice"),
            (Counts { distinct_charges: 2, ..counts() }, "a charge came twice"),
            (Counts { distinct_actions: 1, ..counts() }, "an action came twice"),
            (
                Counts { facts: 11, distinct_facts: 11, ..counts() },
                "11 facts, and 12 were accepted",
            ),
        ] {
            assert_eq!(wrong.check(&burst).unwrap_err().to_string(), why);
        }
        let none = Report(json!({ "verify": { "ok": true, "facts": 0 }, "accepted": 0 }));
        assert!(!none.is_right());
        assert!(!Report(json!({ "verify": { "ok": false }, "accepted": 5 })).is_right());
    }
}
