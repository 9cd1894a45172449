//! The admin listener of a running node.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Http, Node, PARTITIONS, WEBHOOK, assert_golden, eventually, status_body};

#[test]
fn probes_metrics_and_status_tell_what_the_node_does() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    // It said that it is up, so it is ready.
    assert_eq!(node.admin("/livez").status, 200);
    let ready = node.admin("/readyz");
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert_eq!(node.admin("/readyz/ingress").status, 200);

    node.post(status_body("wamid.A", "sent", 1));
    node.post("{");
    assert_eq!(node.webhooks().send("POST", WEBHOOK, &[], b"{}").unwrap().status, 401);
    assert_golden(&node);
    node.cli_json(&["get", "message", "wamid.A"]);

    let metrics = node.admin("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain"));
    let metrics = metrics.text();
    for line in [
        "tickfold_ingress_requests_total{outcome=\"accepted\"} 2",
        "tickfold_ingress_requests_total{outcome=\"signature_refused\"} 1",
        "tickfold_ingress_signature_failures_total{app=\"main\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    }
    for name in [
        "tickfold_build_info",
        "tickfold_ingress_append_seconds",
        "tickfold_ingress_body_bytes",
        "tickfold_log_sync_seconds",
        "tickfold_log_group_records",
        "tickfold_processor_commits_total",
        "tickfold_processor_outputs_total",
        "tickfold_processor_dead_letters_total",
        "tickfold_processor_lag_records",
        "tickfold_query_requests_total",
        "tickfold_query_request_seconds",
    ] {
        let begins = |line: &str| line.starts_with(name);
        assert!(metrics.lines().any(begins), "no {name} in\n{metrics}");
        assert!(metrics.contains(&format!("# TYPE {name} ")), "{name} has no type");
    }
    for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert!(line.starts_with("tickfold_"), "{line}");
    }

    let status: Value = eventually("every partition is live", || {
        let status: Value = serde_json::from_str(&node.admin("/statusz").text()).unwrap();
        let partitions = status["partitions"].as_array().unwrap();
        partitions.iter().all(|partition| partition["state"] == "live").then_some(status)
    });
    let partitions = status["partitions"].as_array().unwrap();
    let numbers: Vec<_> = partitions.iter().map(|one| one["partition"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..u64::from(PARTITIONS)).collect::<Vec<_>>());
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["fold_version"], tickfold_core::FOLD_VERSION);
    assert_eq!((&status["role"], &status["address"]), (&"up".into(), &node.grpc.as_str().into()));
    assert!(status["uptime_seconds"].as_u64().unwrap() < 600, "{status}");
    assert_eq!(status["config_digest"].as_str().unwrap().len(), 16);
    let at_rest = |partition: &Value| {
        partition["owner"] == node.grpc.as_str()
            && partition["lag_records"].is_u64()
            && partition["state_age_seconds"].as_f64().is_some_and(|age| age < 30.0)
            && partition["position"].is_u64()
    };
    assert!(partitions.iter().all(at_rest), "{status}");
    let config = node.admin("/configz").text();
    assert!(config.contains("topic_prefix = \"wa\""), "{config}");

    for path in ["/nowhere", "/webhook/main", "/console/", "/console/../statusz"] {
        assert_eq!(node.admin(path).status, 404, "{path}");
    }
    // Not on the port that faces the internet.
    for path in ["/metrics", "/statusz", "/configz", "/readyz", "/livez", "/", "/v1/accounts"] {
        assert_eq!(node.webhooks().send("GET", path, &[], b"").unwrap().status, 404, "{path}");
    }
    node.stop();
}

#[test]
fn log_lines_and_status_hold_no_secret_and_no_body() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    let body = status_body("wamid.PERSONAL", "sent", 1);
    node.post(&body);
    node.post("{");
    let signature = crate::support::signature(b"another body");
    let headers = [("x-hub-signature-256", signature.as_str())];
    node.webhooks().send("POST", WEBHOOK, &headers, body.as_bytes()).unwrap();
    assert_golden(&node);
    let pages = ["/statusz", "/metrics", "/configz"].map(|path| node.admin(path).text());
    let told = [node.log(), pages.concat()].concat();
    let secrets = [crate::support::SECRET, crate::support::VERIFY_TOKEN];
    for secret in secrets.into_iter().chain(["wamid.PERSONAL", crate::support::PARTY]) {
        assert!(!told.contains(secret), "{secret} is told in\n{told}");
    }
    node.stop();
}

#[test]
fn eight_hundred_wamids_fit_into_an_address_and_a_longer_head_is_refused() {
    let dir = TempDir::new().unwrap();
    let node = Node::start(dir.path());
    // As long as those of Meta, and escaped as a library does it.
    let wamid =
        |n: usize| format!("&wamids=wamid.HBgMNDQ3NzAwOTAwMTIzFQIAERgSN0ZFRTlGNUQ{n:08}AA%3D%3D");
    let url = |count: usize| -> String {
        let wamids = (0..count).map(wamid);
        format!("/v1/messages:lookup?view=MESSAGE_VIEW_BASIC{}", wamids.collect::<String>())
    };
    let answer = node.admin(&url(800));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told["missing"].as_array().unwrap().len(), 800);
    // The node hangs up on what it does not read, which may overtake its answer.
    let long = url(1_000);
    assert!(long.len() > 64 * 1024, "{}", long.len());
    let refused = eventually("the refusal arrives", || {
        Http::new(&node.admin).send("GET", &long, &[], b"").ok()
    });
    assert!([414, 431].contains(&refused.status), "{refused:?}");
    node.stop();
}
