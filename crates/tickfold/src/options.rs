//! What the settings mean for each part.

use std::time::Duration;

use anyhow::{Context, Result};
use tickfold_ingress::IngressOptions;
use tickfold_processor::{Address, Options as ProcessorOptions};
use tickfold_query::QueryOptions;
use tickfold_store::RocksOptions;

use crate::config::Config;
use crate::fail_points;

pub(crate) fn ingress_options(config: &Config) -> IngressOptions {
    let c = &config.ingress;
    IngressOptions {
        body_bytes_max: c.body_bytes_max,
        header_deadline: c.header_deadline,
        body_deadline: c.body_deadline,
        idle_deadline: c.idle_deadline,
        answer_deadline: c.answer_deadline,
        append_latency_max: c.append_latency_max,
        connections_max: c.connections_max,
        inflight_bytes_max: c.inflight_bytes_max,
        drain_limit: c.drain_limit,
        tick_interval: c.tick_interval,
        behind_proxy: c.behind_proxy,
        trusted_proxies: c.trusted_proxies.clone(),
        allow: c.allow.clone(),
        quarantine_bytes_max: c.quarantine_bytes_max,
    }
}

pub(crate) fn store_options(config: &Config) -> RocksOptions {
    let c = &config.store;
    RocksOptions {
        block_cache_bytes: c.block_cache_bytes,
        write_buffer_bytes_total: c.write_buffer_bytes_total,
        checkpoint_dir: c.checkpoint_dir.clone(),
        ..RocksOptions::default()
    }
}

pub(crate) fn query_options(config: &Config) -> QueryOptions {
    let c = &config.query;
    QueryOptions {
        request_timeout: c.request_timeout,
        request_timeout_max: c.request_timeout_max,
        connections_max: c.connections_max,
        concurrent_requests_max: c.concurrent_requests_max,
        tail_streams_max: c.tail_streams_max,
        watch_streams_max: c.watch_streams_max,
        web_origins: c.web_origins.clone(),
        drain_limit: c.drain_limit,
        ..QueryOptions::default()
    }
}

/// `address` is where other nodes ask this one.
pub(crate) fn processor_options(config: &Config, address: &str) -> Result<ProcessorOptions> {
    let c = &config.processor;
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut options = ProcessorOptions {
        topic_prefix: config.topic_prefix.clone(),
        group: config.group.clone(),
        address: Address::parse(address).context("make the owner's address")?,
        batch_records_max: c.batch_records_max,
        batch_bytes_max: c.batch_bytes_max,
        tick_commit_interval_ms: millis(c.tick_commit_interval),
        stuck_ms_max: millis(c.stuck_after),
        // Without a place for them there are none.
        checkpoint_interval_ms: config
            .store
            .checkpoint_dir
            .as_ref()
            .map(|_| millis(c.checkpoint_interval)),
        checkpoints_kept: c.checkpoints_kept,
        ..ProcessorOptions::default()
    };
    fail_points::arm(&mut options)?;
    Ok(options)
}
