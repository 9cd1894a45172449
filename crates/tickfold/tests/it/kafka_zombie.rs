//! A processor that is stopped in its tracks for longer than its group waits, and goes on: whatever
//! it had under way is void, it commits nothing more of what the other has meanwhile, and it takes its
//! share again by itself.
//!
//! A stop landed if the other had all partitions while it lasted, and the stopped one found itself
//! robbed of its own. CI stops twice, `TICKFOLD_SOAK=1` twenty times.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::kafka_roles::{Cluster, live, share};
use crate::support::{Node, PARTITIONS, Rng, eventually, is_soak, say, soak_row};

const ZOMBIE: &str = "kafka: processor stopped past the session timeout";
const SESSION: Duration = Duration::from_secs(3);

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn kafka_zombie_commits_nothing_more() {
    let seed = std::env::var("TICKFOLD_SEED").map_or(81, |seed| seed.parse().unwrap());
    let times = if is_soak() { 20 } else { 2 };
    let (mut cluster, mut rng) = (Cluster::new(seed), Rng(seed));
    let session = SESSION.as_millis().to_string();
    cluster.settings.push(("TICKFOLD_KAFKA_SESSION_TIMEOUT_MS", session));
    let ingress = cluster.node("ingress", "ingress");
    let nodes = [cluster.node("processor", "first"), cluster.node("processor", "second")];
    share(&[&nodes[0], &nodes[1]]);

    // The null control: the same load without a stop, and nothing is lost to anybody.
    cluster.post(&ingress, 60);
    cluster.look(&nodes[0]);
    let lost = |node: &Node| node.log().matches("partitions lost").count();
    assert!(nodes.iter().all(|node| lost(node) == 0), "the null control");

    let mut landed = 0;
    for time in 0..times {
        let [zombie, other] = if rng.below(2) == 0 { [0, 1] } else { [1, 0] };
        let (zombie, other) = (&nodes[zombie], &nodes[other]);
        let before = lost(zombie);
        let [stop_after, go_on_after] = [rng.next() % 120, rng.next() % 60];
        let mut begun = Instant::now();
        let posted = cluster.load.run(&ingress.http, 60, |progress| {
            progress.wait_for(stop_after);
            zombie.signal(Signal::STOP);
            begun = Instant::now();
        });
        cluster.acknowledge(&posted);
        eventually("the other has all partitions", || {
            (live(other).len() == PARTITIONS as usize).then_some(())
        });
        let robbed = begun.elapsed();
        // It goes on while the other is at work on what was the zombie's.
        let posted = cluster.load.run(&ingress.http, 60, |progress| {
            progress.wait_for(go_on_after);
            zombie.signal(Signal::CONT);
        });
        cluster.acknowledge(&posted);
        let again = Instant::now();
        share(&[zombie, other]);
        let again = again.elapsed();
        landed += u64::from(lost(zombie) > before);
        say(&format!("stop {time}: robbed after {robbed:.1?}, its share again {again:.1?} after"));
        // What either tells is the golden fold, and more can be folded by both.
        cluster.look(zombie);
        cluster.post(&ingress, 10);
        cluster.look(other);
    }
    say("| fault | attempted | landed | lost | twice |");
    say(&format!("| {ZOMBIE} | {times} | {landed} | 0 | 0 |"));
    // The looks would have failed otherwise.
    soak_row(ZOMBIE, times, landed, 0, 0);
    assert_eq!(landed, times, "seed {seed}");
    cluster.nothing_set_aside(&["first", "second"]);
    let [first, second] = nodes;
    second.stop();
    first.stop();
    ingress.stop();
}
