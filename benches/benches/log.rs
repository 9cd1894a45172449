//! Appends to the embedded log beside writing the same bytes to a file and syncing it, which is
//! the least that durability costs. `n` appends wait at once and share a sync, as they do when `n`
//! webhooks arrive together.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use tickfold_benches::compare;
use tickfold_log::{Append, EmbeddedLog, EmbeddedOptions, Log, TopicPartition, TopicSpec};

const RECORD_BYTES: usize = 500;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let dir = tempfile::tempdir()?;
    let log = EmbeddedLog::open(dir.path().join("log"), EmbeddedOptions::default())?;
    let log: Arc<dyn Log> = log;
    let spec = TopicSpec { name: "bench.raw".to_owned(), partitions: 1, compacted: false };
    runtime.block_on(log.ensure_topics(&[spec]))?;
    let value = Bytes::from(vec![b'x'; RECORD_BYTES]);
    let mut file = File::create(dir.path().join("floor"))?;

    for (at_once, rounds) in [(1_u32, 200_u32), (10, 100), (100, 50), (1_000, 10)] {
        let mut failed = 0_u32;
        let group: Vec<u8> = (0..at_once).flat_map(|_| value.to_vec()).collect();
        let floor = || {
            for _ in 0..rounds {
                let written = file.write_all(&group).and_then(|()| file.sync_data());
                failed += u32::from(written.is_err());
            }
        };
        let mut refused = 0_u32;
        let ours = || {
            for _ in 0..rounds {
                let appends = (0..at_once).map(|_| {
                    log.append(vec![Append {
                        to: TopicPartition::new("bench.raw", 0),
                        key: None,
                        value: Some(value.clone()),
                        headers: Vec::new(),
                        timestamp_ms: None,
                    }])
                });
                let appended = runtime.block_on(join_all(appends));
                refused += appended.iter().fold(0, |sum, one| sum + u32::from(one.is_err()));
            }
        };
        compare(&format!("append, {at_once} at once, per record"), at_once * rounds, floor, ours);
        if failed + refused > 0 {
            return Err(format!("{failed} writes and {refused} appends failed").into());
        }
    }
    runtime.block_on(log.close())?;
    Ok(())
}
