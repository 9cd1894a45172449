//! Log lines and the metrics recorder.

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Telemetry};

/// Buckets of durations, in seconds. Without fixed ones the exporter would render summaries, which
/// cannot be added up over processes.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Buckets of the age of events, in seconds: Meta delivers again for up to 7 days, by another of its
/// pages for 36 hours.
const EVENT_AGES: [f64; 15] = [
    1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0, 43_200.0, 86_400.0,
    129_600.0, 259_200.0, 604_800.0,
];

/// Buckets of the time from an append to the state, in seconds: milliseconds when all is well, hours
/// after an outage.
const STATE_AGES: [f64; 16] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0,
    21_600.0,
];

/// Buckets of sizes, in bytes.
const BYTES: [f64; 8] =
    [512.0, 2_048.0, 8_192.0, 32_768.0, 131_072.0, 524_288.0, 2_097_152.0, 8_388_608.0];

/// Buckets of counts, in records.
const RECORDS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0];

/// Log lines go to standard error: standard output belongs to answers.
pub(crate) fn init_logs(telemetry: &Telemetry) -> Result<()> {
    let filter = EnvFilter::try_new(&telemetry.log)
        .with_context(|| format!("telemetry.log = {:?} is not a filter", telemetry.log))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A line that cannot be written, on a full disk, is lost; to complain of it there would panic.
    let builder = builder.log_internal_errors(false);
    match telemetry.log_format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("start logging: {error}"))
}

/// Installs the recorder; the handle renders `/metrics`.
pub(crate) fn init_metrics() -> Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES)
        })
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_records".to_owned()), &RECORDS)
        })
        .and_then(|builder| {
            let event_age = tickfold_ingress::metrics::EVENT_AGE_SECONDS.to_owned();
            builder.set_buckets_for_metric(Matcher::Full(event_age), &EVENT_AGES)
        })
        .and_then(|builder| {
            let event_age = tickfold_processor::metrics::EVENT_AGE_SECONDS.to_owned();
            builder.set_buckets_for_metric(Matcher::Full(event_age), &STATE_AGES)
        })
        .context("set metric buckets")?
        .install_recorder()
        .context("install metrics recorder")?;
    crate::metrics::describe();
    Ok(handle)
}
