//! The public paths: verification handshake and webhook.
//!
//! The order of checks is part of the contract. First who is asking: someone we do not talk to does
//! not even learn which paths there are. What headers alone decide comes first, so that
//! nothing is read for a request that is refused anyway; the body is looked into only after its
//! signature held; and after that only the log decides. Whatever the log does, the answer is there
//! within its deadline after the body's last byte.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use tickfold_core::event_time::newest_event_time;
use tickfold_core::raw::WebhookHeaders;
use tickfold_core::route::Destination;
use tickfold_core::signature::{SIGNATURE_HEADER, Signature};
use tickfold_core::time::Timestamp;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use crate::answer::{Answer, Cause};
use crate::append::RawTopic;
use crate::body;
use crate::budget::{Budget, Reservation};
use crate::metrics;
use crate::peers::{PeerFault, peer};
use crate::positions::Positions;
use crate::quarantine::{Quarantine, Refused};
use crate::redelivery::{Fingerprint, Redelivery};
use crate::served::{Apps, Served};
use crate::signature::{self, SignatureFault};
use crate::status::IngressStatus;
use crate::throttle::Throttle;
use crate::{Clock, IngressOptions};

/// Bodies up to this size are verified and routed by the thread that read them: 0.2 ms at most, where
/// handing one over costs 0.015 ms. One of 3 MB takes 20 ms.
const INLINE_BYTES_MAX: usize = 32 * 1024;

/// A webhook's request, as logs and raw records name it.
#[derive(Debug)]
struct Sender<'a> {
    /// The app of the path, and its name.
    app: &'a Served,
    name: &'a str,
    request_id: &'a str,
    peer: Option<IpAddr>,
}

/// What a body whose signature held told.
#[derive(Debug)]
struct Checked {
    secret_id: String,
    destinations: Vec<Destination>,
    event_time: Option<Timestamp>,
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Ingress {
    pub(crate) options: IngressOptions,
    pub(crate) apps: Apps,
    pub(crate) clock: Clock,
    pub(crate) budget: Budget,
    pub(crate) raw: Arc<RawTopic>,
    pub(crate) status: IngressStatus,
    pub(crate) redelivery: Arc<Redelivery>,
    pub(crate) refusals: Throttle,
    pub(crate) peer_refusals: Throttle,
    pub(crate) overloads: Throttle,
    pub(crate) quarantine: Option<Quarantine>,
}

/// The other end of a request's connection, put into its extensions by the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connected(pub(crate) IpAddr);

/// Who a request comes from, put into its extensions once it may.
#[derive(Debug, Clone, Copy)]
struct Peer(IpAddr);

/// The router of the public listener; it knows one path, everything else is 404.
pub(crate) fn router(ingress: Arc<Ingress>) -> Router {
    Router::new()
        .route("/webhook/{app}", any(webhook_path))
        .fallback(unknown_path)
        .layer(from_fn_with_state(Arc::clone(&ingress), known_peer))
        .with_state(ingress)
}

async fn known_peer(
    State(ingress): State<Arc<Ingress>>,
    mut request: Request,
    next: Next,
) -> Response {
    let connected = request.extensions().get().map(|&Connected(address)| address);
    // Every request of a connection has an address; without one it is from nobody we know.
    let connected = connected.unwrap_or(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED));
    match peer(&ingress.options, connected, request.headers()) {
        Ok(address) => {
            request.extensions_mut().insert(Peer(address));
            next.run(request).await
        }
        Err(fault) => finish(ingress.refuse_peer(connected, fault), is_signed(&request)),
    }
}

async fn webhook_path(
    State(ingress): State<Arc<Ingress>>,
    app: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let name = app.map_or_else(|_| String::new(), |Path(name)| name);
    let app = ingress.apps.get(&name);
    let signed = is_signed(&request);
    let answer = match (app, request.method()) {
        (None, _) => Answer::NotFound,
        (Some(app), &Method::GET) => handshake(&app, request.uri()),
        (Some(app), &Method::POST) => ingress.webhook(&name, &app, request).await,
        (Some(_), _) => Answer::MethodNotAllowed,
    };
    finish(answer, signed)
}

