//! TLS of the public listener: rustls with ring, TLS 1.2 and 1.3, HTTP/1.1 only.
//!
//! A [`Tls`] is built from the text of PEM files, and replaced the same way while connections are
//! open: those keep what they were made with, new ones get the new identity. Whoever reads the
//! files, and when, is the caller. No error and no `Debug` shows a byte of a key.

use std::fmt;
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Error;
use crate::client_name::{ClientName, NamedClient};

/// The contents of PEM files, and whom to let in.
#[derive(Clone, Default)]
pub struct TlsPem {
    /// The listener's certificate, then the intermediate ones up to a root that Meta trusts
    /// (Meta refuses self-signed certificates).
    pub certificates: Vec<u8>,
    /// The private key of the first certificate: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: Vec<u8>,
    /// If set, clients must present a certificate that chains to one of these. For Meta: the
    /// certificate of its outbound API CA.
    pub client_ca: Option<Vec<u8>>,
    /// If set, the DNS name that the client's certificate must be for; needs `client_ca`. For Meta:
    /// `client.webhooks.fbclientcerts.com`. It must be among the alternative names of the
    /// certificate or, if that has none at all, be its common name.
    pub client_name: Option<String>,
}

impl fmt::Debug for TlsPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPem")
            .field("has_client_ca", &self.client_ca.is_some())
            .field("client_name", &self.client_name)
            .finish_non_exhaustive()
    }
}

/// The listener's side of TLS; clones share one, also after [`replace`](Self::replace).
#[derive(Clone)]
pub struct Tls(Arc<ArcSwap<ServerConfig>>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Checks everything that can be checked without a client: that there is a certificate, that
    /// the key is its key, that the client CA can be used.
    ///
    /// # Errors
    /// [`Error::Tls`], which names the part that cannot be used and why.
    pub fn new(pem: &TlsPem) -> Result<Self, Error> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(config(pem)?))))
    }

    /// For connections from now on. Sessions of before cannot be resumed.
    ///
    /// # Errors
    /// As [`Tls::new`]; then what was in use stays in use.
    pub fn replace(&self, pem: &TlsPem) -> Result<(), Error> {
        self.0.store(Arc::new(config(pem)?));
        Ok(())
    }

    /// Has no deadline of its own.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, HandshakeFailure> {
        let acceptor = TlsAcceptor::from(self.0.load_full());
        acceptor.accept(stream).await.map_err(|error| HandshakeFailure::of(&error))
    }
}

/// Why a handshake failed, for the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// The client went away, or the socket failed.
    Abandoned,
    /// What came is not TLS: plain HTTP, most often.
    NotTls,
    /// No version, cipher, curve or protocol in common.
    Incompatible,
    /// A client certificate is required and there was none.
    NoCertificate,
    /// The client's certificate is not from the CA, out of date, or for another name.
    CertificateRefused,
    /// The client refused us, by an alert: it does not trust our certificate, most often.
    RefusedByClient,
    /// Anything else that breaks the protocol.
    Broken,
}

impl HandshakeFailure {
    fn of(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            None => Self::Abandoned,
            Some(rustls::Error::InvalidMessage(_)) => Self::NotTls,
            Some(rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol) => {
                Self::Incompatible
            }
            Some(rustls::Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(rustls::Error::InvalidCertificate(_)) => Self::CertificateRefused,
            Some(rustls::Error::AlertReceived(_)) => Self::RefusedByClient,
            Some(_) => Self::Broken,
        }
    }

    /// Label of the counter.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::NotTls => "not_tls",
            Self::Incompatible => "incompatible",
            Self::NoCertificate => "no_client_certificate",
            Self::CertificateRefused => "client_certificate_refused",
            Self::RefusedByClient => "refused_by_client",
            Self::Broken => "broken",
        }
    }
}

fn config(pem: &TlsPem) -> Result<ServerConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let certificates = certificates(&pem.certificates, "the certificate file")?;
    let key = PrivateKeyDer::from_pem_slice(&pem.key)
        .map_err(|error| refused(format!("the key file: {}", reason(&error, "private key"))))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?;
    let builder = match clients(pem, provider)? {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            refused("the key is not the key of the first certificate".to_owned())
        }
        rustls::Error::InvalidCertificate(_) => {
            refused("the first certificate cannot be read".to_owned())
        }
        // What is left is about the form of the key, which such a text must not show.
        _ => refused("the key cannot be used: not RSA, ECDSA or Ed25519, or damaged".to_owned()),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Who checks the certificates of clients, if anyone.
fn clients(
    pem: &TlsPem,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
    let Some(client_ca) = &pem.client_ca else {
        return match pem.client_name {
            None => Ok(None),
            Some(_) => Err(refused("a client name needs a client CA".to_owned())),
        };
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(client_ca, "the client CA file")? {
        roots.add(certificate).map_err(|error| {
            refused(format!("the client CA file: a certificate cannot be used: {error}"))
        })?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| refused(format!("the client CA file: {error}")))?;
    let Some(name) = &pem.client_name else { return Ok(Some(verifier)) };
    let name = ClientName::new(name)
        .ok_or_else(|| refused(format!("the client name {name:?} is not a DNS name")))?;
    Ok(Some(Arc::new(NamedClient::new(verifier, name))))
}

fn certificates(text: &[u8], file: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(refused(format!("{file}: {}", reason(&pem::Error::NoItemsFound, "certificate"))))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(refused(format!("{file}: {}", reason(&error, "certificate")))),
    }
}

/// In our words: the library's own text quotes the line at which it stopped.
fn reason(error: &pem::Error, wanted: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("no {wanted} in the PEM text"),
        pem::Error::MissingSectionEnd { .. } => "a PEM section has no end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a PEM section begins wrongly".to_owned(),
        pem::Error::Base64Decode(_) => "a PEM section is not base64".to_owned(),
        _ => "the PEM text cannot be read".to_owned(),
    }
}

fn refused(reason: String) -> Error {
    Error::Tls(reason)
}
