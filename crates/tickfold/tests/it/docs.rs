//! Every `tickfold` command in the documentation runs as it stands there, so that no page promises
//! a flag that is gone; every test that a promise names exists, and every metric; every alert has its
//! section in the runbook.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::metrics::LABELS;
use crate::support::{
    NUMBER, Node, PARTY, RAW, SECRET, VERIFY_TOKEN, WABA, assert_golden, clean, messages_of, run,
    status, up, with_secrets,
};

/// Commands for the data of a node that has stopped.
const AT_REST: [&str; 5] = [
    "tickfold recover",
    "tickfold verify",
    "tickfold checkpoint ls",
    "tickfold checkpoint verify",
    "tickfold checkpoint restore",
];

/// Commands that become a node.
const NODES: [&str; 3] = ["tickfold up", "tickfold ingress", "tickfold processor"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The default of a setting, as `tickfold config` prints it.
pub(crate) fn default_setting(name: &str) -> String {
    let printed = crate::support::cli(&["config"]).stdout;
    let begin = format!("{name} = \"");
    let found = printed.lines().find_map(|line| line.strip_prefix(&begin)?.strip_suffix('"'));
    found.unwrap_or_else(|| panic!("no {name} in {printed}")).to_owned()
}

/// Markdown files of the repository.
pub(crate) fn pages() -> Vec<PathBuf> {
    let root = root();
    let mut pages: Vec<_> = ["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)).into();
    let mut folders = ["docs", "docker", "examples"].map(|name| root.join(name)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// Commands of a program in indented or fenced blocks, without prompt and remark.
pub(crate) fn commands(page: &str, program: &str) -> Vec<String> {
    let begin = format!("{program} ");
    let mut fenced = false;
    let mut commands = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if !fenced && !line.starts_with("    ") {
            continue;
        }
        let command = line.trim();
        let command = command.strip_prefix("$ ").unwrap_or(command);
        let command = command.split("  #").next().unwrap_or(command).trim_end();
        // A node prints a line that begins like a command.
        let printed = NODES.iter().any(|node| command.starts_with(&format!("{node}: ")));
        if command.starts_with(&begin) && !printed {
            commands.push(command.to_owned());
        }
    }
    commands
}

#[test]
fn commands_are_found_in_blocks_and_freed_of_prompt_and_remark() {
    let page = "`tickfold no`\ntickfold no\n\n    tickfold a B  # why\n\n```\n$ tickfold b\ntickfold up: c\nout\n```\n";
    assert_eq!(commands(page, "tickfold"), ["tickfold a B", "tickfold b"]);
}

#[test]
fn every_command_of_the_documentation_runs() {
    let dir = TempDir::new().unwrap();
    let mut command = up(dir.path());
    command.env("TICKFOLD_INGRESS_QUARANTINE_BYTES_MAX", "8MiB");
    command.env("TICKFOLD_STORE_CHECKPOINT_DIR", dir.path().join("checkpoints"));
    let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("{ended:?}"));
    node.post(messages_of(WABA, &format!(r#""statuses":[{}]"#, status("wamid.DOCS", "sent", 1))));
    assert_golden(&node);
    let words = [
        ("PHONE_NUMBER_ID", NUMBER),
        ("TEMPLATE_ID", "1590000000000042"),
        ("WABA_ID", WABA),
        ("WAMID", "wamid.DOCS"),
        ("FBTRACE_ID", "AbCdEf"),
        ("LANGUAGE", "en_US"),
        ("PARTY", PARTY),
        ("SECRET_ID", "primary"),
    ];
    let mut ran = 0;
    for page in pages() {
        for command in commands(&std::fs::read_to_string(&page).unwrap(), "tickfold") {
            let place = format!("{}: {command}", page.display());
            let mut text = command.clone();
            for (word, value) in words {
                text = text.replace(word, value);
            }
            if NODES.iter().any(|node| text.starts_with(node)) {
                starts(&text, &place);
            } else if text.starts_with("tickfold stop") {
                stops(&text, &place);
            } else if AT_REST.iter().any(|command| text.starts_with(command)) {
                works_at_rest(&text, &place);
            } else {
                // One that would go on for ever ends where the topic ends.
                if text.starts_with("tickfold tail") && !text.contains("--until-end") {
                    text += " --until-end";
                }
                let mut shell = shell(&on_kafka(&text), dir.path());
                if text.contains("--kafka") {
                    beside_the_others(&mut shell);
                }
                shell.env("TICKFOLD_GRPC_ADDR", &node.grpc);
                shell.env("TICKFOLD_LOAD_URL", format!("http://{}/webhook/main", node.http));
                let ended = run(shell, b"{}");
                let absent = text.starts_with("tickfold get") && ended.code == Some(3);
                assert!(ended.code == Some(0) || absent, "{place}: {ended:?}");
            }
            ran += 1;
        }
    }
    println!("{ran} commands");
    assert!(ran > 5, "{ran} commands: are the pages still where they were?");
    node.stop();
}

#[test]
fn every_address_of_this_machine_in_the_documentation_is_one_that_something_has_by_default() {
    let ours = ["http_addr", "grpc_addr", "admin_addr"].map(default_setting);
    // A broker of Kafka, and the gateway of the worker's example.
    let others = ["127.0.0.1:9092", "127.0.0.1:8090"];
    let mut named = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for behind in text.replace("localhost:", "127.0.0.1:").split("127.0.0.1:").skip(1) {
            let port = behind.split(|c: char| !c.is_ascii_digit()).next().unwrap();
            let address = format!("127.0.0.1:{port}");
            let is_known = ours.contains(&address) || others.contains(&address.as_str());
            assert!(is_known || port.is_empty(), "{}: who has {address}?", page.display());
            named += 1;
        }
    }
    assert!(named > 40, "{named} addresses: are the pages still where they were?");
}

/// A node as documented, but on free ports and with its data in a directory of the test.
fn starts(text: &str, place: &str) {
    let dir = TempDir::new().unwrap();
    let mut args: Vec<_> = text.split_whitespace().skip(1).map(str::to_owned).collect();
    let mut set = |flag: &str, value: String| match args.iter().position(|arg| arg == flag) {
        Some(at) => args[at + 1] = value,
        None => args.extend([flag.to_owned(), value]),
    };
    set("--data-dir", dir.path().join("data").to_str().unwrap().to_owned());
    for flag in ["--http-addr", "--grpc-addr", "--admin-addr"] {
        set(flag, "127.0.0.1:0".to_owned());
    }
    let mut command = crate::support::tickfold();
    if text.contains("--kafka") {
        set("--kafka", crate::kafka::broker::shared());
        beside_the_others(&mut command);
    }
    command.args(args);
    with_secrets(&mut command);
    let node = Node::spawn(dir.path(), command);
    node.unwrap_or_else(|ended| panic!("{place}: {ended:?}")).stop();
}

/// Runs on what a node left that has stopped, with a checkpoint of each partition.
fn works_at_rest(text: &str, place: &str) {
    let dir = TempDir::new().unwrap();
    let checkpoints = dir.path().join("checkpoints");
    let mut command = up(dir.path());
    command.env("TICKFOLD_STORE_CHECKPOINT_DIR", &checkpoints);
    let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("{ended:?}"));
    node.post(messages_of(WABA, &format!(r#""statuses":[{}]"#, status("wamid.DOCS", "sent", 1))));
    assert_golden(&node);
    let made = node.cli(&["checkpoint", "create"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let position = node.tail(RAW).iter().filter(|r| r.partition == 3).count().to_string();
    node.stop();
    // The partition and its offset are an example's.
    let text = text.replace("1042", &position);
    let mut shell = shell(&text, dir.path());
    shell.env("TICKFOLD_DATA_DIR", dir.path().join("data"));
    shell.env("TICKFOLD_STORE_CHECKPOINT_DIR", &checkpoints);
    let ended = run(shell, b"");
    assert_eq!(ended.code, Some(0), "{place}: {ended:?}");
}

/// Stops a node of its own as documented.
fn stops(text: &str, place: &str) {
    let dir = TempDir::new().unwrap();
    let mut node = Node::start(dir.path());
    let args: Vec<_> = text.split_whitespace().skip(1).collect();
    let ended = node.cli(&args);
    assert_eq!(ended.code, Some(0), "{place}: {ended:?}");
    assert_eq!(node.wait().code, Some(0), "{place}");
}

/// With the broker of the tests in the place of the one that is named.
fn on_kafka(text: &str) -> String {
    match text.contains("--kafka") {
        true => text.replace("127.0.0.1:9092", &crate::kafka::broker::shared()),
        false => text.to_owned(),
    }
}

/// Beside the topics of other tests, and not in their group.
fn beside_the_others(command: &mut Command) {
    crate::kafka::with_one_replica(command);
    command.env("TICKFOLD_TOPIC_PREFIX", "docs").env("TICKFOLD_GROUP", "docs");
}

/// A shell that finds the binary under test by its name.
fn shell(text: &str, dir: &Path) -> Command {
    let bin = Path::new(env!("CARGO_BIN_EXE_tickfold")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path =
        std::env::join_paths(std::iter::once(bin.to_owned()).chain(std::env::split_paths(&path)));
    let mut command = Command::new("sh");
    clean(&mut command);
    command.args(["-c", text]).current_dir(dir).env("PATH", path.unwrap());
    command.env("TICKFOLD_APP_SECRET", SECRET).env("TICKFOLD_VERIFY_TOKEN", VERIFY_TOKEN);
    command
}

/// Tests that a page names, by file and name.
fn named_tests(text: &str) -> Vec<(String, String)> {
    let quoted = text.split('`').skip(1).step_by(2);
    let named = quoted.filter_map(|quoted| quoted.split_once(".rs::"));
    named.map(|(file, test)| (format!("{file}.rs"), test.to_owned())).collect()
}

#[test]
fn every_test_that_a_page_names_exists() {
    for (page, least) in [("guarantees.md", 20), ("limits.md", 30), ("testing.md", 0)] {
        let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
        let named = named_tests(&text);
        for (file, test) in &named {
            let text = std::fs::read_to_string(root().join("crates").join(file));
            let text = text.unwrap_or_else(|error| panic!("{page}: {file}: {error}"));
            assert!(has_test(&text, test), "{page}: {file} has no test {test}");
        }
        assert!(named.len() >= least, "{page} names {} tests: is it still a table?", named.len());
    }
}

#[test]
fn files_that_the_page_of_tests_names_exist() {
    let text = std::fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let mut found = 0;
    for quoted in text.split('`').skip(1).step_by(2) {
        // `a/{b,c}.rs` and `a*.rs` stand for several; a bare name for one beside the last that was named.
        if !quoted.ends_with(".rs") || quoted.contains(['{', '*']) || !quoted.contains('/') {
            continue;
        }
        let path = if quoted.starts_with("tickfold") { "crates" } else { "" };
        assert!(root().join(path).join(quoted).is_file(), "there is no {quoted}");
        found += 1;
    }
    assert!(found > 40, "{found} files");
}

#[test]
fn every_promise_is_proved() {
    let page = std::fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.ends_with("proved by |"));
    let (proved, unproved): (Vec<_>, Vec<_>) = rows.partition(|row| !named_tests(row).is_empty());
    assert!(unproved.is_empty(), "promises without a test: {unproved:#?}");
    assert!(proved.len() > 20, "{} promises: is the page still a table?", proved.len());
}

/// Whether a source text has a test of this name that always runs: a function with the attribute of one.
fn has_test(text: &str, name: &str) -> bool {
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    // The first line is that of the function itself. Property tests are indented.
    let attributes = before.rsplit('\n').skip(1).map(str::trim_start);
    let attributes: Vec<&str> = attributes.take_while(|line| line.starts_with("#[")).collect();
    attributes.iter().any(|line| *line == "#[test]" || line.starts_with("#[tokio::test"))
        && !attributes.iter().any(|line| line.starts_with("#[ignore"))
}

#[test]
fn a_test_is_a_function_with_the_attribute_of_one() {
    let text = "#[test]\n#[cfg(x)]\nfn a() {}\n\nfn b() {}\n#[tokio::test(x)]\nasync fn c() {}\n    #[test]\n    fn d() {}\n#[test]\n#[ignore]\nfn e() {}\n#[ignore = \"x\"]\n#[test]\nfn f() {}\n";
    let found = ["a", "b", "c", "d", "e", "f", "g"].map(|name| has_test(text, name));
    assert_eq!(found, [true, false, true, true, false, false, false]);
}

/// What stands between quotes in the sources of the crates, tests aside.
fn literals() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.components().any(|part| part.as_os_str() == "src")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                known.extend(text.split('"').map(str::to_owned));
            }
        }
    }
    known
}

/// Alerts with their cases, and dashboards.
fn watching() -> Vec<PathBuf> {
    let mut watching = Vec::new();
    for folder in ["docker/prometheus", "docker/grafana/dashboards"] {
        let files = std::fs::read_dir(root().join(folder)).unwrap();
        watching.extend(files.map(|file| file.unwrap().path()));
    }
    assert!(watching.len() > 6, "{watching:?}: are the alerts and dashboards still there?");
    watching
}

#[test]
fn every_metric_of_the_documentation_exists() {
    let known: BTreeSet<_> = literals().into_iter().filter(|text| is_metric(text)).collect();
    let mut named = 0;
    for page in pages().into_iter().chain(watching()) {
        let text = std::fs::read_to_string(&page).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words.filter(|word| is_metric(word)) {
            let of = ["_bucket", "_sum", "_count"].iter().find_map(|part| word.strip_suffix(part));
            let is_known = known.contains(word) || of.is_some_and(|of| known.contains(of));
            assert!(is_known, "{}: there is no metric {word}", page.display());
            named += 1;
        }
    }
    assert!(named > 20, "{named} metrics: are the pages still where they were?");
}

#[test]
fn every_label_that_alerts_and_dashboards_ask_for_exists_with_its_values() {
    let (literals, mut asked) = (literals(), 0);
    let files = watching().into_iter().filter(|path| !path.ends_with("alerts.test.yaml"));
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap().replace("\\\"", "\"");
        for (label, values) in grouped(&text).chain(matched(&text)) {
            // Two are Prometheus' own.
            let is_known = LABELS.contains(&label) || ["instance", "job"].contains(&label);
            assert!(is_known, "{}: there is no label {label}", path.display());
            if ["kind", "outcome", "reason", "severity"].contains(&label) {
                for value in values.split('|').filter(|value| !value.is_empty()) {
                    assert!(literals.contains(value), "{}: {label} {value}", path.display());
                }
            }
            asked += 1;
        }
    }
    assert!(asked > 100, "{asked} labels");
}

/// Labels of `by (a, b)`, without values.
fn grouped(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lists = text.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(',')).map(|label| (label.trim(), ""))
}

/// Labels and values of `{a="x",b!~"y|z"}`.
fn matched(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let selectors = text.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let matchers = selectors.flat_map(|selector| selector.split(','));
    matchers.filter_map(|matcher| {
        let (label, rest) = matcher.split_at(matcher.find(['=', '!'])?);
        let value = rest.trim_start_matches(['=', '!', '~']);
        Some((label, value.strip_prefix('"')?.strip_suffix('"')?))
    })
}

#[test]
fn labels_are_found_in_groups_and_selectors() {
    let query = r#"sum by (le, kind) (rate(a{b="c",outcome!~"d|e"}[5m])) {{instance}}"#;
    let found: Vec<_> = grouped(query).chain(matched(query)).collect();
    assert_eq!(found, [("le", ""), ("kind", ""), ("b", "c"), ("outcome", "d|e")]);
}

fn is_metric(word: &str) -> bool {
    let crates =
        ["ingress", "processor", "log", "query", "store", "admin", "disk", "start", "build"];
    let rest = word.strip_prefix("tickfold_");
    rest.and_then(|rest| rest.split_once('_')).is_some_and(|(part, name)| {
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        crates.contains(&part) && !name.is_empty() && name.chars().all(is_name)
    })
}

#[test]
fn every_alert_has_a_section_in_the_runbook_that_says_all_of_it() {
    let rules = std::fs::read_to_string(root().join("docker/prometheus/alerts.yaml")).unwrap();
    let alerts: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 20, "{alerts:?}");
    let named: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: ")).collect();
    let anchor = |alert: &&str| format!("docs/runbook.md#{}", alert.to_lowercase());
    let anchors: BTreeSet<_> = alerts.iter().map(anchor).collect();
    assert_eq!(named, anchors.iter().map(String::as_str).collect());

    let runbook = std::fs::read_to_string(root().join("docs/runbook.md")).unwrap();
    let mut sections = BTreeSet::new();
    for section in runbook.split("\n## ").skip(1) {
        let (title, text) = section.split_once('\n').unwrap();
        if !title.starts_with("Tickfold") {
            continue;
        }
        assert!(sections.insert(title), "{title} is there twice");
        for part in ["**Means**", "**Look**", "**Do**", "**Over**"] {
            assert_eq!(text.matches(part).count(), 1, "{title}: {part}");
        }
    }
    assert_eq!(sections, alerts, "left: sections; right: alerts");
}
