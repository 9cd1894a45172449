//! Which versions of Kafka's protocol a broker speaks. It answers this question to anybody, before
//! any name or password, and librdkafka tells nobody what it was answered.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::Config;
use crate::load::target::{client_config, system_authorities};

/// `ApiVersions`, version 0, correlation 1, no client id, behind its own length.
const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
const ANSWER_BYTES_MAX: u32 = 64 << 10;
/// The key of fetches, whose versions rose with most releases.
const FETCH: i16 = 1;

/// The highest version of fetches that the first broker of a list speaks.
pub(super) async fn fetch_version(config: &Config, brokers: &str) -> Result<i16> {
    let broker = brokers.split(',').next().unwrap_or(brokers).trim();
    let (host, _) = broker.rsplit_once(':').with_context(|| format!("{broker} names no port"))?;
    let stream =
        TcpStream::connect(broker).await.with_context(|| format!("connect to {broker}"))?;
    if !config.kafka.tls {
        return ask(stream).await;
    }
    let authorities = config.kafka.ca_file.clone();
    let authorities = authorities.map_or_else(system_authorities, Ok)?;
    let tls = TlsConnector::from(Arc::new(client_config(&authorities)?));
    let name = host.trim_matches(['[', ']']).to_owned();
    let name =
        ServerName::try_from(name).context("take the broker's host as the name of a server")?;
    ask(tls.connect(name, stream).await.context("shake hands with the broker")?).await
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<i16> {
    stream.write_all(&QUESTION).await.context("ask the broker for its versions")?;
    stream.flush().await.context("ask the broker for its versions")?;
    let length = stream.read_u32().await.context("read the broker's versions")?;
    if length > ANSWER_BYTES_MAX {
        bail!("the answer is none of a Kafka broker");
    }
    let mut answer = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut answer).await.context("read the broker's versions")?;
    parse(&answer).context("the answer is none of a Kafka broker")
}

/// Correlation, error, number of entries, then key with lowest and highest version of each.
fn parse(answer: &[u8]) -> Option<i16> {
    let (head, entries) = answer.split_first_chunk::<10>()?;
    let [0, 0, 0, 1, 0, 0, ..] = head else { return None };
    let number = |bytes: &[u8]| Some(i16::from_be_bytes(bytes.try_into().ok()?));
    entries.chunks_exact(6).find_map(|entry| {
        let (key, versions) = entry.split_at_checked(2)?;
        let (_, highest) = versions.split_at_checked(2)?;
        (number(key)? == FETCH).then_some(number(highest)?)
    })
}

/// The releases that speak it, and whether they are new enough.
pub(super) fn release(fetch_version: i16) -> (&'static str, bool) {
    match fetch_version {
        ..16 => ("older than 3.7", false),
        16 => ("3.7 or 3.8", true),
        17 => ("3.9 or 4.0", true),
        18.. => ("4.1 or newer", true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_others_are_none() {
        let answer = [0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 9, 0, 1, 0, 4, 0, 18];
        assert_eq!(parse(&answer), Some(18));
        assert_eq!(parse(&answer[..16]), None);
        assert_eq!(parse(b"HTTP/1.1 400 Bad Request"), None);
        assert_eq!(parse(&[]), None);
        assert_eq!(release(15), ("older than 3.7", false));
        assert!(release(16).1 && release(30).1);
    }
}
