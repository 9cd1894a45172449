//! The log of every node of the test run, looked through when the node ends: it has no secret, no token, no
//! body, and nobody's phone number.
//!
//! `logs` posts all that Meta sends and searches for everything in it; this is for what all other tests do
//! to a node, with faults, kills and Kafka among it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use crate::support::{Node, PARTY, SECRET, VERIFY_TOKEN, status_body, up};

/// Lines of nodes that were looked at in this process.
static LINES: AtomicUsize = AtomicUsize::new(0);

/// What stands in bodies and nowhere else.
const OF_BODIES: [&str; 3] =
    ["\"messaging_product\"", "\"whatsapp_business_account\"", "\"recipient_id\""];

/// How phone numbers of the tests and of `tickfold load` begin, and how many digits they have: of users, and of businesses.
const NUMBERS: [(&str, usize); 3] = [("447700", 12), ("49151", 13), ("1555", 11)];

/// Characters of a token behind its prefix.
const TOKEN_CHARS: usize = 43;

/// Panics if the log of a node that ended tells what no log may.
pub(crate) fn assert_silent(log: &str) {
    LINES.fetch_add(log.lines().count(), Ordering::Relaxed);
    if let Some((what, line)) = told(log) {
        panic!("{what} in the log of a node: {line}");
    }
}

/// What a log tells that it may not, and the line.
fn told(log: &str) -> Option<(&'static str, &str)> {
    let line = |at: usize| {
        let begin = log[..at].rfind('\n').map_or(0, |end| end + 1);
        log[begin..].lines().next().unwrap_or_default()
    };
    let quoted = OF_BODIES.map(|text| text.replace('"', "\\\""));
    let texts = [("an app secret", SECRET), ("a verify token", VERIFY_TOKEN)];
    let bodies = OF_BODIES.into_iter().chain(quoted.iter().map(String::as_str));
    let all = texts.into_iter().chain(bodies.map(|text| ("a body", text)));
    let mut found = all.filter_map(|(what, text)| Some((what, line(log.find(text)?))));
    let found = found.next().or_else(|| Some(("a token", line(token(log)?))));
    found.or_else(|| Some(("a number", line(number(log)?))))
}

/// Where somebody's phone number stands.
fn number(log: &str) -> Option<usize> {
    let mut next = 0;
    log.as_bytes().split(|byte| !byte.is_ascii_digit()).find_map(|digits| {
        let at = next;
        next += digits.len() + 1;
        let is_one = |(begin, count): &(&str, usize)| {
            digits.len() == *count && digits.starts_with(begin.as_bytes())
        };
        NUMBERS.iter().any(is_one).then_some(at)
    })
}

/// Where a token as `tickfold token create` makes it stands.
fn token(log: &str) -> Option<usize> {
    const PREFIX: &str = "tickfold_";
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_token = |(at, _): &(usize, &str)| {
        let rest = log.as_bytes()[at + PREFIX.len()..].iter();
        rest.take_while(|byte| is_of_token(**byte)).count() >= TOKEN_CHARS
    };
    log.match_indices(PREFIX).find(is_token).map(|(at, _)| at)
}

#[test]
fn what_no_log_may_tell_is_found_wherever_it_stands() {
    let token = format!("tickfold_{}", "aB3-_xyz".repeat(6));
    let body = status_body("wamid.X", "sent", 1);
    for (text, what) in [
        (SECRET.to_owned(), "an app secret"),
        (VERIFY_TOKEN.to_owned(), "a verify token"),
        (format!("party={PARTY}"), "a number"),
        ("conversation 318840000000202/4915112345678".to_owned(), "a number"),
        ("display=\"15550100001\"".to_owned(), "a number"),
        (token.clone(), "a token"),
        (format!("authorization: Bearer {token}"), "a token"),
        (body.clone(), "a body"),
        (format!("{body:?}"), "a body"),
        (body[..body.len() / 2].to_owned(), "a body"),
    ] {
        for log in [text.clone(), format!("first\nb {text} e\nlast\n")] {
            let (_, line) = told(&log).unwrap_or_else(|| panic!("{what} was not found: {log}"));
            assert!(line.contains(&text), "{line}");
        }
    }
    let innocent = "INFO tickfold_query::server: listening\nWARN tickfold_ingress::handler \
                    tickfold_processor_of_a_name_as_long_as_none: a=1 447700 waba=215589900000100\n";
    assert_eq!(told(innocent), None);
}

#[test]
fn the_log_of_a_node_is_looked_through_when_it_ends() {
    let dir = TempDir::new().unwrap();
    let mut command = up(dir.path());
    command.env("TICKFOLD_TELEMETRY_LOG", "trace");
    let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("{ended:?}"));
    node.post(status_body("wamid.SCANNED", "sent", 1));
    let (before, lines) = (LINES.load(Ordering::Relaxed), node.log().lines().count());
    assert!(lines > 10, "{lines} lines at trace");
    node.stop();
    assert!(LINES.load(Ordering::Relaxed) >= before + lines, "not all of {lines} were looked at");
}
