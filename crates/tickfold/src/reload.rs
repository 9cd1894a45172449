//! Secrets, tokens and certificates: read at the start, and again while the node serves, by SIGHUP and
//! by the admin call.
//!
//! All of it is read and checked before any of it is served, so that a reload changes everything or
//! nothing.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tickfold_ingress::{App, Apps, Replaced, Tls, TlsPem};
use tickfold_query::{
    Auth, Credentials, Peers, ServerPem, ServerTls, TokenEntry, Tokens, TokensReplaced,
};
use tokio::signal::unix::Signal;
use tokio::sync::Mutex;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tracing::{error, info, warn};

use crate::config::Config;
use crate::{apps, environment, node, secrets, tokens};

/// Where secrets, tokens and certificates are.
#[derive(Debug)]
pub(crate) struct Sources {
    /// `None`: the node takes no webhooks.
    webhooks: Option<WebhookSources>,
    auth: AuthSources,
}

#[derive(Debug)]
struct WebhookSources {
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

/// Who may call, and how nodes know each other.
#[derive(Debug)]
struct AuthSources {
    tokens_file: Option<PathBuf>,
    tls: Option<TlsFiles>,
    behind_proxy: bool,
    peer_ca: Option<PathBuf>,
    peer_name: Option<String>,
}

/// What is served, with the sources to read it from again.
#[derive(Debug)]
pub(crate) struct Reload {
    sources: Sources,
    /// `None`: the node takes no webhooks.
    pub apps: Option<Apps>,
    /// `None`: the listener of webhooks is plain.
    pub tls: Option<Tls>,
    /// Who may call.
    pub auth: Auth,
    /// How this node shows itself to the others at first.
    credentials: Credentials,
    /// Told how it does, once they are there.
    peers: OnceLock<Peers>,
    /// One reload at a time: two that interleave could serve the older reading.
    turn: Mutex<()>,
}

/// What a reload changed.
#[derive(Debug)]
pub(crate) struct Reloaded {
    pub apps: Replaced,
    pub certificates: bool,
    pub tokens: TokensReplaced,
}

/// Everything, read and not served yet.
struct Reading {
    apps: Option<Vec<App>>,
    tls: Option<TlsPem>,
    tokens: Option<Vec<TokenEntry>>,
    server: Option<ServerPem>,
    credentials: Credentials,
}

impl Sources {
    /// As configured; refuses settings that do not fit together.
    pub(crate) fn new(config: &Config, takes_webhooks: bool) -> Result<Self> {
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
        let webhooks = WebhookSources { apps_file: c.apps_file.clone(), tls };
        let auth = AuthSources::new(config)?;
        Ok(Self { webhooks: takes_webhooks.then_some(webhooks), auth })
    }

    fn read(&self) -> Result<Reading> {
        let (mut apps, mut tls) = (None, None);
        if let Some(webhooks) = &self.webhooks {
            apps = Some(apps::read(webhooks.apps_file.as_deref(), environment)?);
            tls = webhooks.tls.as_ref().map(webhook_pem).transpose()?;
        }
        let tokens = self.auth.tokens_file.as_deref().map(tokens::read).transpose()?;
        let server = self.auth.tls.as_ref().map(server_pem).transpose()?;
        let credentials = self.auth.credentials()?;
        Ok(Reading { apps, tls, tokens, server, credentials })
    }

    /// How many certificate files there are; an error says of one that it cannot be read or does not fit.
    pub(crate) fn certificates(&self) -> Result<usize> {
        let webhooks = self.webhooks.as_ref().and_then(|webhooks| webhooks.tls.as_ref());
        if let Some(files) = webhooks {
            Tls::new(&webhook_pem(files)?).context("set up TLS of webhooks")?;
        }
        if let Some(files) = &self.auth.tls {
            ServerTls::new(&server_pem(files)?).context("set up TLS of gRPC")?;
        }
        self.auth.credentials()?;
        let of = [webhooks.is_some(), self.auth.tls.is_some(), self.auth.peer_ca.is_some()];
        Ok(of.into_iter().filter(|is_there| *is_there).count())
    }
}

impl AuthSources {
    fn new(config: &Config) -> Result<Self> {
        let c = &config.auth;
        let client_ca = c.tls_client_ca_file.clone();
        let tls = match (c.tls_cert_file.clone(), c.tls_key_file.clone()) {
            (Some(certificates), Some(key)) => {
                Some(TlsFiles { certificates, key, client_ca, client_name: None })
            }
            (None, None) if client_ca.is_none() => None,
            _ => bail!(
                "auth.tls_cert_file and auth.tls_key_file belong together, and \
                 auth.tls_client_ca_file needs them"
            ),
        };
        if tls.is_some() && c.tokens_file.is_none() {
            bail!("auth.tls_cert_file needs auth.tokens_file, which says who may what");
        }
        let has_others = config.kafka.brokers.is_some();
        if has_others && tls.is_some() && c.peer_ca_file.is_none() {
            bail!("auth.tls_cert_file needs auth.peer_ca_file, by which nodes check each other");
        }
        Ok(Self {
            tokens_file: c.tokens_file.clone(),
            tls,
            behind_proxy: c.behind_proxy,
            peer_ca: c.peer_ca_file.clone(),
            peer_name: c.peer_name.clone(),
        })
    }

