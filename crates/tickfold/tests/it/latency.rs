//! Time from a POST to its visibility over gRPC on an idle node. Prints, and asserts only that
//! everything became visible: a threshold would measure the machine.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{Node, Quiet, eventually, say, status_body};

const SAMPLES: usize = 200;

#[test]
fn from_post_to_visible_over_grpc() {
    // Other tests run nodes of their own beside this one.
    let quiet = Quiet::within(Duration::from_secs(15));
    let dir = TempDir::new().unwrap();
    let node = match &quiet {
        Some(quiet) => Node::start_in_quiet(dir.path(), quiet),
        None => Node::start(dir.path()),
    };
    let (mut http, mut rpc) = (node.webhooks(), node.rpc());
    let mut sample = |index: usize| {
        let wamid = format!("wamid.L{index}");
        let body = status_body(&wamid, "sent", 1);
        let begin = Instant::now();
        assert_eq!(http.post_signed(body.as_bytes()).unwrap().status, 200);
        let answered = begin.elapsed();
        // Without a pause; `eventually` would add its own.
        while rpc.message(&wamid).is_none() {
            assert!(begin.elapsed() < Duration::from_secs(10), "{wamid} never became visible");
        }
        (answered, begin.elapsed())
    };
    // The first ones open connections and touch files for the first time.
    for index in SAMPLES..SAMPLES + 10 {
        sample(index);
    }
    let (mut answered, mut visible): (Vec<_>, Vec<_>) = (0..SAMPLES).map(sample).unzip();
    let load = if quiet.is_some() { "idle node" } else { "beside nodes of other tests" };
    say(&line(load, "200", &mut answered));
    say(&line(load, "visible over gRPC", &mut visible));

    drop(quiet);
    let mut rpc = node.rpc();
    eventually("all samples are visible", || {
        (0..SAMPLES).all(|index| rpc.message(&format!("wamid.L{index}")).is_some()).then_some(())
    });
    node.stop();
}

fn line(load: &str, what: &str, samples: &mut [Duration]) -> String {
    samples.sort();
    let ms = |percent: usize| {
        let index = (samples.len() * percent).div_ceil(100).saturating_sub(1);
        samples[index].as_secs_f64() * 1_000.0
    };
    let (p50, p99, max) = (ms(50), ms(99), ms(100));
    let count = samples.len();
    format!("POST to {what}, {load}: p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms of {count}")
}
