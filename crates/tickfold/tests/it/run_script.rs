//! `make run`, which is what the README tells a newcomer to type.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Counted, clean, run};

#[test]
fn the_demonstration_posts_three_statuses_and_shows_the_message_read() {
    let _counted = Counted::enter(false);
    let dir = TempDir::new().unwrap();
    let free = free_addresses();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/run.sh");
    let mut command = Command::new(script);
    clean(&mut command);
    command
        .current_dir(dir.path())
        .env("TICKFOLD_BIN", env!("CARGO_BIN_EXE_tickfold"))
        .env("TICKFOLD_RUN_ONCE", "1")
        .env("TICKFOLD_HTTP_ADDR", &free[0])
        .env("TICKFOLD_GRPC_ADDR", &free[1])
        .env("TICKFOLD_ADMIN_ADDR", &free[2])
        .env("TICKFOLD_DATA_DIR", dir.path().join("data"));
    let ended = run(command, b"");
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    let posts: Vec<_> = ended.stdout.lines().filter(|line| line.starts_with("POST ")).collect();
    assert_eq!(posts.len(), 3, "{}", ended.stdout);
    assert!(posts.iter().all(|line| line.ends_with("->  200")), "{posts:?}");
    let shown = |name: &str, value: &str| {
        ended.stdout.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(name) && words.next().is_some_and(|word| word.starts_with(value))
        })
    };
    assert!(shown("state", "read"), "{}", ended.stdout);
    for time in ["sent_time", "delivered_time", "read_time"] {
        assert!(shown(time, "20"), "{time}: {}", ended.stdout);
    }
}

/// Three addresses that nobody listens on. Below the ports that the kernel gives to those who ask
/// for any, or a node of another test might take one before the script does.
fn free_addresses() -> Vec<String> {
    let first = 20_000 + std::process::id() % 10_000;
    let free = (first..first + 1_000)
        .map(|port| format!("127.0.0.1:{port}"))
        .filter(|address| TcpListener::bind(address).is_ok());
    let free: Vec<_> = free.take(3).collect();
    assert_eq!(free.len(), 3, "no three free ports from {first}");
    free
}
