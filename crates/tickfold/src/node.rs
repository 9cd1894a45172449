//! A node: `tickfold up`, `tickfold ingress` or `tickfold processor`. Its parts are built in
//! dependency order and taken down in the reverse.

mod files;
mod front;
mod grpc;
mod parts;
mod stop;
mod workers;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use tickfold_core::time::Timestamp;
use tickfold_log::{Departure, Log};
use tickfold_query::{Auth, Door};
use tracing::{error, info, warn};

use crate::admin::{self, Admin, Identity, Partitions};
use crate::config::{Config, Layers};
use crate::data_dir::DataDir;
use crate::metrics::{self, Observed};
use crate::raw_topic::RawTopic;
use crate::reload::{Reload, Sources};
use crate::{log, options, telemetry};

use files::OpenFiles;
use front::Front;
use grpc::Grpc;
use parts::{Part, ended};
use stop::{Signals, StopSwitch};
use workers::Workers;

/// What a stop may take beside the drains of webhooks and queries: the commits under way, the group, the log.
const STOP_REST: Duration = Duration::from_secs(30);

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Everything.
    Up,
    /// Takes webhooks.
    Ingress,
    /// Folds partitions and answers queries.
    Processor,
}

impl Role {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Ingress => "ingress",
            Self::Processor => "processor",
        }
    }

    pub(crate) fn takes_webhooks(self) -> bool {
        self != Self::Processor
    }

    pub(crate) fn folds(self) -> bool {
        self != Self::Ingress
    }

    /// A part of a node needs a log that several processes can share.
    fn check(self, config: &Config) -> Result<()> {
        if self != Self::Up && config.kafka.brokers.is_none() {
            let word = self.word();
            bail!(
                "`tickfold {word}` needs a log on Kafka: name it with --kafka HOST:PORT or kafka.brokers; \
                 on the embedded log `tickfold up` runs everything in one process"
            );
        }
        Ok(())
    }
}

/// Runs until it is told to stop, then stops in order.
pub(crate) async fn run(role: Role, layers: &Layers) -> Result<()> {
    let config = layers.read()?;
    telemetry::init_logs(&config.telemetry)?;
    let rendered = telemetry::init_metrics()?;
    metrics::started(role);
    role.check(&config)?;
    let signals = Signals::listen()?;
    let open_files = files::raise_limit();

    // Whatever can be refused is refused before anything is bound or opened.
    let reload = Arc::new(Reload::first(Sources::new(&config, role.takes_webhooks())?)?);
    let apps = reload.apps.clone();
    let front = apps.map(|apps| Front::new(&config, apps, reload.tls.clone())).transpose()?;
    check_addresses(&config, &reload.auth)?;
    let listeners = Listeners::bind(&config, role)?;
    let own_address = advertised(&config, &listeners)?;
    if let Some(why) = unreachable(&config, role, listeners.grpc_address) {
        warn!(why, "set grpc_advertised_addr: nodes on other machines cannot ask this one");
    }
    let data_dir = role.folds().then(|| DataDir::take(&config.data_dir)).transpose()?;
    let log = log::open(&config).await?;
    let raw = RawTopic::ensure(&config, log.as_ref(), role.folds()).await?;

    // Before the processor runs: what is refused here ends the node with nothing to take down.
    let partitions = if role.folds() { raw.partitions } else { 0 };
    let files = OpenFiles::new(open_files, &config, partitions);
    let front = match front {
        Some(front) => Some(front.open(&config, &log, &raw, &files).await?),
        None => {
            files.check_without_webhooks();
            None
        }
    };
    let mut workers = match data_dir {
        Some(dir) => Some(Workers::join(&config, dir, &log, &raw, &own_address).await?),
        None => None,
    };
    let identity = Identity::new(role, &own_address, layers);
    let peers = workers::peers(&config, workers.as_ref(), &log, &raw, own_address);
    reload.identify_to(&peers, config.kafka.brokers.is_some());
    let (stop, door) = (StopSwitch::default(), Door::default());
    let grpc = Grpc {
        config: &config,
        log: &log,
        raw: &raw,
        peers: &peers,
        stop: &stop,
        reload: &reload,
        door: &door,
    };
    let (mut query, query_status) = grpc.serve(listeners.grpc, front.as_ref(), workers.as_ref())?;
    let admin = Admin {
        identity,
        auth: reload.auth.clone(),
        metrics: rendered,
        observed: Observed::new(&config, workers.as_ref().map(Workers::rocks)),
        front: front.as_ref().map(Front::shown),
        query: query_status,
        partitions: Partitions {
            statuses: workers.as_ref().map(Workers::statuses).unwrap_or_default(),
            lags: workers.as_ref().map(Workers::lags).unwrap_or_default(),
            peers,
        },
        door,
    };
    let (grpc_address, admin_address) = (listeners.grpc_address, listeners.admin.local_addr()?);
    let mut ingress = match (&front, listeners.http) {
        (Some(front), Some(http)) => Some(front.serve(http, &log, &raw)),
        _ => None,
    };
    let webhooks = front.as_ref().zip(listeners.http_address).map(|(front, at)| front.urls(at));
    let shown = admin.clone();
    let places = config.admin.connections_max;
    let mut page = Part::spawn("admin", |stop| admin::run(listeners.admin, places, shown, stop));

    // Queries serve once every partition's state is open, here or elsewhere; saying so earlier would
    // invite a caller who then gets UNAVAILABLE.
    let announce = async {
        admin.until_serving().await;
        announce(role, webhooks.as_deref(), grpc_address, admin_address);
        std::future::pending::<()>().await;
    };
    let mut departure = Departure::Restart;
    signals.running();
    let failed = tokio::select! {
        () = announce => None,
        how = signals.stop(Arc::clone(&reload)) => how.err(),
        how = stop.requested() => {
            departure = how;
            None
        }
        // A partition that panicked or is stuck is a defect; going on without it would look like
        // health.
        failed = workers::ended(workers.as_mut()) => Some(failed),
        failed = ended(ingress.as_mut()) => Some(failed),
        failed = query.ended() => Some(failed),
        failed = page.ended() => Some(failed),
    };

    info!(?departure, "stopping: no new webhooks, then the processor, then the log, then queries");
    let mut failures: Vec<anyhow::Error> = failed.into_iter().collect();
    let limit = config.ingress.drain_limit + config.query.drain_limit + STOP_REST;
    // Without it the stop goes on all the same.
    failures.extend(stop::limit(limit).err());
    if let Some(ingress) = ingress {
        ingress.stop(&mut failures).await;
    }
    if let Some(workers) = &mut workers {
        workers.stop(departure, &mut failures).await;
    }
    close(log.as_ref(), &mut failures).await;
    // Whoever asked for the stop waits until this listener is closed.
    query.stop(&mut failures).await;
    page.stop(&mut failures).await;
    for failure in failures.iter().skip(1) {
        error!(error = format!("{failure:#}"), "stopped with a further failure");
    }
    failures.into_iter().next().map_or(Ok(()), Err)
}

