//! The command line: each command in each form of output, exit codes, layers of configuration.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tickfold_core::records::Topic;

use crate::support::{
    Ended, NUMBER, Node, PARTY, RAW, SECRET, WABA, assert_golden, base, cli, messages_of, run,
    signature, status_body, tickfold, topic, up, with_secrets,
};

const TEMPLATE: &str = "1590000000000042";

/// A node that has seen one thing of each kind.
fn node_with_one_of_each(root: &Path) -> Node {
    let node = Node::start(root);
    for (word, after_s) in [("read", 3), ("sent", 1), ("failed", 2)] {
        node.post(status_body("wamid.CLI", word, after_s));
    }
    let time = base();
    node.post(messages_of(
        WABA,
        &format!(r#""messages":[{{"id":"wamid.IN","from":"{PARTY}","timestamp":"{time}","type":"text","text":{{"body":"hello"}}}}]"#),
    ));
    node.post(messages_of(
        WABA,
        &format!(r#""statuses":[{{"id":"wamid.CHARGED","status":"delivered","timestamp":"{time}","recipient_id":"447700900777","pricing":{{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}}}}]"#),
    ));
    let management = |field: &str, value: &str| {
        format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{WABA}","time":{time},"changes":[{{"field":"{field}","value":{value}}}]}}]}}"#
        )
    };
    node.post(management(
        "message_template_status_update",
        &format!(
            r#"{{"event":"PAUSED","message_template_id":{TEMPLATE},"message_template_name":"order_update","message_template_language":"en-US","reason":"NONE","other_info":{{"title":"FIRST_PAUSE"}}}}"#
        ),
    ));
    node.post(management(
        "user_preferences",
        &format!(
            r#"{{"user_preferences":[{{"wa_id":"{PARTY}","value":"stop","timestamp":{time}}}]}}"#
        ),
    ));
    node.post(management("account_update", r#"{"event":"ACCOUNT_DELETED"}"#));
    node.post("{");
    assert_golden(&node);
    node
}

fn expect(ended: Ended, code: i32) -> String {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    ended.stdout
}

#[test]
fn get_prints_what_is_known_of_each_kind_of_thing() {
    let dir = TempDir::new().unwrap();
    let node = node_with_one_of_each(dir.path());

    let message = node.cli_json(&["get", "message", "wamid.CLI"]);
    assert_eq!((&message["wamid"], &message["state"]), (&"wamid.CLI".into(), &"read".into()));
    assert_eq!(message["direction"], "outbound");
    for (name, after_s) in [("sent_time", 1), ("failed_time", 2), ("read_time", 3)] {
        let time = tickfold_core::time::Timestamp::from_millis((base() + after_s) * 1_000);
        assert_eq!(message[name], time.to_string(), "{name}");
    }
    for absent in ["delivered_time", "played_time", "pending_time"] {
        assert!(message.get(absent).is_none(), "{absent} is left out");
    }
    assert_eq!(message["error_code"], 131_026);
    assert_eq!(message["errors"][0]["details"], "no WhatsApp");
    let steps = message["history"].as_array().unwrap();
    let steps: Vec<_> = steps.iter().map(|one| (&one["from"], &one["to"], &one["late"])).collect();
    let (read, sent, failed): (Value, Value, Value) =
        ("read".into(), "sent".into(), "failed".into());
    assert_eq!(
        steps,
        [
            (&Value::Null, &read, &Value::Bool(false)),
            (&read, &sent, &Value::Bool(true)),
            (&read, &failed, &Value::Bool(true)),
        ]
    );
    let positions = message["as_of"]["positions"].as_array().unwrap();
    assert!(positions.iter().all(|one| one["partition"].is_u64() && one["offset"].is_u64()));
    assert!(!positions.is_empty());

    // Views hold back personal data.
    let basic = node.cli_json(&["get", "message", "wamid.CLI", "--view", "basic"]);
    assert!(!basic.to_string().contains(PARTY), "{basic}");
    assert!(basic.get("history").is_none() && basic["state"] == "read");
    let full = node.cli_json(&["get", "message", "wamid.CLI", "--view", "full"]);
    assert!(full.get("history").is_none() && full["party"] == PARTY);

    assert_eq!(node.cli_json(&["get", "message", "wamid.IN"])["direction"], "inbound");
    let conversation = node.cli_json(&["get", "conversation", NUMBER, PARTY]);
    assert_eq!(conversation["window_state"], "open");
    assert_eq!(
        (&conversation["inbound_count"], &conversation["outbound_count"]),
        (&1.into(), &1.into())
    );
    // Languages are one whichever way they are written.
    for language in ["en_US", "en-US"] {
        let template = node.cli_json(&["get", "template", WABA, TEMPLATE, language]);
        assert_eq!(
            (&template["status"], &template["name"]),
            (&"PAUSED".into(), &"order_update".into())
        );
    }
    assert_eq!(node.cli_json(&["get", "account", WABA])["state"], "deleted");
    assert_eq!(node.cli_json(&["get", "number", NUMBER])["waba_id"], WABA);

    for what in [
        ["get", "message", "wamid.CLI"].as_slice(),
        &["get", "conversation", NUMBER, PARTY],
        &["get", "template", WABA, TEMPLATE, "en_US"],
        &["get", "account", WABA],
        &["get", "number", NUMBER],
        &["get", "user", WABA, PARTY],
    ] {
        let table = expect(node.cli(what), 0);
        assert!(table.lines().count() > 3 && !table.contains('{'), "{table}");
        assert_eq!(
            expect(node.cli(&[what, &["--output", "table"]].concat()), 0).lines().next(),
            table.lines().next()
        );
        let line = expect(node.cli(&[what, &["-o", "jsonl"]].concat()), 0);
        assert_eq!(line.lines().count(), 1, "{line}");
        let mut json: Value = serde_json::from_str(&line).unwrap();
        let mut pretty = node.cli_json(what);
        for reply in [&mut json, &mut pretty] {
            // The clock moves between two commands.
            reply.as_object_mut().unwrap().remove("as_of").unwrap();
        }
        assert_eq!(json, pretty, "{what:?}");
    }
    for (what, name) in
        [("templates", "template_id"), ("accounts", "waba_id"), ("numbers", "state")]
    {
        let all = node.cli_json(&["list", what]);
        let all = all[what].as_array().unwrap();
        assert!(!all.is_empty() && all[0][name].is_string() && all[0].get("as_of").is_none());
        let lines = expect(node.cli(&["list", what, "-o", "jsonl"]), 0);
        let lines: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(*all, lines, "{what}");
        let table = expect(node.cli(&["list", what]), 0);
        let words = table.lines().next().unwrap();
        assert!(
            table.lines().count() == all.len() && words.contains(all[0][name].as_str().unwrap())
        );
    }
    node.stop();
}

#[test]
fn what_is_not_there_exits_3_and_other_failures_1() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    for what in [
        ["get", "message", "wamid.NOBODY"].as_slice(),
        &["get", "conversation", "1", "2"],
        &["get", "template", "1", "2", "en_US"],
        &["get", "account", "1"],
        &["get", "number", "1"],
        &["get", "user", "1", "2"],
        &["explain", "wamid.NOBODY"],
    ] {
        for output in ["table", "json", "jsonl"] {
            let ended = node.cli(&[what, &["-o", output]].concat());
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{what:?} {output}");
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        }
    }
    let ended = node.cli(&["tail", "wa.nothing.v1", "--until-end"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("wa.nothing.v1"), "{ended:?}");
    let grpc = node.grpc.clone();
    node.stop();
    let ended = cli(&["get", "message", "wamid.X", "--grpc-addr", &grpc]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&grpc) && ended.stderr.contains("tickfold up"), "{ended:?}");
}

#[test]
fn topics_lists_them_all_with_their_kinds_and_ranges() {
    let dir = TempDir::new().unwrap();
    let node = node_with_one_of_each(dir.path());
    let topics = node.cli_json(&["topics"]);
    let topics = topics.as_array().unwrap();
    let name = |one: &Value| one["name"].as_str().unwrap().to_owned();
    let mut wanted: Vec<_> = Topic::ALL.into_iter().map(topic).collect();
    wanted.push(RAW.to_owned());
    wanted.sort();
    assert_eq!(topics.iter().map(name).collect::<Vec<_>>(), wanted);
    for one in topics {
        let table = name(one).ends_with(".state.v1");
        assert_eq!(one["kind"], if table { "table" } else { "stream" }, "{}", name(one));
        let partitions = one["partitions"].as_array().unwrap();
        assert_eq!(partitions.len(), 8);
        let ends = partitions.iter().map(|partition| partition["end_offset"].as_u64().unwrap());
        assert!(ends.sum::<u64>() > 0, "{} has a record", name(one));
        assert!(!one["description"].as_str().unwrap().is_empty());
    }
    assert_eq!(expect(node.cli(&["topics", "-o", "jsonl"]), 0).lines().count(), wanted.len());
    let table = expect(node.cli(&["topics"]), 0);
    assert!(wanted.iter().all(|name| table.contains(name.as_str())), "{table}");
    node.stop();
}

#[test]
fn tail_prints_records_as_they_are_in_every_topic() {
    let dir = TempDir::new().unwrap();
    let node = node_with_one_of_each(dir.path());
    for of in Topic::ALL {
        let records = node.tail(&topic(of));
        assert!(!records.is_empty(), "{}", of.name());
        for record in records {
            let value = record.json();
            assert_eq!(value["source_partition"], record.partition);
            assert_eq!(value["schema_version"], 1);
            assert_eq!(record.headers["ce_id"], value["event_id"].as_str().unwrap());
            assert!(
                record.headers.keys().all(|name| name.starts_with("ce_") || name == "content-type"),
                "{:?}",
                record.headers
            );
            let flat =
                |member: &Value| member.is_string() || member.is_number() || member.is_boolean();
            let members = value.as_object().unwrap();
            assert!(members.values().all(flat), "flat, and what is absent is left out: {value}");
        }
    }
    let raw = node.tail(RAW);
    assert!(raw.iter().all(|record| record.bytes().is_some() && record.text().is_none()));
    assert!(raw.iter().any(|record| record.key_base64.is_some()), "the digest of the unrouted one");

    let all = ["tail", "wa.transition.v1", "--from-beginning", "--until-end"];
    let whole = expect(node.cli(&[&all, ["-o", "jsonl"].as_slice()].concat()), 0);
    let count = whole.lines().count();
    assert!(count >= 4, "{whole}");
    let limited = expect(
        node.cli(&["tail", "wa.transition.v1", "--from-beginning", "--limit", "2", "-o", "jsonl"]),
        0,
    );
    assert_eq!(limited.lines().count(), 2, "ends by itself, without --until-end");
    assert!(whole.starts_with(&limited));
    let table = expect(node.cli(&all), 0);
    assert_eq!(table.lines().count(), count, "{table}");
    assert!(table.contains("wamid.CLI"), "{table}");
    let partition = node.tail("wa.transition.v1")[0].partition;
    for (partition, some) in [(partition, true), ((partition + 1) % 8, false)] {
        let partition = partition.to_string();
        let args = [&all, ["--partition", partition.as_str()].as_slice()].concat();
        assert_eq!(!expect(node.cli(&args), 0).is_empty(), some);
    }
    // From the end there is nothing left until the end.
    assert_eq!(expect(node.cli(&["tail", "wa.transition.v1", "--until-end"]), 0), "");
    node.stop();
}

#[test]
fn sign_prints_the_signature_that_ingress_takes() {
    let body = b"{\"object\": \"any bytes\"}\n";
    let sign = |args: &[&str]| {
        let mut command = tickfold();
        command.arg("sign").args(args);
        with_secrets(&mut command);
        expect(run(command, body), 0)
    };
    assert_eq!(sign(&["--header"]).trim_end(), signature(body));
    assert!(sign(&[]).contains(&signature(body)));
    let mut command = tickfold();
    command.arg("sign");
    let ended = run(command, body);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("TICKFOLD_APP_SECRET"), "{ended:?}");
}

#[test]
fn help_and_version_are_everywhere() {
    let version = expect(cli(&["--version"]), 0);
    assert_eq!(version.trim_end(), format!("tickfold {}", env!("CARGO_PKG_VERSION")));
    for command in [
        [].as_slice(),
        &["up"],
        &["ingress"],
        &["processor"],
        &["stop"],
        &["config"],
        &["get"],
        &["get", "message"],
        &["get", "conversation"],
        &["get", "template"],
        &["get", "account"],
        &["get", "number"],
        &["get", "user"],
        &["list"],
        &["list", "messages"],
        &["list", "templates"],
        &["list", "accounts"],
        &["list", "numbers"],
        &["explain"],
        &["find"],
        &["find", "fbtrace"],
        &["find", "label"],
        &["tail"],
        &["topics"],
        &["load"],
        &["sign"],
    ] {
        for flag in ["--help", "-h"] {
            let help = expect(cli(&[command, &[flag]].concat()), 0);
            assert!(help.contains("Usage: tickfold"), "{help}");
            assert!(!help.to_lowercase().contains("--app-secret"), "no flag takes a secret");
        }
    }
    for usage in [
        ["gett"].as_slice(),
        &[],
        &["get"],
        &["get", "message"],
        &["tail"],
        &["get", "message", "w", "-o", "xml"],
    ] {
        assert_eq!(cli(usage).code, Some(2), "{usage:?}");
    }
}

/// `tickfold config` with this file, environment and flags.
fn config(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Ended {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("tickfold.toml");
    std::fs::write(&path, file).unwrap();
    let mut command = tickfold();
    command.arg("config").arg("--config").arg(&path).args(flags).envs(environment.iter().copied());
    with_secrets(&mut command);
    run(command, b"")
}

#[test]
fn config_prints_the_effective_settings_in_the_order_defaults_file_environment_flags() {
    let setting = |text: &str, name: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} = ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line.split(" = ").nth(1).unwrap().split("  #").next().unwrap().to_owned()
    };
    let file =
        "http_addr = \"127.0.0.1:1111\"\ngrpc_addr = \"127.0.0.1:2222\"\ndata_dir = \"./file\"\n";
    let environment =
        [("TICKFOLD_GRPC_ADDR", "127.0.0.1:3333"), ("TICKFOLD_DATA_DIR", "./environment")];
    let text = expect(config(file, &environment, &["--data-dir", "./flag"]), 0);
    assert_eq!(setting(&text, "admin_addr"), "\"127.0.0.1:9464\"", "a default");
    assert_eq!(setting(&text, "http_addr"), "\"127.0.0.1:1111\"", "file over defaults");
    assert_eq!(setting(&text, "grpc_addr"), "\"127.0.0.1:3333\"", "environment over file");
    assert_eq!(setting(&text, "data_dir"), "\"./flag\"", "flags over all");
    assert_eq!(setting(&text, "partitions"), "0");
    assert!(!text.contains(SECRET) && !text.contains(crate::support::VERIFY_TOKEN), "{text}");

    let empty = expect(config("", &[], &[]), 0);
    assert_eq!(setting(&empty, "http_addr"), "\"127.0.0.1:8080\"");
    assert_eq!(setting(&empty, "grpc_addr"), "\"127.0.0.1:50051\"");
    // What is printed, and the commented defaults, are configuration files again.
    let defaults = expect(cli(&["config", "--defaults"]), 0);
    assert_eq!(
        expect(config(&empty, &[], &[]), 0)
            .replace("  #", "\n#")
            .lines()
            .filter(|line| line.contains(" = "))
            .collect::<Vec<_>>(),
        empty.lines().filter(|line| line.contains(" = ")).collect::<Vec<_>>()
    );
    assert_eq!(config(&defaults, &[], &[]).code, Some(0));
}

