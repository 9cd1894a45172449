//! TLS on real sockets: who gets in, what the handshake may take, and a new identity while
//! connections are open. All certificates are made here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::counted::Counted;
use super::running::{between, exchange, post, start_with};
use super::support::{BODY, short};
use crate::{Error, IngressOptions, Tls, TlsPem};

const META: &str = "client.webhooks.fbclientcerts.com";
const FAILURES: &str = "tickfold_ingress_tls_handshake_failures_total";

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn ca(name: &str) -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate of `ca` and its key.
fn issued(ca: &Issuer, common_name: &str, alternative: &[&str]) -> (rcgen::Certificate, KeyPair) {
    let names: Vec<String> = alternative.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, ca).unwrap(), key)
}

/// An identity of the listener for `localhost`.
fn identity(ca: &Issuer) -> TlsPem {
    let (certificate, key) = issued(ca, "server", &["localhost"]);
    TlsPem {
        certificates: certificate.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
        ..TlsPem::default()
    }
}

struct Client {
    roots: RootCertStore,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
    protocols: Vec<Vec<u8>>,
}

impl Client {
    fn trusting(ca: &Issuer) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let versions = rustls::ALL_VERSIONS.to_vec();
        Self { roots, identity: None, versions, protocols: Vec::new() }
    }

    fn presenting(self, (certificate, key): &(rcgen::Certificate, KeyPair)) -> Self {
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Self { identity: Some((vec![certificate.der().clone()], key.into())), ..self }
    }

    /// The connection after one answered request, which also shows that the listener took us: in
    /// TLS 1.3 a client is done before its certificate has been looked at.
    async fn answered(self, address: SocketAddr) -> Option<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.roots);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        };
        config.alpn_protocols = self.protocols;
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        stream.write_all(post(BODY).as_bytes()).await.ok()?;
        let mut seen = [0; 12];
        stream.read_exact(&mut seen).await.ok()?;
        assert_eq!(&seen, b"HTTP/1.1 200");
        while !seen.ends_with(b"\r\n\r\n") {
            seen.rotate_left(1);
            seen[11] = stream.read_u8().await.ok()?;
        }
        Some(stream)
    }
}

#[tokio::test]
async fn both_versions_and_only_http_1_1() {
    let counted = Counted::start();
    let ca = ca("root");
    let running = start_with(short(), Some(Tls::new(&identity(&ca)).unwrap()));
    for version in rustls::ALL_VERSIONS {
        let client = Client { versions: vec![version], ..Client::trusting(&ca) };
        let mut stream = client.answered(running.address).await.unwrap();
        let again = exchange(&mut stream, &post(BODY)).await;
        assert!(again.starts_with("HTTP/1.1 200"), "{again}");
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
    }
    let offering = |names: &[&[u8]]| Client {
        protocols: names.iter().map(|n| n.to_vec()).collect(),
        ..Client::trusting(&ca)
    };
    let both = offering(&[b"h2", b"http/1.1"]).answered(running.address).await.unwrap();
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(offering(&[b"h2"]).answered(running.address).await.is_none());
    counted.reaches(&format!("{FAILURES} incompatible"), 1).await;
    running.stop().await;
}

