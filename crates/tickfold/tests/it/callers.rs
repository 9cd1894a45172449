//! Callers of a running node: made by the command line, known over TLS, taken back by a reload and by a
//! signal; what is refused to whom, and what of it stands in the log.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use tempfile::TempDir;
use tickfold_core::time::Timestamp;

use crate::support::{
    Ended, Http, Node, RAW, WABA, eventually, messages_of, role_args, run, say, status,
    status_body, tickfold, up, up_args, with_secrets,
};

const ELSE: &str = "215589900000999";

/// Makes a token through the command line, its entry in `tokens.toml`, and keeps it in a file.
pub(crate) fn create(dir: &Path, name: &str, args: &[&str]) -> String {
    let mut command = tickfold();
    let file = dir.join("tokens.toml");
    command.args(["token", "create", "--name", name, "--append", file.to_str().unwrap()]);
    command.args(args);
    let made = run(command, b"");
    assert_eq!(made.code, Some(0), "{made:?}");
    let token = made.stdout.trim_end().to_owned();
    assert!(token.starts_with("tickfold_") && token.len() == 52, "{token}");
    assert!(!std::fs::read_to_string(&file).unwrap().contains(&token));
    std::fs::write(dir.join(name), &made.stdout).unwrap();
    token
}

/// Takes the entry of a name out of the tokens file.
fn take_back(dir: &Path, name: &str) {
    let file = dir.join("tokens.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let entries = text.split("[[token]]").filter(|entry| !entry.trim().is_empty());
    let kept = entries.filter(|entry| !entry.contains(&format!("name = \"{name}\"")));
    let kept: String = kept.map(|entry| format!("[[token]]{entry}")).collect();
    assert_ne!(kept, text);
    std::fs::write(&file, kept).unwrap();
}

pub(crate) fn guarded(dir: &Path) -> Command {
    let mut command = up(dir);
    command.env("TICKFOLD_AUTH_TOKENS_FILE", dir.join("tokens.toml"));
    command
}

fn as_caller(node: &Node, dir: &Path, name: &str, args: &[&str]) -> Ended {
    let mut command = tickfold();
    command.args(args).args(["--grpc-addr", &node.grpc]);
    command.arg("--token-file").arg(dir.join(name));
    run(command, b"")
}

/// A time so many seconds from now.
fn after(seconds: u64) -> Timestamp {
    let then = SystemTime::now() + Duration::from_secs(seconds);
    let ms = then.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    Timestamp::from_millis(ms.try_into().unwrap())
}

/// A watch by the command line that has told something, by flags that say who watches.
fn watching(dir: &Path, grpc: &str, flags: &[&str]) -> Child {
    let mut command = tickfold();
    command.args(["watch", "transitions", "--from-beginning", "-o", "jsonl", "--grpc-addr", grpc]);
    command.args(flags).current_dir(dir);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let line = printed(&mut child);
    assert!(line.contains("sent"), "{flags:?}: {line:?}");
    child
}

/// The next line of a child, and not a byte behind it.
fn printed(child: &mut Child) -> String {
    let mut line = String::new();
    let mut lines = BufReader::with_capacity(1, child.stdout.as_mut().unwrap());
    lines.read_line(&mut line).unwrap();
    line
}

/// Waits until a watch is over for want of a token that counts.
fn ended_for_its_token(mut child: Child) {
    let ended = eventually("the watch ends", || child.try_wait().unwrap());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert!(ended.code() == Some(1) && said.contains("UNAUTHENTICATED"), "{ended:?}: {said}");
}

#[test]
fn callers_are_made_known_and_taken_back_and_no_token_is_logged() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let mut tokens = vec![
        create(dir, "crm", &["--scope", "query", "--waba", WABA]),
        create(dir, "other", &["--scope", "query", "--waba", ELSE]),
        create(dir, "operator", &["--scope", "admin,query,pii.read", "--all-wabas"]),
        create(dir, "short", &["--scope", "admin,pii.read", "--all-wabas"]),
    ];
    let expires = after(18);
    let until = expires.to_string();
    tokens.push(create(dir, "brief", &["--scope", "query", "--all-wabas", "--expires", &until]));
    let file = dir.join("tokens.toml");
    let list = tickfold_ls(&file);
    assert_eq!(list.code, Some(0), "{list:?}");
    assert!(list.stdout.contains("operator") && list.stdout.contains(ELSE), "{}", list.stdout);
    let mut command = guarded(dir);
    command.env("TICKFOLD_TELEMETRY_LOG", "trace");
    let node = Node::spawn(dir, command).unwrap_or_else(|ended| panic!("{ended:?}"));
    node.post(messages_of(WABA, &format!(r#""statuses":[{}]"#, status("wamid.C", "sent", 1))));

    let basic = ["get", "message", "wamid.C", "--view", "basic"];
    let get = |name: &str| as_caller(&node, dir, name, &basic);
    let told =
        eventually("the message is there", || (get("crm").code == Some(0)).then(|| get("crm")));
    assert!(told.stdout.contains("wamid.C"), "{told:?}");
    let brief = watching(dir, &node.grpc, &["--token-file", "brief"]);
    let brief = std::thread::spawn(move || {
        ended_for_its_token(brief);
        after(0)
    });
    let crm = watching(dir, &node.grpc, &["--token-file", "crm"]);
    let nobody = node.cli(&basic);
    assert!(nobody.code == Some(1) && nobody.stderr.contains("UNAUTHENTICATED"), "{nobody:?}");
    assert_eq!(get("other").code, Some(3), "it is not there");
    let full = as_caller(&node, dir, "crm", &["get", "message", "wamid.C", "--view", "full"]);
    assert!(full.code == Some(1) && full.stderr.contains("SCOPE_MISSING"), "{full:?}");
    let refused = as_caller(&node, dir, "crm", &["topics"]);
    assert!(refused.stderr.contains("SCOPE_MISSING"), "{refused:?}");
    assert_eq!(as_caller(&node, dir, "operator", &["topics"]).code, Some(0));
    let unknown = format!("{}x", tokens[0]);
    std::fs::write(dir.join("unknown"), &unknown).unwrap();
    assert!(get("unknown").stderr.contains("UNAUTHENTICATED"));
    tokens.push(unknown);
    // From the environment likewise.
    let mut by_environment = tickfold();
    by_environment.args(basic).args(["--grpc-addr", &node.grpc]);
    by_environment.env("TICKFOLD_TOKEN", &tokens[0]);
    assert_eq!(run(by_environment, b"").code, Some(0));

    // A stream that is open ends when its token is taken back, and so does the next call.
    let mut tail = tickfold();
    tail.args(["tail", RAW, "--from-beginning", "-o", "jsonl", "--grpc-addr", &node.grpc]);
    tail.arg("--token-file").arg(dir.join("short"));
    let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("\"offset\""), "{line}");
    take_back(dir, "short");
    let since = Instant::now();
    let reloaded = as_caller(&node, dir, "operator", &["reload", "-o", "json"]);
    assert!(reloaded.stdout.contains("\"tokens_removed\": [\n    \"short\""), "{reloaded:?}");
    let ended = eventually("the stream ends", || tail.try_wait().unwrap());
    let took = since.elapsed();
    assert_eq!(ended.code(), Some(1));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut tail.stderr.take().unwrap(), &mut said).unwrap();
    assert!(said.contains("UNAUTHENTICATED"), "{said}");
    // Two processes, of which one starts within it.
    assert!(took < Duration::from_secs(1), "{took:?}");
    say(&format!("token taken back → its stream over: {took:?}, the reload command included"));
    take_back(dir, "crm");
    let since = Instant::now();
    node.signal(Signal::HUP);
    ended_for_its_token(crm);
    let took = since.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    say(&format!("token taken back by a signal → its watch over: {took:?}"));
    assert!(get("crm").stderr.contains("UNAUTHENTICATED"));

    // The admin listener: probes and scrapes as ever, the rest by token.
    for (path, name, status) in [
        ("/livez", None, 200),
        ("/readyz", None, 200),
        ("/metrics", None, 200),
        ("/statusz", None, 401),
        ("/configz", None, 401),
        ("/statusz", Some("other"), 403),
        ("/configz", Some("short"), 401),
        ("/statusz", Some("operator"), 200),
        ("/configz", Some("operator"), 200),
    ] {
        let bearer = name.map(|name| {
            format!("Bearer {}", std::fs::read_to_string(dir.join(name)).unwrap().trim_end())
        });
        let headers: Vec<_> =
            bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        let answer = Http::new(&node.admin).send("GET", path, &headers, b"").unwrap();
        assert_eq!(answer.status, status, "{path} {name:?}");
        if path == "/metrics" {
            let line = "tickfold_query_refusals_total{reason=\"SCOPE_MISSING\"} 1";
            assert!(answer.text().contains(line), "{}", answer.text());
        }
    }

    // One line per admin call, refused ones too; none for a query.
    let log = node.log();
    let audit: Vec<_> = log.lines().filter(|line| line.contains("tickfold::audit")).collect();
    let has = |caller: &str, method: &str, code: &str| {
        let caller = format!("caller=\"{caller}\"");
        let has = |line: &&&str| [&*caller, method, code].iter().all(|part| line.contains(part));
        assert_eq!(audit.iter().filter(has).count(), 1, "{caller} {method} {code}: {audit:#?}");
    };
    has("operator", "AdminService/ListTopics", "code=\"OK\"");
    has("operator", "IngressAdminService/Reload", "code=\"OK\"");
    has("short", "AdminService/Tail", "code=\"UNAUTHENTICATED\"");
    has("crm", "AdminService/ListTopics", "code=\"PERMISSION_DENIED\"");
    has("operator", "method=\"statusz\"", "code=\"OK\"");
    has("operator", "method=\"configz\"", "code=\"OK\"");
    has("other", "method=\"statusz\"", "code=\"PERMISSION_DENIED\"");
    assert!(audit.iter().all(|line| line.contains("127.0.0.1:") && !line.contains("QueryService")));
    // One that has its time is over by itself, in the middle of a watch.
    let late = brief.join().unwrap().as_millis() - expires.as_millis();
    assert!((0..5_000).contains(&late), "{late} ms after its end");
    assert!(get("brief").stderr.contains("UNAUTHENTICATED"));
    // At `trace`, and searched for what is known to be there.
    assert!(log.contains("ListTopics"), "the search finds what there is");
    for token in &tokens {
        assert!(!log.contains(token.as_str()), "a token in the log");
        assert!(!log.contains(&token[9..]), "a part of a token in the log");
    }
    node.stop();
}

fn tickfold_ls(file: &Path) -> Ended {
    let mut command = tickfold();
    command.args(["token", "ls", "--file", file.to_str().unwrap()]);
    run(command, b"")
}

#[test]
fn entries_that_would_be_refused_are_not_made() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("tokens.toml");
    let create = |args: &[&str]| {
        let mut command = tickfold();
        command.args(["token", "create", "--append", file.to_str().unwrap()]).args(args);
        run(command, b"")
    };
    let one = ["--name", "a", "--scope", "query", "--all-wabas"];
    assert_eq!(create(&one).code, Some(0));
    for (args, said) in [
        (&one[..], "two tokens a"),
        (&["--name", "b", "--scope", "admin", "--waba", "1"], "every account"),
        (&["--name", "b", "--scope", "everything", "--all-wabas"], "none of query, pii.read"),
        (&["--name", "b b", "--scope", "query", "--all-wabas"], "no name"),
        (&["--name", "b", "--scope", "query"], "--waba"),
        (&["--name", "b", "--scope", "query", "--all-wabas", "--expires", "soon"], "not a time"),
    ] {
        let refused = create(args);
        assert!(refused.code != Some(0) && refused.stderr.contains(said), "{args:?}: {refused:?}");
    }
    let list = tickfold_ls(&file);
    assert_eq!(list.stdout.lines().count(), 2, "{}", list.stdout);
    // One for a certificate has no token, and without a file the entry is printed.
    let mut command = tickfold();
    command.args(["token", "create", "--client-name", "crm.internal"]).args(&one[..]);
    let printed = run(command, b"");
    assert!(printed.stdout.contains("client_name = \"crm.internal\""), "{printed:?}");
    assert!(!printed.stdout.contains("tickfold_") && !printed.stdout.contains("sha256"));
}

