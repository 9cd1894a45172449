//! The scenario of `clients/`, by grpcurl: from the command line alone, without stubs or files, by what a node's
//! reflection tells.

use std::io::BufReader;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::de::IoRead;
use serde_json::{Deserializer, StreamDeserializer, Value, json};

use crate::support::{NUMBER, PARTY, WABA, run};

/// Messages of a page.
const PAGE: usize = 2;
/// A watch that tells nothing for so long fails the test.
const LIMIT_S: &str = "60";
/// grpcurl ends with the code of the call above this.
const CODES: i64 = 64;

/// The lines that the scenarios in Python and TypeScript print. `sent` lets Meta say that a message which nobody
/// knew was sent.
pub(crate) fn scenario(
    program: &Path,
    address: &str,
    untold: &str,
    wamids: &[&str],
    sent: impl FnOnce(),
) -> Vec<Value> {
    let node = Grpcurl { program, address };
    let mut lines = Vec::new();
    for wamid in wamids {
        let message = &node.query("GetMessage", &json!({ "wamid": wamid }))["message"];
        let numbers = [&message["revision"], &message["errorCode"]].map(number);
        lines.push(json!(["message", message["stateText"], numbers[0], numbers[1]]));
    }
    let asked = [wamids, &["wamid.NOBODY"]].concat();
    let found = node.query("LookupMessages", &json!({ "wamids": asked }));
    let mut known = strings(&found["found"], "wamid");
    known.sort();
    lines.push(json!(["lookup", known, found["missing"]]));

    let (mut listed, mut token) = (Vec::new(), json!(""));
    while !token.is_null() {
        let request = json!({
            "phoneNumberId": NUMBER, "party": PARTY, "pageSize": PAGE, "pageToken": token,
        });
        let mut page = node.query("ListMessages", &request);
        listed.push(strings(&page["messages"], "wamid"));
        token = page["nextPageToken"].take();
    }
    lines.push(json!(["list", listed]));
    let request = json!({ "phoneNumberId": NUMBER, "party": PARTY });
    let of = &node.query("GetConversation", &request)["conversation"];
    lines.push(json!(["conversation", of["phoneNumberId"], number(&of["revision"])]));

    for (what, request) in [("unknown", json!({ "wamid": "wamid.NOBODY" })), ("empty", json!({}))] {
        let (code, reasons) = node.refused("GetMessage", &request);
        lines.push(json!([what, code, reasons]));
    }

    let mut watch =
        node.watch("WatchTransitions", &json!({ "wabaId": WABA, "fromBeginning": true }));
    let told = watch.until_mark().into_iter().map(|mut one| one["transition"].take());
    let told = told.filter(|one| one["entity"] == "message");
    let told: Vec<_> = told.map(|one| json!([one["wamid"], one["to"], one["state"]])).collect();
    lines.push(json!(["transitions", told]));

    let mut request = json!({ "wamids": [wamids[0], untold] });
    let mut watch = node.watch("WatchMessages", &request);
    let told = watch.until_mark();
    let (mark, before) = told.split_last().unwrap();
    let mut words: Vec<_> = before.iter().map(word).collect();
    words.sort();
    lines.push(json!(["watch", words, word(mark)]));
    sent();
    lines.push(json!(["delta", word(&watch.next())]));
    drop(watch);
    // As one that had taken in the mark and nothing behind it.
    request["resumeToken"] = mark["resumeToken"].clone();
    let told = node.watch("WatchMessages", &request).until_mark();
    let (mark, before) = told.split_last().unwrap();
    let of_untold = before.iter().filter(|one| one["message"]["wamid"] == untold);
    lines.push(json!(["resumed", of_untold.map(word).collect::<Vec<_>>(), word(mark)]));
    lines
}

/// What a watch of messages says, in a word.
fn word(response: &Value) -> String {
    let said = if response["missing"].is_string() { &json!("missing") } else { &response["mark"] };
    said.as_str().or_else(|| response["message"]["stateText"].as_str()).unwrap().to_owned()
}

fn strings(list: &Value, name: &str) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|one| one[name].as_str().unwrap().to_owned()).collect()
}

/// 64-bit numbers are strings, and 0 is left out.
fn number(value: &Value) -> u64 {
    value.as_str().map_or_else(|| value.as_u64().unwrap_or(0), |text| text.parse().unwrap())
}

/// A node, asked from the command line.
struct Grpcurl<'a> {
    program: &'a Path,
    address: &'a str,
}

impl Grpcurl<'_> {
    fn command(&self, service: &str, method: &str, request: &Value, flags: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.args(["-plaintext", "-max-time", LIMIT_S]).args(flags);
        command.args(["-d", &request.to_string(), self.address]);
        command.arg(format!("tickfold.query.v1.{service}/{method}"));
        command
    }

    fn query(&self, method: &str, request: &Value) -> Value {
        let ended = run(self.command("QueryService", method, request, &[]), b"");
        assert_eq!(ended.code, Some(0), "{method} {request}: {ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// The code of a call that has to fail, and its reasons in clear.
    fn refused(&self, method: &str, request: &Value) -> (i64, Vec<String>) {
        let flags = ["-format-error"];
        let ended = run(self.command("QueryService", method, request, &flags), b"");
        let status: Value = serde_json::from_str(&ended.stderr)
            .unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        let code = status["code"].as_i64().unwrap();
        assert_eq!(ended.code.map(i64::from), Some(CODES + code), "{status}");
        let details = status["details"].as_array().unwrap().iter();
        let infos =
            details.filter(|one| one["@type"] == "type.googleapis.com/google.rpc.ErrorInfo");
        let reasons = infos.map(|one| one["reason"].as_str().unwrap_or_default().to_owned());
        (code, reasons.collect())
    }

    fn watch(&self, method: &str, request: &Value) -> Watch {
        let mut command = self.command("WatchService", method, request, &[]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Watch { child, responses: Deserializer::from_reader(stdout).into_iter() }
    }
}

/// A watch by a process of its own, which goes on until it is dropped.
struct Watch {
    child: Child,
    responses: StreamDeserializer<'static, IoRead<BufReader<ChildStdout>>, Value>,
}

impl Watch {
    fn next(&mut self) -> Value {
        self.responses.next().expect("a watch goes on").unwrap()
    }

    /// What it tells up to its mark, with the mark.
    fn until_mark(&mut self) -> Vec<Value> {
        let mut told = vec![self.next()];
        while told.last().is_some_and(|one| one["mark"].is_null()) {
            told.push(self.next());
        }
        told
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