async fn unknown_path(request: Request) -> Response {
    finish(Answer::NotFound, is_signed(&request))
}

/// Whether a request may be Meta's. Those who try out paths and methods send no signature.
fn is_signed(request: &Request) -> bool {
    request.headers().contains_key(SIGNATURE_HEADER)
}

fn finish(answer: Answer, is_signed: bool) -> Response {
    metrics::request(answer.outcome());
    if is_signed && answer.is_lost() {
        metrics::signed_refused(answer.outcome());
    }
    answer.into_response()
}

#[derive(serde::Deserialize)]
struct Handshake {
    #[serde(rename = "hub.mode")]
    mode: String,
    #[serde(rename = "hub.verify_token")]
    verify_token: String,
    #[serde(rename = "hub.challenge")]
    challenge: String,
}

fn handshake(app: &Served, uri: &Uri) -> Answer {
    match Query::<Handshake>::try_from_uri(uri) {
        Ok(Query(asked)) if asked.mode == "subscribe" && app.accepts_token(&asked.verify_token) => {
            Answer::Challenge(asked.challenge)
        }
        Ok(_) | Err(_) => Answer::HandshakeRefused,
    }
}

impl Ingress {
    async fn webhook(self: &Arc<Self>, name: &str, app: &Served, request: Request) -> Answer {
        let Some(request_id) = request_id() else {
            // Without random numbers the process is in no state to vouch for anything.
            return Answer::Unavailable(Cause::Overloaded);
        };
        let (parts, body) = request.into_parts();
        let peer = parts.extensions.get().map(|&Peer(address)| address);
        let sender = Sender { name, app, request_id: &request_id, peer };
        let answer = match self.accept(&sender, &parts.headers, body).await {
            Ok(positions) => Answer::Accepted(positions),
            Err(answer) => answer,
        };
        // A log that failed is told of where it failed, a drain where it began.
        if let Answer::Unavailable(Cause::LogBehind | Cause::Overloaded) = answer
            && let Some(count) = self.overloads.pass()
        {
            warn!(outcome = answer.outcome(), count, "webhooks refused, Meta will repeat them");
        }
        debug!(app = name, request_id, outcome = answer.outcome(), "webhook answered");
        answer
    }

    /// Checks the headers, then takes the body, and remembers what became of it.
    async fn accept(
        self: &Arc<Self>,
        sender: &Sender<'_>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Positions, Answer> {
        if !is_identity(headers) {
            return Err(Answer::EncodingRefused);
        }
        let signature =
            signature::of_request(headers).map_err(|fault| self.refuse_signature(sender, fault))?;
        let fingerprint = Fingerprint::of(&signature);
        let taken = self.take(sender, signature, body).await;
        match &taken {
            Ok(_) => self.redelivery.accepted(fingerprint),
            Err(Answer::Unavailable(_)) => self.redelivery.refused(fingerprint),
            Err(Answer::SignatureRefused | Answer::TooLarge) => {
                self.redelivery.refused_for_good(fingerprint);
            }
            // A body that did not arrive whole says nothing about the webhook; the others are
            // answered from headers alone.
            Err(
                Answer::BodyIncomplete
                | Answer::PeerRefused
                | Answer::EncodingRefused
                | Answer::Accepted(_)
                | Answer::Challenge(_)
                | Answer::HandshakeRefused
                | Answer::NotFound
                | Answer::MethodNotAllowed,
            ) => {}
        }
        taken
    }

