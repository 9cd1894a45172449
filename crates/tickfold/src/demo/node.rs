//! The node of the demonstration: this binary as a process of its own, and its commands.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::say;

/// Good for nothing but this: whoever knows it can forge webhooks of the demonstration.
pub(super) const SECRET: &str = "demo-secret-do-not-use";

/// How long a node may take to be ready, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that runs, and ends with this value.
pub(super) struct Node {
    binary: PathBuf,
    dir: PathBuf,
    child: Child,
    addresses: Addresses,
}

/// Where it listens: chosen by the system at the first start and kept.
#[derive(Debug, Clone)]
struct Addresses {
    http: String,
    grpc: String,
    admin: String,
}

impl Node {
    /// Starts a node with its data in the directory.
    pub(super) async fn start(dir: &Path) -> Result<Self> {
        let binary = std::env::current_exe().context("find this binary")?;
        let any = || "127.0.0.1:0".to_owned();
        let addresses = Addresses { http: any(), grpc: any(), admin: any() };
        let (child, addresses) = up(&binary, dir, &addresses).await?;
        Ok(Self { binary, dir: dir.to_owned(), child, addresses })
    }

    /// Where webhooks go.
    pub(super) fn url(&self) -> String {
        format!("http://{}/webhook/main", self.addresses.http)
    }

    /// Ends it as a lost machine ends: SIGKILL.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("kill the node")
    }

    /// Starts it on what it left, and tells how long it took.
    pub(super) async fn start_again(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        (self.child, self.addresses) = up(&self.binary, &self.dir, &self.addresses).await?;
        Ok(begun.elapsed())
    }

    /// Ends it in order.
    pub(super) async fn stop(mut self) -> Result<()> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(pid.context("the node has ended")?, Signal::TERM).context("stop the node")?;
        let ended = timeout(PATIENCE, self.child.wait()).await.context("wait for the node")??;
        ensure!(ended.success(), "the node ended with {ended}");
        Ok(())
    }

    /// A command of this binary that asks the node.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(&self.binary);
        command.args(arguments).args(["--grpc-addr", &self.addresses.grpc]);
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
        command
    }

    /// What a command prints.
    pub(super) async fn ask(&self, arguments: &[&str]) -> Result<(ExitStatus, String)> {
        let output = self.command(arguments).stderr(Stdio::piped()).output().await;
        let output = output.with_context(|| format!("run tickfold {}", arguments.join(" ")))?;
        let text = String::from_utf8(output.stdout).context("read what the command printed")?;
        Ok((output.status, text))
    }

    /// Runs a command, and shows it with what it prints.
    pub(super) async fn show(&self, arguments: &[&str]) -> Result<()> {
        say(&format!("  $ tickfold {}", arguments.join(" ")))?;
        let (status, text) = self.ask(arguments).await?;
        ensure!(status.success(), "tickfold {} ended with {status}", arguments.join(" "));
        text.lines().try_for_each(|line| say(&format!("  {line}")))
    }
}

/// This binary without the settings of whoever runs the demonstration.
fn bare(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TICKFOLD_") {
            command.env_remove(name);
        }
    }
    command.env("TICKFOLD_APP_SECRET", SECRET).env("TICKFOLD_VERIFY_TOKEN", "demo-token");
    command
}

/// Starts the node and waits until it is ready, which is when it prints where it listens.
async fn up(binary: &Path, dir: &Path, addresses: &Addresses) -> Result<(Child, Addresses)> {
    let log = dir.join("node.log");
    let file = File::options().create(true).append(true).open(&log);
    let file = file.with_context(|| format!("open {}", log.display()))?;
    let mut command = bare(binary);
    command.arg("up").arg("--data-dir").arg(dir.join("data"));
    command.args(["--http-addr", &addresses.http, "--grpc-addr", &addresses.grpc]);
    command.args(["--admin-addr", &addresses.admin]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).kill_on_drop(true);
    let mut child = command.spawn().context("start the node")?;
    let lines = child.stdout.take().context("read what the node prints")?;
    let mut lines = BufReader::new(lines).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.context("wait for the node")??;
    let Some(addresses) = line.as_deref().and_then(addresses_of) else {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        bail!("the node did not start:\n{log}");
    };
    // Its output is read to the end, or it would have nowhere to write to.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, addresses))
}

/// From `tickfold up: webhooks http://ADDR/webhook/APP, gRPC ADDR, admin http://ADDR`.
fn addresses_of(line: &str) -> Option<Addresses> {
    let after = |mark: &str| {
        let word = line.split_once(mark)?.1.split(',').next()?.trim();
        word.trim_start_matches("http://").split('/').next().map(str::to_owned)
    };
    Some(Addresses { http: after("webhooks ")?, grpc: after("gRPC ")?, admin: after("admin ")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_line_of_a_node() {
        let line = "tickfold up: webhooks http://127.0.0.1:1/webhook/main, gRPC 127.0.0.1:2, admin http://127.0.0.1:3";
        let read = addresses_of(line).unwrap();
        assert_eq!(
            (&*read.http, &*read.grpc, &*read.admin),
            ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
        );
        assert!(addresses_of("error: no").is_none());
    }
}
