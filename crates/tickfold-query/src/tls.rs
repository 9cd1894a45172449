//! TLS of the listener: rustls with ring, TLS 1.2 and 1.3, HTTP/2, and HTTP/1.1 where pages may call; and
//! what a client certificate says of its client.
//!
//! A [`ServerTls`] is built from the text of PEM files and replaced the same way while connections are
//! open: those keep what they were made with. Whoever reads the files, and when, is the caller. No
//! error and no `Debug` shows a byte of a key.

use std::fmt;
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use webpki::EndEntityCert;

use crate::Error;

/// The contents of PEM files.
#[derive(Clone, Default)]
pub struct ServerPem {
    /// The listener's certificate, then the intermediate ones.
    pub certificates: Vec<u8>,
    /// The private key of the first certificate: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: Vec<u8>,
    /// If set, clients must present a certificate that chains to one of these.
    pub client_ca: Option<Vec<u8>>,
}

impl fmt::Debug for ServerPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerPem").finish_non_exhaustive()
    }
}

/// The listener's side of TLS. Clones share one, also after [`replace`](Self::replace).
#[derive(Clone)]
pub struct ServerTls(Arc<ArcSwap<Configs>>);

/// Which versions of HTTP a client is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Versions {
    /// HTTP/2, which gRPC needs.
    Two,
    /// HTTP/1.1 too, for gRPC-web of who has nothing else. Whoever has both gets HTTP/2.
    OneAndTwo,
}

/// The same but for the versions.
struct Configs {
    two: Arc<ServerConfig>,
    one_and_two: Arc<ServerConfig>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Checks everything that can be checked without a client.
    ///
    /// # Errors
    /// [`Error::Tls`], which names the part that cannot be used.
    pub fn new(pem: &ServerPem) -> Result<Self, Error> {
        Ok(Self(Arc::new(ArcSwap::new(configs(pem)?))))
    }

    /// For connections from now on.
    ///
    /// # Errors
    /// As [`ServerTls::new`]; then what was in use stays in use.
    pub fn replace(&self, pem: &ServerPem) -> Result<(), Error> {
        self.0.store(configs(pem)?);
        Ok(())
    }

    /// Has no deadline of its own.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        versions: Versions,
    ) -> io::Result<TlsStream<TcpStream>> {
        let configs = self.0.load_full();
        let config = match versions {
            Versions::Two => &configs.two,
            Versions::OneAndTwo => &configs.one_and_two,
        };
        TlsAcceptor::from(Arc::clone(config)).accept(stream).await
    }
}

/// The DNS names of the client's certificate, which its handshake has shown to be good.
pub(crate) fn client_names(stream: &TlsStream<TcpStream>) -> Arc<[String]> {
    let (_, session) = stream.get_ref();
    let first = session.peer_certificates().and_then(|certificates| certificates.first());
    let Some(Ok(certificate)) = first.map(EndEntityCert::try_from) else { return Arc::default() };
    certificate.valid_dns_names().map(str::to_owned).collect()
}

fn configs(pem: &ServerPem) -> Result<Arc<Configs>, Error> {
    let provider = Arc::new(ring::default_provider());
    let certificates = certificates(&pem.certificates, "the certificate file")?;
    let key = PrivateKeyDer::from_pem_slice(&pem.key)
        .map_err(|_| refused("the key file holds no private key in PEM".to_owned()))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?;
    let builder = match &pem.client_ca {
        None => builder.with_no_client_auth(),
        Some(client_ca) => {
            let unusable = |error: String| refused(format!("the client CA file: {error}"));
            let mut roots = RootCertStore::empty();
            for certificate in self::certificates(client_ca, "the client CA file")? {
                roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(
                verifier.build().map_err(|error| unusable(error.to_string()))?,
            )
        }
    };
    // What else could be said is about the form of the key, which such a text must not show.
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            refused("the key is not the key of the first certificate".to_owned())
        }
        _ => refused("the certificate or its key cannot be used".to_owned()),
    })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let two = Arc::new(config.clone());
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(Arc::new(Configs { two, one_and_two: Arc::new(config) }))
}

fn certificates(text: &[u8], file: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        // The library's own text quotes the line at which it stopped.
        _ => Err(refused(format!("{file} holds no certificate in PEM, or a damaged one"))),
    }
}

fn refused(reason: String) -> Error {
    Error::Tls(reason)
}