/// A node and a client: their files, and their names.
const NAMES: [(&str, &str); 2] = [("node", "node.internal"), ("crm", "crm.internal")];

/// A new CA, with a certificate and key for each: PEM files of that name, and the DNS name in them.
pub(crate) fn certificates(dir: &Path, of: &[(&str, &str)]) {
    // Of one name a library takes the certificate of a node for one that signed itself.
    let named = |params: &mut rcgen::CertificateParams, name: &str| {
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
    };
    let mut params = rcgen::CertificateParams::default();
    named(&mut params, "authority");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    std::fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    for (name, dns) in of {
        let mut params = rcgen::CertificateParams::new(vec![(*dns).to_owned()]).unwrap();
        named(&mut params, dns);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[test]
fn over_tls_a_node_may_be_reached_from_anywhere_by_those_it_knows() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    certificates(dir, &NAMES);
    let entry =
        ["--client-name", "crm.internal", "--scope", "query", "--all-wabas", "--name", "crm"];
    let mut command = tickfold();
    command.args(["token", "create", "--append", dir.join("tokens.toml").to_str().unwrap()]);
    command.args(entry);
    assert_eq!(run(command, b"").code, Some(0));

    let everywhere = |settings: &[(&str, &str)]| {
        let mut args = up_args(dir);
        for flag in ["--grpc-addr", "--admin-addr"] {
            let at = args.iter().position(|arg| arg == flag).unwrap();
            args[at + 1] = "0.0.0.0:0".to_owned();
        }
        let mut command = tickfold();
        command.args(args);
        with_secrets(&mut command);
        for (name, file) in settings {
            let value =
                if *file == "true" { (*file).into() } else { dir.join(file).into_os_string() };
            command.env(format!("TICKFOLD_AUTH_{name}"), value);
        }
        Node::spawn(dir, command)
    };
    let tls = [("TLS_CERT_FILE", "node.pem"), ("TLS_KEY_FILE", "node.key")];
    let tokens = ("TOKENS_FILE", "tokens.toml");
    for (settings, said) in [
        (vec![], "it needs auth.tokens_file"),
        (vec![tokens], "it needs auth.tls_cert_file"),
        (tls.to_vec(), "needs auth.tokens_file"),
        (vec![tokens, tls[0]], "belong together"),
        (vec![tokens, ("TLS_CLIENT_CA_FILE", "ca.pem")], "belong together"),
        (vec![tokens, tls[0], ("TLS_KEY_FILE", "crm.key")], "not the key of the first certificate"),
        (vec![("TOKENS_FILE", "none.toml")], "none.toml"),
    ] {
        let refused = everywhere(&settings).unwrap_err();
        assert_eq!(refused.code, Some(1), "{settings:?}");
        assert!(refused.stderr.contains(said), "{settings:?}: {}", refused.stderr);
    }
    // A proxy that ends TLS is believed.
    everywhere(&[tokens, ("BEHIND_PROXY", "true")]).unwrap().stop();

    let settings = [tokens, tls[0], tls[1], ("TLS_CLIENT_CA_FILE", "ca.pem")];
    let node = everywhere(&settings).unwrap();
    node.post(status_body("wamid.TLS", "sent", 1));
    let address: SocketAddr = node.grpc.parse().unwrap();
    assert!(address.ip().is_unspecified());
    let get = |flags: &[&str]| {
        let mut command = tickfold();
        command.args(["get", "message", "wamid.TLS", "--view", "basic", "--grpc-addr"]);
        command.arg(format!("127.0.0.1:{}", address.port())).args(flags).current_dir(dir);
        run(command, b"")
    };
    let known = [
        "--ca",
        "ca.pem",
        "--server-name",
        "node.internal",
        "--cert",
        "crm.pem",
        "--key",
        "crm.key",
    ];
    eventually("the message is there", || (get(&known).code == Some(0)).then_some(()));
    // Without a certificate, for another name, in plain text.
    assert_eq!(get(&known[..4]).code, Some(1));
    let elsewhere = get(&["--ca", "ca.pem", "--server-name", "other.internal"]);
    assert!(elsewhere.stderr.contains("certificate"), "{elsewhere:?}");
    assert_eq!(get(&[]).code, Some(1));
    // The node's own certificate is nobody's among the callers.
    let mut own = known;
    (own[5], own[7]) = ("node.pem", "node.key");
    assert!(get(&own).stderr.contains("UNAUTHENTICATED"));
    let statusz = Http::new(&node.admin).send("GET", "/statusz", &[], b"").unwrap();
    assert_eq!(statusz.status, 401);
    node.stop();
}

#[test]
fn a_reload_changes_the_certificate_and_the_authority_of_clients_and_open_connections_go_on() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    certificates(dir, &NAMES);
    let mut command = tickfold();
    command.args(["token", "create", "--append", dir.join("tokens.toml").to_str().unwrap()]);
    command.args(["--client-name", "crm.internal", "--scope", "query", "--all-wabas"]);
    command.args(["--name", "crm"]);
    assert_eq!(run(command, b"").code, Some(0));
    let mut command = guarded(dir);
    for (setting, file) in
        [("CERT_FILE", "node.pem"), ("KEY_FILE", "node.key"), ("CLIENT_CA_FILE", "ca.pem")]
    {
        command.env(format!("TICKFOLD_AUTH_TLS_{setting}"), dir.join(file));
    }
    let node = Node::spawn(dir, command).unwrap_or_else(|ended| panic!("{ended:?}"));
    node.post(status_body("wamid.OLD", "sent", 1));

    // What the caller has of before, and what the node gets now.
    for file in ["ca.pem", "crm.pem", "crm.key"] {
        std::fs::rename(dir.join(file), dir.join(format!("old.{file}"))).unwrap();
    }
    certificates(dir, &NAMES);
    let old = ["--ca", "old.ca.pem", "--cert", "old.crm.pem", "--key", "old.crm.key"];
    let new = ["--ca", "ca.pem", "--cert", "crm.pem", "--key", "crm.key"];
    let by_name =
        |flags: [&'static str; 6]| [&flags[..], &["--server-name", "node.internal"]].concat();
    let get = |flags: [&'static str; 6]| {
        let mut command = tickfold();
        command.args(["get", "message", "wamid.OLD", "--view", "basic", "--grpc-addr", &node.grpc]);
        command.args(by_name(flags)).current_dir(dir);
        run(command, b"").code
    };
    eventually("the message is there", || (get(old) == Some(0)).then_some(()));
    assert_eq!(get(new), Some(1), "nobody reloaded yet");
    let mut open = watching(dir, &node.grpc, &by_name(old));

    // A certificate that is not of its key is refused, and what was served goes on.
    let good = std::fs::read(dir.join("node.pem")).unwrap();
    std::fs::copy(dir.join("crm.pem"), dir.join("node.pem")).unwrap();
    node.signal(Signal::HUP);
    eventually("the reload is refused", || node.log().contains("reload refused").then_some(()));
    assert_eq!((get(old), get(new)), (Some(0), Some(1)));
    std::fs::write(dir.join("node.pem"), good).unwrap();
    node.signal(Signal::HUP);
    eventually("the new certificate is served", || (get(new) == Some(0)).then_some(()));
    // Neither trusts the other any more, and each of the two is enough.
    let stranger = ["--ca", "ca.pem", "--cert", "old.crm.pem", "--key", "old.crm.key"];
    let mistrustful = ["--ca", "old.ca.pem", "--cert", "crm.pem", "--key", "crm.key"];
    assert_eq!([get(old), get(stranger), get(mistrustful)], [Some(1); 3]);

    // Who was connected is told on, until its entry is gone.
    node.post(status_body("wamid.NEW", "sent", 2));
    loop {
        let line = printed(&mut open);
        assert_ne!(line, "", "the watch ended");
        if line.contains("wamid.NEW") {
            break;
        }
    }
    std::fs::write(dir.join("tokens.toml"), "").unwrap();
    let since = Instant::now();
    node.signal(Signal::HUP);
    ended_for_its_token(open);
    let took = since.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(get(new), Some(1));
    node.stop();
}

#[test]
fn kafka_nodes_ask_each_other_with_the_rights_of_their_caller() {
    let root = TempDir::new().unwrap();
    let dir = root.path();
    create(dir, "crm", &["--scope", "query,pii.read", "--waba", WABA]);
    create(dir, "other", &["--scope", "query", "--waba", ELSE]);
    create(dir, "operator", &["--scope", "admin,query,pii.read", "--all-wabas"]);
    create(dir, "node", &["--scope", "node", "--all-wabas"]);
    certificates(dir, &NAMES);
    std::fs::copy(dir.join("ca.pem"), dir.join("ca-of-nodes.pem")).unwrap();
    let broker = crate::kafka::broker::shared();
    let start = |role: &str, name: &str| {
        let home = dir.join(name);
        std::fs::create_dir(&home).unwrap();
        let mut command = tickfold();
        command.args(role_args(role, &home)).args(["--kafka", &broker]);
        with_secrets(&mut command);
        crate::kafka::with_one_replica(&mut command);
        command.env("TICKFOLD_TOPIC_PREFIX", "callers").env("TICKFOLD_GROUP", "callers");
        command.env("TICKFOLD_PARTITIONS", "4");
        for (setting, file) in [
            ("TICKFOLD_AUTH_TOKENS_FILE", "tokens.toml"),
            ("TICKFOLD_AUTH_TLS_CERT_FILE", "node.pem"),
            ("TICKFOLD_AUTH_TLS_KEY_FILE", "node.key"),
            ("TICKFOLD_AUTH_PEER_CA_FILE", "ca-of-nodes.pem"),
            ("TICKFOLD_NODE_TOKEN_FILE", "node"),
        ] {
            command.env(setting, dir.join(file));
        }
        command.env("TICKFOLD_AUTH_PEER_NAME", "node.internal");
        Node::spawn(&home, command).unwrap_or_else(|ended| panic!("{ended:?}"))
    };
    let ingress = start("ingress", "i");
    let nodes = [start("processor", "a"), start("processor", "b")];
    ingress.post(messages_of(WABA, &format!(r#""statuses":[{}]"#, status("wamid.K", "sent", 1))));
    let flags = ["--ca", "ca.pem", "--server-name", "node.internal", "--token-file"];
    let ask = |node: &Node, name: &str, args: &[&str]| {
        let mut command = tickfold();
        command.args(args).args(["--grpc-addr", &node.grpc]).args(flags).arg(name);
        command.current_dir(dir);
        run(command, b"")
    };
    let get = |node: &Node, name: &str| {
        ask(node, name, &["get", "message", "wamid.K", "--view", "basic"]).code
    };
    for node in &nodes {
        // While the group shares out its partitions, a call may meet one that nobody has.
        let answers = |name: &str, args: &[&str], code: i32| {
            let what = format!("{name} {args:?}: exit code {code}");
            eventually(&what, || (ask(node, name, args).code == Some(code)).then_some(()));
        };
        answers("crm", &["get", "message", "wamid.K", "--view", "basic"], 0);
        answers("other", &["get", "message", "wamid.K", "--view", "basic"], 3);
        answers("crm", &["get", "message", "wamid.K", "--view", "full"], 0);
        answers("operator", &["rules", "show"], 0);
        let accept = ["quarantine", "accept", "--app", "main", "--secret-id", "primary"];
        let refused = ask(node, "operator", &accept);
        assert!(refused.stderr.contains("NO_SECRETS"), "{refused:?}");
    }
    let until = after(12).to_string();
    create(dir, "brief", &["--scope", "query", "--all-wabas", "--expires", &until]);
    assert_eq!(ask(&nodes[0], "operator", &["reload"]).code, Some(0));
    let brief = watching(dir, &nodes[0].grpc, &[&flags[..], &["brief"]].concat());
    // What cannot be in force is refused, and what was goes on.
    let ca = std::fs::read(dir.join("ca.pem")).unwrap();
    std::fs::write(dir.join("ca-of-nodes.pem"), &ca[..ca.len() / 2]).unwrap();
    let refused = ask(&nodes[0], "operator", &["reload"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("auth.peer_ca_file"), "{refused:?}");
    std::fs::write(dir.join("ca-of-nodes.pem"), &ca).unwrap();
    // One of them asked the other for it. A signal reaches a node that takes no webhooks too.
    let forwards =
        |node: &Node| node.admin("/metrics").text().contains("tickfold_query_forwards_total");
    assert!(nodes.iter().any(forwards), "somebody asked somebody");
    take_back(dir, "crm");
    for node in &nodes {
        node.signal(Signal::HUP);
        eventually("the signal takes it back", || (get(node, "crm") == Some(1)).then_some(()));
        assert_eq!(ask(node, "operator", &["reload"]).code, Some(0));
    }
    ended_for_its_token(brief);
    assert_eq!(get(&nodes[0], "brief"), Some(1));
    for node in nodes {
        node.stop();
    }
    ingress.stop();
}
