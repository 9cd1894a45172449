//! The handshake that Meta makes when the webhook's URL is entered: through the public URL, with
//! everything that lies between. A wrong token has to be refused.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tickfold_core::hash::id_of;
use tickfold_ingress::DEFAULT_APP;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Finding, Patient};
use crate::cli::Doctor;
use crate::load::target::{Target, system_authorities};
use crate::{apps, environment};

const NAME: &str = "handshake";
const ANSWER_BYTES_MAX: usize = 4 << 10;

pub(super) async fn look(patient: &Patient<'_>, command: &Doctor) -> Finding {
    let Some(url) = &command.url else {
        return Finding::skipped(NAME, "the public URL of the webhook is given with --url");
    };
    let fix = "compare the URL and the verify token with those of the Meta app, and let whatever \
               stands before ingress pass GET with its query";
    match timeout(patient.timeout, shake(patient, command, url)).await {
        Ok(Ok(())) => {
            Finding::ok(NAME, format!("{url} echoes the challenge, and refuses a wrong token"))
        }
        Ok(Err(error)) => Finding::fail(NAME, format!("{url}: {error:#}"), fix),
        Err(_) => Finding::fail(NAME, format!("{url}: no answer in {:?}", patient.timeout), fix),
    }
}

async fn shake(patient: &Patient<'_>, command: &Doctor, url: &str) -> Result<()> {
    let authorities = match &command.tls_ca {
        Some(path) => Some(path.clone()),
        None if url.starts_with("https:") => Some(system_authorities()?),
        None => None,
    };
    let target = Target::new(url, authorities.as_deref())?;
    let app = target.path.trim_end_matches('/').rsplit_once("/webhook/");
    let app = app.map_or(DEFAULT_APP, |(_, app)| app);
    let path = patient.config.ingress.apps_file.as_deref();
    let tokens = apps::verify_tokens(path, app, environment)?;
    let token = tokens.first().with_context(|| format!("app {app} has no verify token"))?;
    let challenge = id_of(&["challenge", url, &format!("{:?}", std::time::SystemTime::now())]);
    let (status, body) = ask(&target, token, &challenge).await?;
    if status != StatusCode::OK {
        bail!("the verify token of app {app} is answered with {status}");
    }
    if body != challenge.as_bytes() {
        bail!("the answer is 200, but not the challenge");
    }
    let (status, _) = ask(&target, &format!("{challenge}-is-wrong"), &challenge).await?;
    if status.is_success() {
        bail!("a wrong token is answered with {status}: this is no ingress of tickfold");
    }
    Ok(())
}

async fn ask(target: &Target, token: &str, challenge: &str) -> Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await;
    let stream = stream.with_context(|| format!("connect to {}", target.authority))?;
    match &target.tls {
        None => exchange(stream, target, token, challenge).await,
        Some((tls, name)) => {
            let stream = tls.connect(name.clone(), stream).await.context("shake hands in TLS")?;
            exchange(stream, target, token, challenge).await
        }
    }
}

async fn exchange<S>(
    stream: S,
    target: &Target,
    token: &str,
    challenge: &str,
) -> Result<(StatusCode, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move {
        // How it ended shows at the request.
        let _ = connection.await;
    });
    let joint = if target.path.contains('?') { '&' } else { '?' };
    let uri = format!(
        "{}{joint}hub.mode=subscribe&hub.challenge={challenge}&hub.verify_token={}",
        target.path,
        encoded(token)
    );
    let request = Request::get(uri).header(HOST, &target.authority).body(Empty::<Bytes>::new())?;
    let answer = requests.send_request(request).await.context("send the handshake")?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("read the answer: {error}"))?;
    driver.abort();
    Ok((status, body.to_bytes()))
}

/// As a value of a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn tokens_go_into_a_query_as_they_are() {
        assert_eq!(encoded("aZ09-._~"), "aZ09-._~");
        assert_eq!(encoded("a b&c=ü"), "a%20b%26c%3D%C3%BC");
    }
}
