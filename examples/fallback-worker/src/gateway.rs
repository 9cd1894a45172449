//! The SMS gateway, as those of the trade are: one POST per message, an idempotency key, and answers
//! sorted by what the caller can do.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpStream;

/// How long an answer may take. One that comes later is as good as none: the key makes a repetition
/// harmless.
const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A gateway.
pub(crate) struct Gateway {
    addr: String,
}

/// What it said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has the message, from now or from before.
    Taken,
    /// It will never take it.
    Refused,
    /// Not now.
    Again,
}

impl Gateway {
    pub(crate) fn new(addr: &str) -> Self {
        Self { addr: addr.to_owned() }
    }

    /// Sends an SMS, once per key however often it is called.
    pub(crate) async fn send(
        &self,
        key: &str,
        to: &str,
        reference: Option<&str>,
        not_after: Option<Timestamp>,
    ) -> Result<Answer> {
        // The gateway should not keep it for longer than it makes sense either.
        let not_after = not_after.map(|time| time.to_string());
        let body = json!({"to": to, "reference": reference, "not_after": not_after}).to_string();
        let request = Request::builder()
            .method(Method::POST)
            .uri("/sms")
            .header(HOST, &self.addr)
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Full::new(Bytes::from(body)))
            .context("make a request")?;
        let status = tokio::time::timeout(PATIENCE, self.exchange(request));
        let status = status.await.context("wait for the gateway")?.context("ask the gateway")?;
        Ok(match status {
            status if status.is_success() => Answer::Taken,
            // Of the message. Others are of the credential, the address or the load, which somebody mends.
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => Answer::Refused,
            _ => Answer::Again,
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<StatusCode> {
        let stream = TcpStream::connect(&self.addr).await?;
        let (mut requests, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let answer = requests.send_request(request).await;
        let status = match answer {
            Ok(answer) => {
                let status = answer.status();
                let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
                body.map(|_| status).map_err(|error| anyhow::anyhow!("read the answer: {error}"))
            }
            Err(error) => Err(error.into()),
        };
        driver.abort();
        status
    }
}