async fn close(log: &dyn Log, failures: &mut Vec<anyhow::Error>) {
    if let Err(failure) = log.close().await {
        failures.push(anyhow::Error::from(failure).context("close the log"));
    }
}

/// The listeners of a node, all bound before anything is opened.
struct Listeners {
    http: Option<TcpListener>,
    http_address: Option<SocketAddr>,
    grpc: TcpListener,
    grpc_address: SocketAddr,
    admin: TcpListener,
}

impl Listeners {
    fn bind(config: &Config, role: Role) -> Result<Self> {
        let http =
            role.takes_webhooks().then(|| bind("http_addr", config.http_addr)).transpose()?;
        let http_address = http.as_ref().map(TcpListener::local_addr).transpose()?;
        let grpc = bind("grpc_addr", config.grpc_addr)?;
        let grpc_address = grpc.local_addr()?;
        let admin = bind("admin_addr", config.admin_addr)?;
        Ok(Self { http, http_address, grpc, grpc_address, admin })
    }
}

fn bind(name: &str, address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("bind {name} {address}"))?;
    listener.set_nonblocking(true).with_context(|| format!("bind {name} {address}"))?;
    Ok(listener)
}

/// Where nobody is authenticated, only this machine may ask.
fn check_addresses(config: &Config, auth: &Auth) -> Result<()> {
    let query = options::query_options(config);
    tickfold_query::validate(config.grpc_addr, &query, auth).context("check query options")?;
    let admin_addr = config.admin_addr;
    if !admin_addr.ip().is_loopback() && auth.tokens.is_none() {
        bail!(
            "admin_addr {admin_addr} is not loopback: it needs auth.tokens_file, since anyone could \
             read it"
        );
    }
    Ok(())
}

/// Where other nodes ask this one.
fn advertised(config: &Config, listeners: &Listeners) -> Result<String> {
    let Some(address) = &config.grpc_advertised_addr else {
        return Ok(listeners.grpc_address.to_string());
    };
    if !address.contains(':') || address.contains('/') {
        bail!("grpc_advertised_addr = {address:?} is not HOST:PORT");
    }
    Ok(address.clone())
}

/// Whether there may be other nodes, which ask this one.
pub(crate) fn is_asked(config: &Config, role: Role) -> bool {
    role.folds() && config.kafka.brokers.is_some()
}

/// Why nodes on other machines cannot ask this one, where nothing else is advertised than the address that it
/// listens on. Alone it has nobody who asks, so this is no reason to refuse a start.
pub(crate) fn unreachable(config: &Config, role: Role, grpc: SocketAddr) -> Option<String> {
    if !is_asked(config, role) || config.grpc_advertised_addr.is_some() {
        return None;
    }
    let ip = grpc.ip().to_canonical();
    let is_local = ip.is_loopback() || ip.is_unspecified();
    is_local.then(|| format!("they know it by {grpc}, which on every machine is that machine"))
}

/// The one line that says where it serves. Who cannot hear it has no less of a node.
fn announce(role: Role, webhooks: Option<&str>, grpc: SocketAddr, admin: SocketAddr) {
    let webhooks = webhooks.map(|urls| format!("webhooks {urls}, ")).unwrap_or_default();
    let word = role.word();
    let line = format!("tickfold {word}: {webhooks}gRPC {grpc}, admin http://{admin}\n");
    let mut out = std::io::stdout();
    if let Err(failure) = out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
        warn!(%failure, "standard output does not take where the node serves");
    }
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The log, as every part holds it.
type SharedLog = Arc<dyn Log>;
