//! `tickfold demo` as a newcomer runs it: the story it tells, and that nothing is left behind.

use crate::support::{cli, say};

#[test]
fn the_demonstration_ends_with_counts_that_agree() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = crate::support::tickfold();
    command.args(["demo", "--rate", "200", "--duration", "6s"]).env("TMPDIR", temporary.path());
    // Settings of whoever runs it are not the demonstration's.
    command.env("TICKFOLD_DATA_DIR", "/nonexistent").env("TICKFOLD_HTTP_ADDR", "127.0.0.1:1");
    let ended = crate::support::run(command, b"");
    say(&ended.stdout);
    // However wide the tables are.
    let text = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(ended.code == Some(0), "{text}\n{}", ended.stderr);
    for told in [
        "kill -9 of the node on the way",
        "0 missing, 0 twice, 0 unexplained",
        "status PAUSED",
        "action halt_template",
        "state failed",
        "action sms_fallback",
        "all counts agree",
    ] {
        assert!(text.contains(told), "{told:?} is not told: {text}");
    }
    // The kill landed: there were webhooks that met no node.
    let unanswered = text.split_once(" met no node").unwrap().0.rsplit(' ').next().unwrap();
    assert_ne!(unanswered, "0", "{text}");
    let left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn the_demonstration_refuses_a_burst_without_end() {
    let ended = cli(&["demo", "--rate", "0"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
}
