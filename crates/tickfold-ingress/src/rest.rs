//! What is left of a body when its request is answered.
//!
//! Most refusals are decided before the body is read. hyper then looks once whether the body is
//! there already, and if it is not, closes the connection behind an answer that said nothing of it:
//! what a client sends next meets a closed socket, and nobody can tell whether it was read. So the
//! rest is discarded while that is quick, and otherwise the answer says that the connection closes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::timeout;

/// Bytes of a body and time for them that are spent on keeping a connection. A webhook of usual
/// size is a few KB, sent together with its head.
const REST_BYTES_MAX: u64 = 64 * 1024;
const REST_DEADLINE: Duration = Duration::from_millis(200);

/// A request's body, of which whoever handles the request reads as much as it likes.
#[derive(Debug, Clone)]
pub(crate) struct Rest(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    body: Incoming,
    ended: bool,
    /// Only sent when asked for, and a request that has its answer does not ask.
    expects_continue: bool,
}

impl Rest {
    /// The request to be handled, and a view of what that leaves of its body.
    pub(crate) fn of(request: Request<Incoming>) -> (Request<Body>, Self) {
        let expects_continue = request.headers().contains_key(header::EXPECT);
        let (parts, body) = request.into_parts();
        let ended = body.is_end_stream();
        let rest = Self(Arc::new(Mutex::new(State { body, ended, expects_continue })));
        (Request::from_parts(parts, Body::new(rest.clone())), rest)
    }

    /// Reads to the body's end, if that is near; whether it came to it.
    pub(crate) async fn discard(mut self) -> bool {
        {
            let state = self.state();
            if state.ended {
                return true;
            }
            if state.expects_continue || state.body.size_hint().lower() > REST_BYTES_MAX {
                return false;
            }
        }
        let to_end = async {
            let mut left = REST_BYTES_MAX;
            while let Some(frame) = self.frame().await {
                let bytes = frame.ok()?.into_data().map_or(0, |data| data.len());
                left = left.checked_sub(u64::try_from(bytes).ok()?)?;
            }
            Some(())
        };
        matches!(timeout(REST_DEADLINE, to_end).await, Ok(Some(())))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Read by one at a time; a reader that panicked left it as hyper did.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut state = self.state();
        if state.ended {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut state.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || state.body.is_end_stream() {
            state.ended = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.state().ended
    }

    fn size_hint(&self) -> SizeHint {
        self.state().body.size_hint()
    }
}