#[tokio::test]
async fn plain_http_and_silence_get_nothing() {
    let counted = Counted::start();
    let ca = ca("root");
    let running = start_with(short(), Some(Tls::new(&identity(&ca)).unwrap()));
    let mut plain = running.connect().await;
    plain.write_all(post(BODY).as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    // An alert or nothing, and the end of it.
    let _ = plain.read_to_end(&mut seen).await;
    assert!(!seen.starts_with(b"HTTP"), "{}", seen.escape_ascii());
    counted.reaches(&format!("{FAILURES} not_tls"), 1).await;

    let mut silent = running.connect().await;
    let started = Instant::now();
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
    between(started.elapsed(), 250, 1_200);
    counted.reaches(&format!("{FAILURES} deadline"), 1).await;

    drop(running.connect().await);
    counted.reaches(&format!("{FAILURES} abandoned"), 1).await;
    assert!(
        Client::trusting(&super::tls::ca("stranger")).answered(running.address).await.is_none()
    );
    counted.reaches(&format!("{FAILURES} refused_by_client"), 1).await;
    running.stop().await;
}

#[tokio::test]
async fn handshakes_count_under_the_cap_and_give_way() {
    let counted = Counted::start();
    let ca = ca("root");
    let header_deadline = Duration::from_secs(600);
    let options = IngressOptions { connections_max: 1, header_deadline, ..short() };
    let running = start_with(options, Some(Tls::new(&identity(&ca)).unwrap()));
    let mut handshaking = running.connect().await;
    handshaking.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut good = Client::trusting(&ca).answered(running.address).await.unwrap();
    assert_eq!(handshaking.read(&mut [0]).await.unwrap_or(0), 0);
    counted.reaches("tickfold_ingress_connections_cut_total made_room", 1).await;

    // With a request under way on it, the next connection is closed without a word.
    running.log.hold_appends(true);
    good.write_all(post(BODY).as_bytes()).await.unwrap();
    while running.apps.snapshot(super::support::NOW)[0].secrets[0].matches < 2 {
        tokio::task::yield_now().await;
    }
    let mut refused = running.connect().await;
    assert_eq!(refused.read(&mut [0]).await.unwrap_or(0), 0);
    assert_eq!(counted.of("tickfold_ingress_connections_refused_total"), 1);
    running.log.hold_appends(false);
    running.stop().await;
}

#[tokio::test]
async fn only_the_named_client_of_the_ca_gets_in() {
    let counted = Counted::start();
    let (ca, stranger) = (ca("root"), ca("stranger"));
    let pem = TlsPem {
        client_ca: Some(ca.pem().into_bytes()),
        client_name: Some(META.to_owned()),
        ..identity(&ca)
    };
    let running = start_with(short(), Some(Tls::new(&pem).unwrap()));
    let table = [
        ("alternative name", true, issued(&ca, "meta", &[META])),
        ("common name only", true, issued(&ca, META, &[])),
        ("other name", false, issued(&ca, "meta", &["other.example"])),
        ("other alternative name", false, issued(&ca, META, &["other.example"])),
        ("right name of another CA", false, issued(&stranger, META, &[META])),
    ];
    let mut refused = 0;
    for (case, expected, identity) in table {
        for version in rustls::ALL_VERSIONS {
            let client = Client::trusting(&ca).presenting(&identity);
            let client = Client { versions: vec![version], ..client };
            let answered = client.answered(running.address).await.is_some();
            println!("{case}, {:?}: {answered}", version.version);
            assert_eq!(answered, expected, "{case}, {:?}", version.version);
            refused += u64::from(!expected);
            counted.reaches(&format!("{FAILURES} client_certificate_refused"), refused).await;
        }
    }
    assert!(Client::trusting(&ca).answered(running.address).await.is_none());
    counted.reaches(&format!("{FAILURES} no_client_certificate"), 1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_new_identity_is_for_new_connections_and_a_bad_one_changes_nothing() {
    let (old, new) = (ca("old"), ca("new"));
    let tls = Tls::new(&identity(&old)).unwrap();
    let running = start_with(short(), Some(tls.clone()));
    let mut open = Client::trusting(&old).answered(running.address).await.unwrap();

    let wrong = TlsPem { key: identity(&new).key, ..identity(&new) };
    assert!(matches!(tls.replace(&wrong), Err(Error::Tls(_))));
    assert!(Client::trusting(&old).answered(running.address).await.is_some());

    tls.replace(&identity(&new)).unwrap();
    assert!(Client::trusting(&new).answered(running.address).await.is_some());
    assert!(Client::trusting(&old).answered(running.address).await.is_none());
    assert!(exchange(&mut open, &post(BODY)).await.starts_with("HTTP/1.1 200"));
    running.stop().await;
}

#[test]
fn errors_name_the_part_and_show_no_key() {
    let ca = ca("root");
    let good = identity(&ca);
    let key = String::from_utf8(good.key.clone()).unwrap();
    let secret = key.lines().nth(1).unwrap();
    let of_key = |text: String| TlsPem { key: text.into_bytes(), ..good.clone() };
    let of_ca = |text: &[u8]| TlsPem { client_ca: Some(text.to_vec()), ..good.clone() };
    let table = [
        ("certificate file: no certificate", TlsPem { certificates: Vec::new(), ..good.clone() }),
        (
            "certificate file: no certificate",
            TlsPem { certificates: good.key.clone(), ..good.clone() },
        ),
        ("key file: no private key", of_key(String::new())),
        ("key file: no private key", TlsPem { key: good.certificates.clone(), ..good.clone() }),
        (
            "key file: a PEM section has no end",
            of_key(key.lines().take(2).collect::<Vec<_>>().join("\n")),
        ),
        ("key file: a PEM section begins wrongly", of_key(key.replace("KEY-----\n", "KEY--\n"))),
        (
            "key file: a PEM section is not base64",
            of_key(key.replace(secret, &format!("{secret}!"))),
        ),
        ("key cannot be used", of_key(key.replace(secret, &secret.replace('M', "N")))),
        ("the key is not the key of", TlsPem { key: identity(&ca).key, ..good.clone() }),
        ("client CA file: no certificate", of_ca(b"")),
        ("client CA file: no certificate", of_ca(&good.key)),
        (
            "a client name needs a client CA",
            TlsPem { client_name: Some(META.to_owned()), ..good.clone() },
        ),
        (
            "is not a DNS name",
            TlsPem { client_name: Some("a b".to_owned()), ..of_ca(ca.pem().as_bytes()) },
        ),
    ];
    for (expected, pem) in table {
        let error = Tls::new(&pem).unwrap_err();
        let shown = format!("{error} {error:?} {pem:?}");
        println!("{error}");
        assert!(shown.contains(expected), "{expected}: {shown}");
        assert!(!shown.contains(&secret[..12]), "shows the key: {shown}");
    }
    let tls = Tls::new(&good).unwrap();
    assert_eq!(format!("{tls:?}"), "Tls { .. }");
}