#[test]
fn mistakes_in_a_configuration_are_named() {
    for (file, environment, word) in [
        ("no_such_setting = 1", None, "no_such_setting"),
        ("[ingress]\nbody_max = 1", None, "ingress.body_max"),
        ("[ingress]\nbody_deadline = \"soon\"", None, "soon"),
        ("http_addr = \"here\"", None, "http_addr"),
        ("this is no TOML", None, "tickfold.toml"),
        ("", Some(("TICKFOLD_HTTP_ADDR", "elsewhere")), "http_addr"),
        (
            "",
            Some(("TICKFOLD_INGRESS_CONNECTIONS_MAX", "many")),
            "TICKFOLD_INGRESS_CONNECTIONS_MAX",
        ),
    ] {
        let environment: Vec<_> = environment.into_iter().collect();
        let ended = config(file, &environment, &[]);
        assert_eq!(ended.code, Some(1), "{file} {environment:?}: {ended:?}");
        assert!(ended.stderr.contains(word), "no {word:?} in {}", ended.stderr);
    }
    let ended = cli(&["config", "--config", "/nowhere/at/all.toml"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("/nowhere/at/all.toml"), "{ended:?}");
}

/// Standard output goes to a file of the system.
fn printing_to(path: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$0\" \"$@\" >{path}")]).arg(command.get_program());
    shell.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

