//! `tickfold up`: everything in one process, built in dependency order and taken down in the
//! reverse.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tickfold_core::time::Timestamp;
use tickfold_ingress::{AppStatus, IngressOptions, IngressStatus, Quarantine, QuarantineParts};
use tickfold_log::{Departure, GroupSpec, Log};
use tickfold_processor::{Address, Options as ProcessorOptions, Processor};
use tickfold_proto::admin::v1::ingress_admin_service_server::IngressAdminServiceServer;
use tickfold_proto::admin::v1::rules_service_server::RulesServiceServer;
use tickfold_query::{QueryOptions, QueryStatus, Role, RoleOf};
use tickfold_store::{RocksOptions, RocksStores, Stores};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{error, info, warn};

use crate::admin::{self, Admin};
use crate::config::{Config, Layers};
use crate::ingress_admin::IngressAdmin;
use crate::reload::{Reload, Sources};
use crate::rules::RulesAdmin;
use crate::{fail_points, log, telemetry};

/// Open files beside the connections of ingress: tables of log and state, other listeners.
const FILES_BESIDE: u64 = 2_048;

/// Runs until a signal, then stops in order.
pub(crate) async fn run(layers: &Layers) -> Result<()> {
    let config = layers.read()?;
    telemetry::init_logs(&config.telemetry)?;
    let metrics = telemetry::init_metrics()?;
    // From here on: before, it would end the process.
    let hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    raise_open_files_limit(config.ingress.connections_max);
    let reload = Arc::new(Reload::first(Sources::new(&config)?)?);
    let (apps, tls) = (reload.apps.clone(), reload.tls.clone());
    let (ingress_options, query_options) = (ingress_options(&config), query_options(&config));
    ingress_options.check().context("check ingress options")?;
    tickfold_query::validate(config.grpc_addr, &query_options).context("check query options")?;
    ingress_options.check_listener(config.http_addr, tls.is_some()).context("check http_addr")?;
    let admin_addr = config.admin_addr;
    if !admin_addr.ip().is_loopback() {
        anyhow::bail!("admin_addr = {admin_addr} is not a loopback address: anyone could read it");
    }
    let http = bind("http_addr", config.http_addr)?;
    let grpc = bind("grpc_addr", config.grpc_addr)?;
    let admin = bind("admin_addr", config.admin_addr)?;
    let addresses = (http.local_addr()?, grpc.local_addr()?, admin.local_addr()?);

    let log = log::open(&config).await?;
    let stores = Arc::new(
        RocksStores::open(config.data_dir.join("state"), store_options(&config))
            .context("open state")?,
    );
    let stores: Arc<dyn Stores> = stores;
    let processor_options = processor_options(&config, addresses.1)?;
    let topics =
        tickfold_processor::ensure_topics(log.as_ref(), &processor_options, config.partitions)
            .await?;
    // Ingress would route by one count what was routed by another.
    if let Some(topic) = topics.iter().find(|topic| topic.spec.partitions != config.partitions) {
        anyhow::bail!(
            "partitions = {}, but {} was created with {}: the count is fixed when the data directory is created",
            config.partitions,
            topic.spec.name,
            topic.spec.partitions
        );
    }
    let raw_topic = tickfold_processor::raw_topic(&config.topic_prefix);
    let quarantine = open_quarantine(&config, &log, &raw_topic).await?;

    let runtime = tokio::runtime::Handle::current();
    let spec = GroupSpec {
        group: config.group.clone(),
        topic: raw_topic.clone(),
        instance: processor_options.address.as_str().to_owned(),
    };
    let member = Arc::clone(&log).join(spec).await.context("join the consumer group")?;
    let mut processor =
        Processor::spawn(&log, &stores, member, processor_options, config.partitions, &runtime)?;
    let statuses = processor.statuses().clone();
    let (query_stop, ingress_stop, admin_stop) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let (query_status, ingress_status) =
        (QueryStatus::new(config.partitions), IngressStatus::new());

    let ingress_admin =
        IngressAdmin { reload: Arc::clone(&reload), quarantine: quarantine.clone() };
    let rules_admin = RulesAdmin {
        log: Arc::clone(&log),
        stores: Arc::clone(&stores),
        raw_topic: raw_topic.clone(),
        partition_count: config.partitions,
        applying: tokio::sync::Mutex::default(),
    };
    let services = Routes::new(IngressAdminServiceServer::new(ingress_admin))
        .add_service(RulesServiceServer::new(rules_admin));
    let roles = statuses.clone();
    let mut query = tokio::spawn(tickfold_query::run(
        tickfold_query::Parts {
            listener: tokio::net::TcpListener::from_std(grpc).context("listen for gRPC")?,
            stores,
            log: Arc::clone(&log),
            partition_count: config.partitions,
            topic_prefix: config.topic_prefix.clone(),
            role: RoleOf::new(move |partition| match roles.get(&partition) {
                Some(status) if status.borrow().is_live() => Role::Owner,
                _ => Role::Frozen,
            }),
            options: query_options,
            clock: tickfold_query::Clock::system(),
            status: query_status.clone(),
            services,
        },
        query_stop.clone(),
    ));
    let mut ingress = tokio::spawn(tickfold_ingress::run(
        tickfold_ingress::Parts {
            listener: http,
            log: fail_points::wrap(Arc::clone(&log)),
            options: ingress_options,
            apps: apps.clone(),
            raw_topic,
            partition_count: config.partitions,
            clock: now,
            status: ingress_status.clone(),
            tls: tls.clone(),
            quarantine: quarantine.clone(),
        },
        ingress_stop.clone(),
    ));
    let admin_parts = Admin {
        metrics,
        apps: apps.clone(),
        ingress: ingress_status,
        query: query_status,
        partitions: statuses,
    };
    let mut admin = tokio::spawn(admin::run(admin, admin_parts.clone(), admin_stop.clone()));

    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = addresses.0;
    let url = |app: AppStatus| format!("{scheme}://{address}/webhook/{}", app.name);
    let webhooks: Vec<_> = apps.snapshot(now()).into_iter().map(url).collect();
    let webhooks = webhooks.join(" ");
    // Queries serve once every partition's state is open; saying so earlier would invite a caller
    // who then gets UNAVAILABLE.
    let ready = admin_parts.clone();
    let announce = async move {
        ready.until_serving().await;
        announce(&webhooks, addresses.1, addresses.2);
        std::future::pending::<()>().await;
    };
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let failed: Option<anyhow::Error> = tokio::select! {
        () = announce => None,
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        // A partition that panicked or is stuck is a defect; going on without it would look like
        // health.
        ended = processor.ended() => Some(ended.into()),
        () = reload.on_hangup(hangup) => Some(anyhow!("signals can no longer be received")),
        ended = &mut query => Some(end_of("query", ended)),
        ended = &mut ingress => Some(end_of("ingress", ended)),
        ended = &mut admin => Some(end_of("admin", ended)),
    };

    info!("stopping: no new webhooks, then the processor, then queries, then the log");
    let mut failures: Vec<anyhow::Error> = failed.into_iter().collect();
    ingress_stop.cancel();
    join(ingress, "ingress", &mut failures).await;
    if let Err(failure) = processor.stop(Departure::Restart).await {
        failures.push(failure.into());
    }
    query_stop.cancel();
    join(query, "query", &mut failures).await;
    if let Err(failure) = log.close().await {
        failures.push(anyhow::Error::from(failure).context("close the log"));
    }
    admin_stop.cancel();
    join(admin, "admin", &mut failures).await;
    for failure in failures.iter().skip(1) {
        error!(error = format!("{failure:#}"), "stopped with a further failure");
    }
    failures.into_iter().next().map_or(Ok(()), Err)
}

