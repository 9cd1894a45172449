//! Where webhooks go: the URL, and TLS where it is https.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use hyper::http::uri::{Scheme, Uri};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use tokio_rustls::TlsConnector;

/// A parsed URL.
#[derive(Clone)]
pub(crate) struct Target {
    /// Host for the resolver, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// For the `host` header.
    pub(crate) authority: String,
    /// Path and query, for the request line.
    pub(crate) path: String,
    /// Present for https.
    pub(crate) tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Target {
    /// Reads the URL, and the authorities that an https server needs.
    pub(crate) fn new(url: &str, ca: Option<&Path>) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("read the URL {url:?}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            bail!("{url:?} is no URL such as http://127.0.0.1:8080/webhook/main");
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = if *scheme == Scheme::HTTPS {
            let ca = ca.context("https needs --tls-ca, the authorities to trust")?;
            let name = ServerName::try_from(host.clone())
                .with_context(|| format!("take {host:?} as the name of a server"))?;
            Some((TlsConnector::from(Arc::new(client_config(ca)?)), name))
        } else if *scheme == Scheme::HTTP {
            None
        } else {
            bail!("{url:?} is neither http nor https");
        };
        let default_port = if tls.is_some() { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(default_port);
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { host, port, authority: authority.to_string(), path, tls })
    }
}

/// Trusts these authorities and no others.
pub(crate) fn client_config(ca: &Path) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let name = ca.display();
    for certificate in CertificateDer::pem_file_iter(ca).with_context(|| format!("read {name}"))? {
        let certificate = certificate.with_context(|| format!("read a certificate of {name}"))?;
        roots.add(certificate).with_context(|| format!("trust a certificate of {name}"))?;
    }
    if roots.is_empty() {
        bail!("{name} contains no certificate");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("set up TLS")?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The authorities that the system trusts, where distributions keep them.
pub(crate) fn system_authorities() -> Result<PathBuf> {
    const PLACES: [&str; 3] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
    ];
    let found = PLACES.into_iter().map(PathBuf::from).find(|path| path.exists());
    found.context("this system has no file of certificate authorities that is known: name one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_odd_ones_refused() {
        let target = Target::new("http://localhost/webhook/main?x=1", None).unwrap();
        assert_eq!((target.host.as_str(), target.port), ("localhost", 80));
        assert_eq!(
            (target.authority.as_str(), target.path.as_str()),
            ("localhost", "/webhook/main?x=1")
        );
        let target = Target::new("http://[::1]:8080", None).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("::1", 8080, "/"));
        for odd in ["", "127.0.0.1:8080", "/webhook", "ftp://host/", "https://host/"] {
            assert!(Target::new(odd, None).is_err(), "{odd:?}");
        }
    }
}
