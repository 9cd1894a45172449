//! Every sample body through the real port: taken, appended where it belongs, folded there and
//! nowhere else, dead letters exactly where the index marks them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tempfile::TempDir;
use tickfold_core::records::Topic;
use tickfold_core::route::{Placement, slots};

use crate::support::{Node, PARTITIONS, Record, assert_golden, topic};

/// A sample: its name, its body, the dead letters it leaves.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) body: Vec<u8>,
    dead: Vec<String>,
}

pub(crate) fn corpus() -> Vec<Sample> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tickfold-core/testdata/corpus");
    let index = std::fs::read_to_string(dir.join("index.tsv")).unwrap();
    let sample = |line: &str| {
        let columns: Vec<_> = line.split('\t').collect();
        let keys = columns[3].split(" ; ").map(str::trim);
        let mut dead: Vec<_> =
            keys.filter_map(|key| key.strip_prefix("DLQ:")).map(str::to_owned).collect();
        dead.sort();
        let name = columns[0].to_owned();
        let body = std::fs::read(dir.join(&name)).unwrap();
        Sample { name, body, dead }
    };
    let samples: Vec<_> = index.lines().skip(1).map(sample).collect();
    assert_eq!(samples.len(), 398, "the whole corpus is there");
    samples
}

/// What a raw or derived record comes from.
type Position = (u32, u64);

#[test]
fn every_sample_is_taken_and_each_item_folded_once_where_it_was_appended() {
    let samples = corpus();
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let mut http = node.webhooks();
    for Sample { name, body, .. } in &samples {
        assert_eq!(http.post_signed(body).unwrap().status, 200, "{name}");
    }
    let golden = assert_golden(&node);

    // One request, one id, in every partition to which the body went; ids in the order of posts.
    let raw: BTreeMap<Position, Record> = node
        .raw_webhooks()
        .into_iter()
        .map(|record| ((record.partition, record.offset), record))
        .collect();
    let mut by_request: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in raw.values() {
        by_request.entry(&record.headers["wa-request-id"]).or_default().push(record);
    }
    assert_eq!(by_request.len(), samples.len(), "one request id for each post");
    let names: BTreeMap<&[u8], &Sample> =
        samples.iter().map(|sample| (sample.body.as_slice(), sample)).collect();
    let sample_of = |request: &str| -> &Sample {
        let body = by_request[request][0].bytes().unwrap();
        names.get(body.as_slice()).unwrap_or_else(|| panic!("request {request} was never posted"))
    };
    let mut appended: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for (request, records) in &by_request {
        let sample = sample_of(request);
        let partitions: BTreeSet<u32> = records.iter().map(|record| record.partition).collect();
        assert_eq!(partitions.len(), records.len(), "{} twice in a partition", sample.name);
        let bodies = records.iter().all(|record| record.bytes().unwrap() == sample.body);
        assert!(bodies, "{} differs from what was posted", sample.name);
        let placement = Placement::new(&sample.body, PARTITIONS);
        let mut wanted: BTreeSet<u32> = slots(&sample.body)
            .iter()
            .map(|(_, waba_id)| placement.partition(waba_id.as_ref()))
            .collect();
        if wanted.is_empty() {
            // A body without a single item still has its place.
            wanted.clone_from(&partitions);
            assert_eq!(partitions.len(), 1, "{}", sample.name);
        }
        assert_eq!(partitions, wanted, "{} is where its items are folded", sample.name);
        appended.insert(request, partitions);
    }

    // Derived records name their source; items that carry their path come from one partition each.
    let mut items: BTreeMap<(String, String), BTreeSet<u32>> = BTreeMap::new();
    let mut dead: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut count = 0;
    for of in Topic::ALL {
        for record in node.tail(&topic(of)) {
            count += 1;
            let value = record.json();
            let partition = u32::try_from(value["source_partition"].as_u64().unwrap()).unwrap();
            assert_eq!(partition, record.partition, "derived partition p = raw p");
            let source = raw.get(&(partition, value["source_offset"].as_u64().unwrap()));
            // Ticks may fire timers; nothing else but a webhook makes outputs.
            let Some(source) = source else { continue };
            let request = source.headers["wa-request-id"].as_str();
            assert!(appended[request].contains(&partition));
            if let Some(path) = value["path"].as_str() {
                let item = (request.to_owned(), path.to_owned());
                items.entry(item).or_default().insert(partition);
            }
            if of == Topic::DeadLetter {
                let request = by_request.get_key_value(request).unwrap().0;
                dead.entry(request).or_default().push(value["scope"].as_str().unwrap().to_owned());
                assert_eq!(value["position"], format!("{partition}-{}", source.offset));
            }
        }
    }
    assert_eq!(count, golden.count());
    for ((request, path), partitions) in &items {
        let name = &sample_of(request).name;
        assert_eq!(partitions.len(), 1, "{name} {path} is folded in {partitions:?}");
    }
    let mut letters = 0;
    for request in by_request.keys() {
        let sample = sample_of(request);
        let mut found = dead.remove(request).unwrap_or_default();
        found.sort();
        assert_eq!(found, sample.dead, "dead letters of {}", sample.name);
        letters += found.len();
    }
    assert_eq!(letters, 16);
    println!("{} raw records, {count} outputs, {letters} dead letters", raw.len());
    node.stop();
}
