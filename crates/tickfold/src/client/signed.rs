//! Connections on which each call shows who it is from, in TLS if the credentials say so.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::cli::Credentials;
use crate::{environment, tokens};

/// Silence on a connection with a call under way after which the node is asked whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A connection to a node.
pub(crate) type Connection = InterceptedService<Channel, Bearer>;

/// Puts the token, if there is one, to each call.
#[derive(Debug, Clone)]
pub(crate) struct Bearer(Option<AsciiMetadataValue>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl Bearer {
    fn of(token: &str) -> Result<AsciiMetadataValue> {
        let value: Result<AsciiMetadataValue, _> = format!("Bearer {token}").parse();
        let mut value = value.context("make the authorization of a call")?;
        // Whatever prints a request leaves it out.
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Connects to a node as whoever the credentials say.
pub(crate) async fn connect_to(
    address: SocketAddr,
    credentials: &Credentials,
    limit: Duration,
) -> Result<Connection> {
    let token = tokens::own(credentials.token_file.as_deref(), environment)?;
    let bearer = Bearer(token.map(|token| Bearer::of(&token)).transpose()?);
    let tls = tls(credentials)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .context("make the node's address")?
        .connect_timeout(limit)
        // A stream on which nothing comes would not notice that its node is gone.
        .http2_keep_alive_interval(KEEPALIVE);
    let endpoint = match tls {
        None => endpoint,
        Some(tls) => endpoint.tls_config(tls).context("set up TLS")?,
    };
    match endpoint.connect().await {
        Ok(channel) => Ok(InterceptedService::new(channel, bearer)),
        // Something answers there: what TLS says is what has to be corrected.
        Err(error) if is_tls(&error) => Err(error).context(format!("connect to {address}")),
        Err(_) => {
            bail!("no node answers on {address}: is `tickfold up` or a role of it running there?")
        }
    }
}

fn tls(credentials: &Credentials) -> Result<Option<ClientTlsConfig>> {
    let read =
        |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    let Some(ca) = &credentials.ca else { return Ok(None) };
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
    if let (Some(cert), Some(key)) = (&credentials.cert, &credentials.key) {
        tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    if let Some(name) = &credentials.server_name {
        tls = tls.domain_name(name);
    }
    Ok(Some(tls))
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>() || io.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}