    /// How this node shows itself to others: by its token, and by its certificate if it has one.
    fn credentials(&self) -> Result<Credentials> {
        let token = secrets::read("TICKFOLD_NODE_TOKEN", environment)?;
        let Some(peer_ca) = &self.peer_ca else { return Ok(Credentials { token, tls: None }) };
        let ca = pem(peer_ca)?;
        let first = CertificateDer::pem_slice_iter(&ca).next().transpose();
        if !first.is_ok_and(|first| first.is_some()) {
            bail!("auth.peer_ca_file: no certificate in {}", peer_ca.display());
        }
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        if let Some(files) = &self.tls {
            tls = tls.identity(Identity::from_pem(pem(&files.certificates)?, pem(&files.key)?));
        }
        if let Some(name) = &self.peer_name {
            tls = tls.domain_name(name);
        }
        let anywhere = Endpoint::from_static("https://localhost").tls_config(tls.clone());
        anywhere.context("set up TLS to other nodes")?;
        Ok(Credentials { token, tls: Some(tls) })
    }
}

fn webhook_pem(files: &TlsFiles) -> Result<TlsPem> {
    Ok(TlsPem {
        certificates: pem(&files.certificates)?,
        key: pem(&files.key)?,
        client_ca: files.client_ca.as_deref().map(pem).transpose()?,
        client_name: files.client_name.clone(),
    })
}

fn server_pem(files: &TlsFiles) -> Result<ServerPem> {
    Ok(ServerPem {
        certificates: pem(&files.certificates)?,
        key: pem(&files.key)?,
        client_ca: files.client_ca.as_deref().map(pem).transpose()?,
    })
}

fn pem(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}

impl Reload {
    /// Reads and checks everything for the first time.
    pub(crate) fn first(sources: Sources) -> Result<Self> {
        let Reading { apps, tls, tokens, server, credentials } = sources.read()?;
        let apps = apps.map(|apps| Apps::new(apps, node::now())).transpose();
        let tls = tls.map(|pem| Tls::new(&pem)).transpose().context("set up TLS")?;
        let server = server.map(|pem| ServerTls::new(&pem)).transpose();
        let auth = Auth {
            tokens: tokens.map(Tokens::new).transpose().context("check tokens")?,
            tls: server.context("set up TLS of gRPC")?,
            behind_proxy: sources.auth.behind_proxy,
        };
        Ok(Self {
            apps: apps.context("check apps")?,
            tls,
            auth,
            sources,
            credentials,
            peers: OnceLock::new(),
            turn: Mutex::default(),
        })
    }

    /// Shows this node to the others from now on, as it is after each reload too.
    pub(crate) fn identify_to(&self, peers: &Peers, has_others: bool) {
        let credentials = self.credentials.clone();
        let has_certificate = self.sources.auth.tls.is_some() && credentials.tls.is_some();
        if has_others
            && self.auth.tokens.is_some()
            && credentials.token.is_none()
            && !has_certificate
        {
            warn!("without TICKFOLD_NODE_TOKEN other nodes refuse what this one asks them");
        }
        peers.identify(credentials);
        // Told once, at the start.
        let _ = self.peers.set(peers.clone());
    }

    /// Reads, checks and serves; on an error what was served before goes on.
    pub(crate) async fn run(&self) -> Result<Reloaded> {
        let _turn = self.turn.lock().await;
        let Reading { apps, tls, tokens, server, credentials } = self.sources.read()?;
        apps.as_deref().map(App::check_all).transpose().context("check apps")?;
        if let Some(pem) = &server {
            ServerTls::new(pem).context("set up TLS of gRPC")?;
        }
        let mut certificates = false;
        if let (Some(served), Some(pem)) = (&self.tls, &tls) {
            served.replace(pem).context("set up TLS")?;
            certificates = true;
        }
        if let (Some(served), Some(pem)) = (&self.auth.tls, &server) {
            served.replace(pem).context("set up TLS of gRPC")?;
            certificates = true;
        }
        // Checked above, or as they were read, so these cannot fail any more.
        let tokens = match (&self.auth.tokens, tokens) {
            (Some(served), Some(tokens)) => served.replace(tokens).context("check tokens")?,
            (None, _) | (_, None) => TokensReplaced::default(),
        };
        let apps = match (&self.apps, apps) {
            (Some(served), Some(apps)) => {
                served.replace(apps, node::now()).context("check apps")?
            }
            (None, _) | (_, None) => Replaced::default(),
        };
        if let Some(peers) = self.peers.get() {
            peers.identify(credentials);
        }
        let Replaced { added, removed, kept } = &apps;
        let TokensReplaced { added: new, removed: gone, changed, .. } = &tokens;
        info!(
            ?added, ?removed, ?kept, certificates, tokens_added = ?new, tokens_removed = ?gone,
            tokens_changed = ?changed, "secrets, tokens and certificates reloaded"
        );
        Ok(Reloaded { apps, certificates, tokens })
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
