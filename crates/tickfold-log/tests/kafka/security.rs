//! TLS and SASL: who gets in, and who does not.

use std::time::Duration;

use tickfold_log::{
    Error, KafkaLog, KafkaOptions, Log, Password, Sasl, SaslMechanism, Security, Tls,
};

use crate::{
    bench::{append, options, stream, unique},
    broker,
};

/// Options for the secure listener of this process's broker.
pub(crate) fn secure(mechanism: SaslMechanism, password: &str) -> KafkaOptions {
    let broker = broker::own();
    let tls = Some(Tls { ca_file: Some(broker.ca_file.clone()) });
    let (username, password) = (broker::USER.to_owned(), Password::new(password));
    let sasl = Some(Sasl { mechanism, username, password });
    KafkaOptions { security: Security { tls, sasl }, ..options(&broker.secure) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mechanism_gets_in() {
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512]
    {
        let log = KafkaLog::connect(secure(mechanism, broker::PASSWORD)).unwrap();
        let topic = unique("secure");
        log.ensure_topics(&[stream(&topic, 1)]).await.unwrap();
        let at = tickfold_log::TopicPartition::new(topic, 0);
        assert_eq!(log.append(vec![append(&at, "in")]).await.unwrap(), [0], "{mechanism:?}");
        log.close().await.unwrap();
    }
}

#[test]
fn others_do_not() {
    let good = secure(SaslMechanism::ScramSha512, broker::PASSWORD);
    let wrong_password = secure(SaslMechanism::ScramSha512, "wrong");
    let mut other_authority = good.clone();
    other_authority.security.tls = Some(Tls { ca_file: None });
    let mut no_name = good.clone();
    no_name.security.sasl = None;
    let mut in_plain = good;
    in_plain.security = Security::default();
    let cases = [
        ("wrong password", wrong_password),
        ("an authority we do not trust", other_authority),
        ("no name", no_name),
        ("in plain", in_plain),
    ];
    for (case, options) in cases {
        let options = KafkaOptions { call_timeout: Duration::from_secs(2), ..options };
        let refused = KafkaLog::connect(options);
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{case}: {refused:?}");
        let shown = format!("{refused:?}");
        assert!(!shown.contains(broker::PASSWORD), "{case}: {shown}");
    }
}