/// The quarantine, if there is to be one; its topic is created with it.
async fn open_quarantine(
    config: &Config,
    log: &Arc<dyn Log>,
    raw_topic: &str,
) -> Result<Option<Quarantine>> {
    let bytes_max = config.ingress.quarantine_bytes_max;
    if bytes_max == 0 {
        return Ok(None);
    }
    let topic = Quarantine::topic(&config.topic_prefix);
    let parts = QuarantineParts {
        log: Arc::clone(log),
        topic: topic.name.clone(),
        raw_topic: raw_topic.to_owned(),
        partition_count: config.partitions,
        bytes_max,
    };
    log.ensure_topics(&[topic]).await.context("check the topic of the quarantine")?;
    Ok(Some(Quarantine::open(parts).await.context("open the quarantine")?))
}

/// Connections need file descriptors, and a usual soft limit is 1,024.
fn raise_open_files_limit(connections_max: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let needed = u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_add(FILES_BESIDE);
    if let Some(current) = current.filter(|current| *current < needed) {
        warn!(current, needed, "the limit of open files is too low for ingress.connections_max");
    }
}

fn bind(name: &str, address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("bind {name} {address}"))?;
    listener.set_nonblocking(true).with_context(|| format!("bind {name} {address}"))?;
    Ok(listener)
}

#[expect(clippy::print_stdout, reason = "the one line that says where it serves")]
fn announce(webhooks: &str, grpc: SocketAddr, admin: SocketAddr) {
    println!("tickfold up: webhooks {webhooks}, gRPC {grpc}, admin http://{admin}");
}

type Ended<E> = Result<Result<(), E>, tokio::task::JoinError>;

/// What to say of a part that ended although nothing told it to.
fn end_of<E: std::error::Error + Send + Sync + 'static>(
    name: &str,
    ended: Ended<E>,
) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow!("{name} ended by itself"),
        Ok(Err(failure)) => anyhow::Error::from(failure).context(format!("run {name}")),
        Err(failure) => anyhow::Error::from(failure).context(format!("run {name}")),
    }
}

async fn join<E: std::error::Error + Send + Sync + 'static>(
    task: tokio::task::JoinHandle<Result<(), E>>,
    name: &str,
    failures: &mut Vec<anyhow::Error>,
) {
    // One that ended before was looked at then; polling its handle again would panic.
    if task.is_finished() && !failures.is_empty() {
        return;
    }
    match task.await {
        Ok(Ok(())) => {}
        other => failures.push(end_of(name, other)),
    }
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

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
        concurrent_requests_max: c.concurrent_requests_max,
        drain_limit: c.drain_limit,
        ..QueryOptions::default()
    }
}

pub(crate) fn processor_options(config: &Config, address: SocketAddr) -> Result<ProcessorOptions> {
    let c = &config.processor;
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut options = ProcessorOptions {
        topic_prefix: config.topic_prefix.clone(),
        group: config.group.clone(),
        address: Address::parse(&address.to_string()).context("make the owner's address")?,
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