    async fn take(
        self: &Arc<Self>,
        sender: &Sender<'_>,
        signature: Signature,
        body: Body,
    ) -> Result<Positions, Answer> {
        let promised = body::promised_bytes(&body);
        if promised > self.options.body_bytes_max {
            return Err(Answer::TooLarge);
        }
        if self.status.is_draining() {
            return Err(Answer::Unavailable(Cause::Draining));
        }
        if self.raw.lanes.expected_latency() > self.options.append_latency_max {
            return Err(Answer::Unavailable(Cause::LogBehind));
        }
        let asked = Instant::now();
        let admitted = self.budget.admit(promised).await;
        let mut reservation = admitted.ok_or(Answer::Unavailable(Cause::Overloaded))?;
        // The body may have been there all that time.
        let answer_deadline = self.options.answer_deadline.saturating_sub(asked.elapsed());
        let IngressOptions { body_bytes_max, body_deadline, .. } = self.options;
        let body = body::read(body, body_bytes_max, body_deadline, &mut reservation).await?;
        let deadline = Instant::now() + answer_deadline;
        let received_time = (self.clock)();
        let checked =
            self.checked(sender.name, &body, &signature, received_time, deadline, reservation);
        let (checked, reservation) = checked.await.map_err(Answer::Unavailable)?;
        let Some(Checked { secret_id, destinations, event_time }) = checked else {
            if let Some(quarantine) = &self.quarantine {
                let (app, request_id) = (sender.name.to_owned(), sender.request_id.to_owned());
                let refused =
                    Refused { app, signature, received_time, request_id, body, reservation };
                quarantine.offer(refused);
            }
            return Err(self.refuse_signature(sender, SignatureFault::Wrong));
        };
        self.redelivery.arrived(Fingerprint::of(&signature));
        metrics::body_bytes(body.len());
        if let Some(event_time) = event_time {
            metrics::event_age(received_time, event_time);
        }
        if self.raw.lanes.expected_latency_to(&destinations) > self.options.append_latency_max {
            return Err(Answer::Unavailable(Cause::LogBehind));
        }
        let headers = WebhookHeaders {
            signature: signature.as_str().to_owned(),
            received_time,
            app: sender.name.to_owned(),
            secret_id,
            request_id: sender.request_id.to_owned(),
            partition_count: self.raw.partition_count,
        };
        let appended = self.raw.append(&headers, destinations, &body, reservation, deadline).await;
        appended.map_err(Answer::Unavailable)
    }

    fn refuse_peer(&self, connected: IpAddr, fault: PeerFault) -> Answer {
        if let Some(count) = self.peer_refusals.pass() {
            warn!(%connected, reason = fault.as_str(), count, "peer refused");
        }
        Answer::PeerRefused
    }

    /// What reads the whole body; `None` if its signature is wrong. Large bodies are read on another
    /// thread: on this one all other requests would wait for it.
    async fn checked(
        self: &Arc<Self>,
        app: &str,
        body: &Bytes,
        signature: &Signature,
        now: Timestamp,
        deadline: Instant,
        reservation: Reservation,
    ) -> Result<(Option<Checked>, Reservation), Cause> {
        if body.len() <= INLINE_BYTES_MAX {
            return Ok((self.check(app, body, signature, now), reservation));
        }
        let (ingress, app, body) = (Arc::clone(self), app.to_owned(), body.clone());
        let signature = signature.clone();
        // The reservation goes along: past the deadline the body is still in memory there.
        let check = tokio::task::spawn_blocking(move || {
            (ingress.check(&app, &body, &signature, now), reservation)
        });
        match timeout_at(deadline, check).await {
            Ok(Ok(checked)) => Ok(checked),
            // All threads are busy, or this one panicked or ends with the runtime.
            Err(_) | Ok(Err(_)) => Err(Cause::Overloaded),
        }
    }

    /// The app is looked up anew: a reload while the body was read may have removed the secret, or
    /// the app.
    fn check(
        &self,
        app: &str,
        body: &[u8],
        signature: &Signature,
        now: Timestamp,
    ) -> Option<Checked> {
        let secret_id = self.apps.get(app)?.verify(body, signature, now)?;
        let destinations = self.raw.destinations(body);
        Some(Checked { secret_id, destinations, event_time: newest_event_time(body, now) })
    }

    fn refuse_signature(&self, sender: &Sender<'_>, fault: SignatureFault) -> Answer {
        let Sender { name, app, request_id, peer } = sender;
        app.count_failure();
        if let Some(count) = self.refusals.pass() {
            let (peer, reason) = (peer.map(tracing::field::display), fault.as_str());
            warn!(app = name, request_id, peer, reason, count, "signature refused");
        }
        Answer::SignatureRefused
    }
}

/// Whether the body comes as it was signed.
fn is_identity(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// 128 random bits in hex.
fn request_id() -> Option<String> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(bits)))
}
