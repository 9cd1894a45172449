//! Watches on Kafka with two processors: either serves every watch, and the owner of the partitions may
//! be killed or leave meanwhile. CI runs 40 watchers, `TICKFOLD_SOAK=1` 400.

use std::time::Duration;

use crate::kafka_roles::{Cluster, share};
use crate::support::{Node, eventually, is_soak, say, soak_row};
use crate::watch::{accounts, delays};
use crate::watch_support::{Token, Watchers, percentiles};

#[test]
#[cfg_attr(not(feature = "fail-points"), ignore = "needs --features tickfold/fail-points")]
fn kafka_watches_go_on_when_owners_are_killed_and_move() {
    let (count, kills) = if is_soak() { (400, 6) } else { (40, 2) };
    let mut cluster = Cluster::new(84);
    let ingress = cluster.node("ingress", "ingress");
    let mut nodes: [Node; 2] = ["first", "second"].map(|name| cluster.node("processor", name));
    share(&[&nodes[0], &nodes[1]]);
    let mut watchers = Watchers::new(&[&nodes[0].grpc, &nodes[1].grpc]);
    watchers.start(count, &accounts(), Token::Kept);
    watchers.all_open(1);
    let mut landed = 0;
    for kill in 0..kills {
        cluster.post(&ingress, 15);
        let (name, gone) = [("first", 0), ("second", 1)][kill % 2];
        let broken = watchers.broken();
        watchers.name_nodes(&[&nodes[1 - gone].grpc]);
        let new = {
            let killed = &mut nodes[gone];
            assert!(!killed.has_ended());
            killed.child.kill().unwrap();
            killed.child.wait().unwrap();
            eventually("its streams broke", || (watchers.broken() > broken).then_some(()));
            landed += 1;
            // While nobody has its partitions, the other one serves all watches.
            cluster.post(&ingress, 15);
            cluster.node("processor", name)
        };
        nodes[gone] = new;
        share(&[&nodes[0], &nodes[1]]);
        watchers.name_nodes(&[&nodes[0].grpc, &nodes[1].grpc]);
    }
    // Orderly: the other one takes over at once.
    let [first, second] = nodes;
    watchers.name_nodes(&[&first.grpc]);
    assert_eq!(second.cli(&["stop", "--leave"]).code, Some(0));
    cluster.post(&ingress, 15);
    share(&[&first]);
    let verdict = watchers.verdict(&first);
    say(&format!(
        "{count} watches on kafka over {landed} kills and a leave: {} streams, at least {} transitions \
         each, {} lost, {} twice, {} out of order",
        watchers.opened(),
        watchers.least(),
        verdict.lost,
        verdict.twice,
        verdict.out_of_order
    ));
    let attempted = kills.try_into().unwrap();
    let row = format!("{count} watches over kill -9 of an owner, kafka");
    soak_row(&row, attempted, landed, verdict.lost, verdict.twice);
    assert_eq!(verdict, <_>::default());
    drop(watchers);

    let mut samples = delays(&ingress.http, &first.grpc, "kafka", 60);
    samples.drain(..10);
    say(&format!("POST to watch, kafka: {}", percentiles(&mut samples).1));
    assert!(samples.iter().all(|delay| *delay < Duration::from_secs(10)));
    drop(second);
    assert_eq!(ingress.cli(&["stop"]).code, Some(0));
    first.stop();
}
