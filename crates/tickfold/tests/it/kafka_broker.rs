//! A broker that is killed with SIGKILL and started again on its files, and one that is stopped
//! with SIGSTOP for longer than anybody waits for it, both under load: the node recovers and owes
//! nothing.
//!
//! It recovers in the same process, but for one thing that is not ours: librdkafka 2.12.1 reads the
//! leaders that a returning broker tells beside its answers wrongly (its log has partition numbers
//! that nobody sent), and a client that did so does not find the partition any more. Such a node is
//! killed and started again, as a supervisor would do; how often is printed, and no more than every
//! other fault may need it.
//!
//! A fault landed if posts were refused and a commit was in doubt or a claim failed meanwhile.
//! CI kills 3 times and pauses 3 times, `TICKFOLD_SOAK=1` ten times as often.

use std::thread;
use std::time::{Duration, Instant};

use crate::kafka_run::{KAFKA_PATIENCE, Run};
use crate::support::{Node, is_soak, say};
use crate::support_crash::{Progress, set_aside};

const KILL: &str = "kafka: kill -9 of the broker";
/// How long a node gets to recover in the same process.
const RECOVERY: Duration = Duration::from_secs(30);
/// Kills tried before a planted bug counts as not seen.
const DOUBTS_TRIED: usize = 8;
const PAUSE: &str = "kafka: broker stopped past all timeouts";

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn kafka_broker_may_die_or_freeze() {
    let times = if is_soak() { 30 } else { 3 };
    let mut run = Run::new(41);
    let mut node = run.node();
    let mut restarts = 0;
    let landed = under_load(&mut run, &mut node, &mut restarts, |_, _| ());
    assert!(!landed, "the null control: without a fault nothing is refused");
    assert_eq!(restarts, 0);
    for _ in 0..times {
        run.strikes(KILL);
        let landed = under_load(&mut run, &mut node, &mut restarts, |run, _| {
            run.broker.kill();
            run.broker.restart();
        });
        run.struck(landed);
        run.strikes(PAUSE);
        let landed = under_load(&mut run, &mut node, &mut restarts, |run, progress| {
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
    node.stop();
    say(&format!("{restarts} of {} faults needed a restart of the node", 2 * times));
    assert!(restarts <= times, "{restarts} restarts");
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
fn under_load(
    run: &mut Run,
    node: &mut Node,
    restarts: &mut u64,
    fault: impl FnOnce(&Run, &Progress),
) -> bool {
    let before = failed_commits(node);
    let mut over = Instant::now();
    let posted = run.load.run(&node.http, 80, |progress| {
        progress.wait_for(60);
        fault(run, progress);
        over = Instant::now();
    });
    run.acknowledge(&posted);
    let recovered = recovers(run, node);
    let good = over.elapsed();
    let (failed, refused) = (failed_commits(node) - before, posted.refused);
    if !recovered {
        *restarts += 1;
        node.child.kill().unwrap();
        node.child.wait().unwrap();
        *node = run.node();
        assert!(run.look(node));
    }
    say(&format!(
        "{run}: {refused} posts refused, {failed} commits and claims failed; recovered by itself: \
         {recovered}, after {good:.1?}"
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
    let page = node.admin("/metrics").text();
    let counts = page.lines().filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        let commits = name.starts_with("tickfold_processor_commits_total{")
            && !name.contains("outcome=\"committed\"");
        let lost = name.starts_with("tickfold_processor_lost_total");
        (commits || lost).then(|| value.parse::<u64>().unwrap())
    });
    counts.sum()
}