#[test]
fn an_answer_that_cannot_be_printed_is_a_failure_and_one_that_nobody_reads_is_none() {
    let dir = TempDir::new().unwrap();
    let node = node_with_one_of_each(dir.path());
    let commands = [
        vec!["config", "--defaults"],
        vec!["get", "message", "wamid.CLI", "--grpc-addr", &node.grpc],
        vec!["tail", RAW, "--from-beginning", "--until-end", "--grpc-addr", &node.grpc],
    ];
    for args in commands {
        let mut command = tickfold();
        command.args(&args);
        let full = run(printing_to("/dev/full", &command), b"");
        assert!(full.code == Some(1) && full.stderr.contains("print: "), "{args:?}: {full:?}");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
    }
    // What a command found out is its exit code, whoever reads.
    let mut doctor = tickfold();
    let mut child = doctor.args(["doctor"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1), "there are no secrets");
    node.stop();
}

#[test]
fn a_node_whose_standard_output_is_full_serves_all_the_same() {
    let dir = TempDir::new().unwrap();
    let mut command = printing_to("/dev/full", &up(dir.path()));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let told = log.find(|line| line.contains("standard output does not take"));
    assert!(told.is_some(), "it said so, and did not end");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let rest: Vec<_> = log.collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:#?}");
}

