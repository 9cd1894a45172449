//! `tickfold demo`: the whole story in a minute. One node on the embedded log in a directory that is
//! gone afterwards; a burst with repetitions and disorder; kill -9 in the middle of it; a paused
//! template; a message that cannot be delivered; and counts that have to agree at the end.
//!
//! Everything goes through the front doors: the node is this binary, webhooks are signed and posted, and
//! what is shown is what the commands print that are named above it.

mod node;
mod story;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::cli::Demo;
use node::Node;
use story::{Burst, Counts};

/// A part of the burst before the node is killed.
const KILLED_AFTER: f64 = 0.4;

/// Tells the story; fails where it does not end as it should.
pub(crate) async fn run(demo: Demo) -> Result<ExitCode> {
    let dir = tempfile::Builder::new().prefix("tickfold-demo-").tempdir();
    let dir = dir.context("make a directory for the demonstration")?;
    say("one node on the embedded log, in a directory that is removed afterwards")?;
    let mut node = Node::start(dir.path()).await?;

    let webhooks = u64::from(demo.rate) * demo.duration.as_secs();
    say(&format!(
        "\na burst: {webhooks} webhooks in {} s; a third of the messages have their statuses in any \
         order, one webhook in ten comes again, one in twenty is a batch of up to 100",
        demo.duration.as_secs()
    ))?;
    let burst = Burst::begin(&node, &demo)?;
    tokio::time::sleep(demo.duration.mul_f64(KILLED_AFTER)).await;
    node.kill().await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let back = node.start_again().await?;
    say(&format!(
        "  kill -9 of the node on the way; ready again {:.1} s after its start",
        back.as_secs_f64()
    ))?;
    let burst = burst.end().await?;
    say(&burst.text())?;
    ensure!(burst.is_right(), "the state is not what was accepted");

    say("\na template is paused for its quality:")?;
    story::pause_template(&node).await?;
    say("\na message cannot be delivered, error 131026:")?;
    story::fail_message(&node).await?;

    let counts = Counts::of(&node).await?;
    say("\nthe topics, read as a consumer reads them:")?;
    say(&counts.text(&burst))?;
    counts.check(&burst)?;
    node.stop().await?;
    say("\nall counts agree")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a line at once, whoever reads it.
fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("write to standard output")
}
