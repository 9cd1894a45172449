//! A broker that is killed with SIGKILL and started again on its files, and one that is stopped
//! with SIGSTOP for longer than anybody waits for it, both under load: the node recovers in the same
//! process, and owes nothing.
//!
//! A client of the node may lose all brokers when this one comes back, and is given them again; how
//! often is printed.
//!
//! A fault landed if posts were refused and a commit was in doubt or a claim failed meanwhile.
//! CI kills 3 times and pauses 3 times, `TICKFOLD_SOAK=1` ten times as often.

use std::thread;
use std::time::{Duration, Instant};

use crate::kafka_run::{KAFKA_PATIENCE, Run};
use crate::support::{Node, is_soak, say};
use crate::support_crash::{Progress, set_aside};

const KILL: &str = "kafka: kill -9 of the broker";
/// How long a node gets to recover: on a busy machine a look alone takes a dozen seconds.
const RECOVERY: Duration = Duration::from_secs(60);
/// Kills tried before a planted bug counts as not seen.
const DOUBTS_TRIED: usize = 8;
const PAUSE: &str = "kafka: broker stopped past all timeouts";

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn kafka_broker_may_die_or_freeze() {
    let times = if is_soak() { 30 } else { 3 };
    let mut run = Run::new(41);
    let mut node = run.node();
    let landed = under_load(&mut run, &node, |_, _| ());
    assert!(!landed, "the null control: without a fault nothing is refused");
    for _ in 0..times {
        run.strikes(KILL);
        let landed = under_load(&mut run, &node, |run, _| {
            run.broker.kill();
            run.broker.restart();
        });
        run.struck(landed);
        run.strikes(PAUSE);
        let landed = under_load(&mut run, &node, |run, progress| {
            run.broker.pause();
            let begun = Instant::now();
            progress.wait_for(progress.answers() + 8);
            // What is waited for is the end of every timeout of the node.
            let longest = KAFKA_PATIENCE + Duration::from_secs(2);
            thread::sleep(longest.saturating_sub(begun.elapsed()));
            run.broker.resume();
        });
        run.struck(landed);
    }
    assert!(!node.has_ended(), "no node ends by itself");
    say(&format!("{} clients of the node got their brokers again", rescued(&node)));
    node.stop();
    let rows = run.finish();
    for fault in [KILL, PAUSE] {
        let row = rows[fault];
        assert_eq!((row.attempted, row.landed, row.lost, row.twice), (times, times, 0, 0));
    }
    sees_doubt_taken_for_success(&mut run);
}

/// The same kill of the broker with a planted bug, which takes commits in doubt for done: outputs are
/// missing, until the partition is claimed anew and its store, ahead of the log, is set aside. Every
/// look of the run above demands that neither is ever so.
fn sees_doubt_taken_for_success(run: &mut Run) {
    let mut command = run.command();
    command.env("TICKFOLD_BUG", "unclear_is_success");
    let node = run.spawn(command).unwrap_or_else(|ended| panic!("{run}: up ended: {ended:?}"));
    // Only a commit that was under way is in doubt, so a kill may meet none.
    let seen = (0..DOUBTS_TRIED).find_map(|_| {
        let posted = run.load.run(&node.http, 80, |progress| {
            progress.wait_for(60);
            run.broker.kill();
            run.broker.restart();
        });
        run.acknowledge(&posted);
        // One that cannot be looked at in time shows nothing, yet.
        let lost = run.verdict(&node).map_or(0, |verdict| verdict.lost);
        let stores = set_aside(&run.data_dir()).len();
        (lost > 0 || stores > 0).then_some((lost, stores))
    });
    let (lost, stores) = seen.expect("the planted bug is seen");
    say(&format!("with doubt taken for success: {lost} lost, {stores} stores set aside"));
}

/// Load with a fault in its middle, and posts after it until all are good again. True if the fault
/// landed: posts were refused, and commits did not go through.
fn under_load(run: &mut Run, node: &Node, fault: impl FnOnce(&Run, &Progress)) -> bool {
    let before = failed_commits(node);
    let mut over = Instant::now();
    let posted = run.load.run(&node.http, 80, |progress| {
        progress.wait_for(60);
        fault(run, progress);
        over = Instant::now();
    });
    run.acknowledge(&posted);
    assert!(recovers(run, node), "{run}: not good again within {RECOVERY:?}");
    let good = over.elapsed();
    let (failed, refused) = (failed_commits(node) - before, posted.refused);
    say(&format!(
        "{run}: {refused} posts refused, {failed} commits and claims failed, {} clients got their \
         brokers again; recovered after {good:.1?}",
        rescued(node)
    ));
    refused > 0 && failed > 0
}

/// Whether posts are good again and everything is there before long.
fn recovers(run: &mut Run, node: &Node) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < RECOVERY {
        let posted = run.load.run(&node.http, 10, |_| ());
        run.acknowledge(&posted);
        // Whoever was in doubt has found out by then.
        if posted.refused == 0 && run.try_look(node) {
            return true;
        }
    }
    false
}

/// Commits that were unclear, aborted or fenced, and partitions that were started anew.
pub(crate) fn failed_commits(node: &Node) -> u64 {
    count(node, |name| {
        let commits = name.starts_with("tickfold_processor_commits_total{")
            && !name.contains("outcome=\"committed\"");
        commits || name.starts_with("tickfold_processor_lost_total{partition=\"")
    })
}

/// Clients that knew no broker any more and were given their addresses again, so far.
fn rescued(node: &Node) -> u64 {
    count(node, |name| name.starts_with("tickfold_log_clients_rescued_total{"))
}

/// The sum of the counters that are meant.
fn count(node: &Node, meant: impl Fn(&str) -> bool) -> u64 {
    let page = node.admin("/metrics").text();
    let counts = page.lines().filter_map(|line| line.rsplit_once(' '));
    counts.filter(|(name, _)| meant(name)).map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}