/// A customer chose the name.
#[test]
fn what_customers_write_does_not_command_the_terminal() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let time = base();
    node.post(messages_of(
        WABA,
        &format!(
            r#""contacts":[{{"profile":{{"name":"A\u001b]0;title\u0007\u009b2J\nstate  read"}},"wa_id":"{PARTY}"}}],"messages":[{{"id":"wamid.NAMED","from":"{PARTY}","timestamp":"{time}","type":"text","text":{{"body":"hello"}}}}]"#
        ),
    ));
    assert_golden(&node);
    // On a terminal of its own.
    let on_terminal = |format: &str| {
        let program = tickfold().get_program().to_str().unwrap().to_owned();
        let line =
            format!("{program} get user {WABA} {PARTY} --grpc-addr {} -o {format}", node.grpc);
        let mut terminal = Command::new("script");
        terminal.args(["-qefc", &line, "/dev/null"]);
        run(terminal, b"").stdout.replace("\r\n", "\n")
    };
    let (shown, json) = (on_terminal("table"), on_terminal("json"));
    assert!(shown.contains(r"A\u001b]0;title\u0007\u009b2J\nstate  read"), "{shown:?}");
    let user: Value = serde_json::from_str(&json).unwrap();
    for printed in [&shown, &json] {
        assert!(!printed.contains(|c: char| c.is_control() && c != '\n'), "{printed:?}");
    }
    // Elsewhere it is what it is.
    let exact = node.cli(&["get", "user", WABA, PARTY, "-o", "json"]).stdout;
    assert!(exact.contains('\u{9b}'), "{exact}");
    let without_age = |mut user: Value| {
        user.as_object_mut().unwrap().remove("as_of");
        user
    };
    assert_eq!(without_age(serde_json::from_str(&exact).unwrap()), without_age(user));
    node.stop();
}
