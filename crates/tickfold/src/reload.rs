//! Secrets and certificates: read at the start, and again while the node serves, by SIGHUP and by
//! the admin call.
//!
//! All of it is read and checked before any of it is served, so that a reload changes everything or
//! nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tickfold_ingress::{App, Apps, Replaced, Tls, TlsPem};
use tokio::signal::unix::Signal;
use tokio::sync::Mutex;
use tracing::{error, info};

use crate::config::Config;
use crate::{apps, environment, node};

/// Where secrets and certificates are.
#[derive(Debug)]
pub(crate) struct Sources {
    apps_file: Option<PathBuf>,
    tls: Option<TlsFiles>,
}

#[derive(Debug)]
struct TlsFiles {
    certificates: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    client_name: Option<String>,
}

/// What is served, with the sources to read it from again.
#[derive(Debug)]
pub(crate) struct Reload {
    sources: Sources,
    pub apps: Apps,
    /// `None`: the listener is plain.
    pub tls: Option<Tls>,
    /// One reload at a time: two that interleave could serve the older reading.
    turn: Mutex<()>,
}

/// What a reload changed.
#[derive(Debug)]
pub(crate) struct Reloaded {
    pub apps: Replaced,
    pub certificates: bool,
}

impl Sources {
    /// As configured; refuses settings that do not fit together.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let c = &config.ingress;
        let (client_ca, client_name) = (c.tls_client_ca_file.clone(), c.tls_client_name.clone());
        let tls = match (c.tls_cert_file.clone(), c.tls_key_file.clone()) {
            (Some(certificates), Some(key)) => {
                Some(TlsFiles { certificates, key, client_ca, client_name })
            }
            (None, None) if client_ca.is_none() && client_name.is_none() => None,
            _ => bail!(
                "ingress.tls_cert_file and ingress.tls_key_file belong together, and the other \
                 settings of ingress.tls_* need them"
            ),
        };
        Ok(Self { apps_file: c.apps_file.clone(), tls })
    }

    fn apps(&self) -> Result<Vec<App>> {
        apps::read(self.apps_file.as_deref(), environment)
    }

    fn tls(&self) -> Result<Option<TlsPem>> {
        let Some(files) = &self.tls else { return Ok(None) };
        let read =
            |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
        Ok(Some(TlsPem {
            certificates: read(&files.certificates)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
            client_name: files.client_name.clone(),
        }))
    }
}

impl Reload {
    /// Reads and checks everything for the first time.
    pub(crate) fn first(sources: Sources) -> Result<Self> {
        let apps = Apps::new(sources.apps()?, node::now()).context("check apps")?;
        let tls = sources.tls()?.map(|pem| Tls::new(&pem)).transpose().context("set up TLS")?;
        Ok(Self { sources, apps, tls, turn: Mutex::default() })
    }

    /// Reads, checks and serves; on an error what was served before goes on.
    pub(crate) async fn run(&self) -> Result<Reloaded> {
        let _turn = self.turn.lock().await;
        let (apps, pem) = (self.sources.apps()?, self.sources.tls()?);
        App::check_all(&apps).context("check apps")?;
        let certificates = match (&self.tls, pem) {
            (Some(tls), Some(pem)) => {
                tls.replace(&pem).context("set up TLS")?;
                true
            }
            (None, _) | (_, None) => false,
        };
        // Checked above, so it cannot fail any more.
        let apps = self.apps.replace(apps, node::now()).context("check apps")?;
        let Replaced { added, removed, kept } = &apps;
        info!(?added, ?removed, ?kept, certificates, "secrets and certificates reloaded");
        Ok(Reloaded { apps, certificates })
    }

    /// Reloads on each SIGHUP, as long as the process can get one.
    pub(crate) async fn on_hangup(&self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            if let Err(failure) = self.run().await {
                let failure = format!("{failure:#}");
                error!(failure, "reload refused, what was served before goes on");
            }
        }
    }
}
