//! Topics: the settings they get, those that are refused, and that nothing creates one by accident.

use rdkafka::admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use tickfold_log::{
    Append, Error, Found, KafkaLog, KafkaOptions, KafkaTopics, Log, Setting, TopicPartition,
    TopicSpec, Weight,
};

use crate::{
    bench::{Bench, admin, append, options, stream, unique},
    broker,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_has_the_brokers_time_and_is_kept() {
    let raw = unique("raw");
    let append_time_topics = vec![raw.clone()];
    let log = KafkaLog::connect(KafkaOptions { append_time_topics, ..options(broker::shared()) })
        .unwrap();
    let table = TopicSpec { compacted: true, ..stream(&unique("table"), 1) };
    let specs = [stream(&raw, 1), table.clone()];
    log.ensure_topics(&specs).await.unwrap();
    log.ensure_topics(&specs).await.expect("what it created is as it wants it");

    let at = TopicPartition::new(raw.as_str(), 0);
    log.append(vec![Append { timestamp_ms: Some(5), ..append(&at, "a") }]).await.unwrap();
    let read = log.read(&at, 0, 1, 1).await.unwrap();
    assert!(read[0].timestamp_ms > 1_700_000_000_000, "{:?}", read[0].timestamp_ms);

    let topics = [ResourceSpecifier::Topic(&raw), ResourceSpecifier::Topic(&table.name)];
    let described = admin().describe_configs(&topics, &AdminOptions::new()).await.unwrap();
    let setting = |topic: usize, name: &str| {
        described[topic].as_ref().unwrap().get(name).unwrap().value.clone().unwrap()
    };
    for (name, wanted) in [
        ("message.timestamp.type", "LogAppendTime"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("cleanup.policy", "delete"),
        ("unclean.leader.election.enable", "false"),
    ] {
        assert_eq!(setting(0, name), wanted, "{name}");
    }
    assert_eq!(setting(1, "cleanup.policy"), "compact");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_settings_are_refused_by_name() {
    let large = ("max.message.bytes", "6000000");
    let log_time = ("message.timestamp.type", "LogAppendTime");
    let (ever, any_size) = (("retention.ms", "-1"), ("retention.bytes", "-1"));
    // What is wrong first, and whether it is wrong for raw.
    type Case<'a> = (&'a str, bool, Vec<(&'a str, &'a str)>);
    let cases: [Case<'_>; 10] = [
        ("max.message.bytes", false, vec![]),
        ("max.message.bytes", true, vec![log_time, ever, any_size]),
        ("message.timestamp.type", true, vec![large, ever, any_size]),
        ("message.timestamp.type", false, vec![large, log_time]),
        ("retention.ms", true, vec![large, log_time, ("retention.ms", "604800000"), any_size]),
        ("retention.bytes", true, vec![large, log_time, ever, ("retention.bytes", "1000000")]),
        ("compacted", false, vec![large, ("cleanup.policy", "compact")]),
        ("unclean", false, vec![large, ("unclean.leader.election.enable", "true")]),
        // What is made from an old or an early record would be refused for ever.
        (
            "message.timestamp.before",
            false,
            vec![large, ("message.timestamp.before.max.ms", "1000")],
        ),
        ("message.timestamp.after", false, vec![large, ("message.timestamp.after.max.ms", "1000")]),
    ];
    for (setting, raw, settings) in cases {
        let name = unique("wrong");
        let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        admin().create_topics([&topic], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
        let append_time_topics = if raw { vec![name.clone()] } else { vec![] };
        let options = KafkaOptions { append_time_topics, ..options(broker::shared()) };
        let log = KafkaLog::connect(options).unwrap();
        let refused = log.ensure_topics(&[stream(&name, 1)]).await;
        let Err(Error::TopicMismatch { topic, reason }) = &refused else {
            panic!("{setting}: {refused:?}")
        };
        assert!(*topic == name && reason.starts_with(setting), "{setting}: {reason}");
    }
    // The same topic, for an owner who wants more replicas in sync.
    let bench = Bench::new(broker::shared(), "replicas").await;
    let options = KafkaOptions { min_insync_replicas: 2, ..options(broker::shared()) };
    let log = KafkaLog::connect(options).unwrap();
    let refused = log.ensure_topics(&[stream(&bench.topic, 2)]).await.unwrap_err().to_string();
    assert!(refused.contains("min.insync.replicas: wanted 2, found 1"), "{refused}");
}

/// The broker creates topics on demand, as many clusters do; no call of ours demands one.
/// Appends that wait for the brokers have a bound; the one that would pass it is refused at once, one
/// that is larger than all of it goes alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_above_the_bytes_that_may_wait_are_refused() {
    let bench = Bench::new(broker::shared(), "bounded").await;
    let log = KafkaLog::connect(KafkaOptions {
        append_bytes_max: 1_000,
        ..options(bench.brokers.as_str())
    });
    let log = log.unwrap();
    let of = |bytes: usize| vec![append(&bench.at(0), &"v".repeat(bytes))];
    log.append(of(5_000)).await.unwrap();
    let all = futures_util::future::join_all((0..50).map(|_| log.append(of(600)))).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert!(!accepted.is_empty() && !refused.is_empty(), "{} accepted", accepted.len());
    assert!(refused.iter().all(|one| matches!(one, Err(Error::Unavailable { .. }))), "{refused:?}");
    assert_eq!(bench.values(0).await.len(), 1 + accepted.len());
    log.append(of(600)).await.unwrap();
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_creates_a_topic() {
    let log = KafkaLog::connect(options(broker::shared())).unwrap();
    let name = unique("never");
    let at = TopicPartition::new(name.as_str(), 0);
    for attempt in 0..2 {
        let errors = [
            log.append(vec![append(&at, "x")]).await.err(),
            log.read(&at, 0, 1, 1).await.err(),
            log.bounds(&at).await.err(),
            log.wait_past(&at, 0).await.err(),
            log.claim("g", &at).await.err(),
        ];
        for error in errors {
            assert!(matches!(error, Some(Error::UnknownPartition(_))), "{attempt}: {error:?}");
        }
    }
    let listed = log.topics().await.unwrap();
    assert!(listed.iter().all(|topic| topic.spec.name != name));
}

/// A survey says what a log would refuse, and creates what is missing without touching the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survey_says_what_is_wrong_and_creates_only_what_is_missing() {
    let (raw, table, wide) = (unique("raw"), unique("table"), unique("wide"));
    let specs =
        [stream(&raw, 2), TopicSpec { compacted: true, ..stream(&table, 2) }, stream(&wide, 2)];
    let log_options =
        KafkaOptions { append_time_topics: vec![raw.clone()], ..options(broker::shared()) };
    let cluster = KafkaTopics::new(log_options.clone()).unwrap();
    let none = cluster.look(&specs).await.unwrap();
    assert!(none.iter().all(|survey| survey.found.is_none()), "looking creates nothing: {none:?}");
    assert!(none.iter().all(|survey| survey.settings.iter().all(|setting| !setting.fits)));

    // Raw as somebody made it who knew nothing of it, and a stream with partitions to spare.
    let made = [("retention.ms", "604800000"), ("cleanup.policy", "compact")];
    let topic = NewTopic::new(&raw, 1, TopicReplication::Fixed(1));
    let topic = made.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
    let large = NewTopic::new(&wide, 5, TopicReplication::Fixed(1));
    let large = large.set("max.message.bytes", "9000000").set("retention.ms", "5000");
    let large = large.set("message.timestamp.after.max.ms", "9223372036854775807");
    let made = admin().create_topics([&topic, &large], &AdminOptions::new()).await.unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");

    // A broker answers a creation a moment before it shows the topic.
    let looked = loop {
        let looked = cluster.look(&specs).await.unwrap();
        if looked[0].found.is_some() && looked[2].found.is_some() {
            break looked;
        }
    };
    let misfits = |settings: &[Setting], weight: &dyn Fn(Weight) -> bool| -> Vec<&'static str> {
        let misfits = settings.iter().filter(|setting| !setting.fits && weight(setting.weight));
        misfits.map(|setting| setting.name).collect()
    };
    let (advised, promised) = (|w| w == Weight::Advised, |w| w != Weight::Advised);
    assert_eq!(looked[0].found, Some(Found { partitions: 1, replicas: 1 }));
    assert_eq!(
        misfits(&looked[0].settings, &promised),
        ["cleanup.policy", "max.message.bytes", "message.timestamp.type", "retention.ms"]
    );
    assert_eq!(looked[1].found, None);
    assert_eq!(looked[2].found, Some(Found { partitions: 5, replicas: 1 }));
    assert!(misfits(&looked[2].settings, &promised).is_empty(), "{:?}", looked[2]);
    assert_eq!(misfits(&looked[2].settings, &advised), ["retention.ms"]);

    assert_eq!(cluster.create_missing(&specs).await.unwrap(), [table]);
    assert!(cluster.create_missing(&specs).await.unwrap().is_empty());
    let after = cluster.look(&specs).await.unwrap();
    assert_eq!((&after[0], &after[2]), (&looked[0], &looked[2]), "what exists stays as it is");
    assert_eq!(after[1].found, Some(Found { partitions: 2, replicas: 1 }));
    assert!(after[1].settings.iter().all(|setting| setting.fits), "{:?}", after[1]);

    // The log takes and refuses by the same settings.
    let log = KafkaLog::connect(log_options).unwrap();
    let refused = log.ensure_topics(&specs).await;
    assert!(matches!(&refused, Err(Error::TopicMismatch { topic, .. }) if *topic == raw));
    let infos = log.ensure_topics(&specs[1..]).await.unwrap();
    assert_eq!(infos[1].spec.partitions, 5, "more are reported and otherwise ignored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_not_there_cannot_be_looked_at() {
    let call_timeout = std::time::Duration::from_millis(500);
    let options = KafkaOptions { call_timeout, ..options("127.0.0.1:1") };
    let looked = KafkaTopics::new(options).unwrap().look(&[stream("t", 1)]).await;
    assert!(matches!(looked, Err(Error::Unavailable { .. })), "{looked:?}");
}
