//! Reading a body: under the size limit, under its deadline, and within the budget of bytes in
//! flight, to which it may have to give its bytes back before its deadline. Gives the exact bytes or
//! says why not; looks at none of them.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::answer::{Answer, Cause};
use crate::budget::Reservation;

/// What is allocated before the first byte is there; a promise of 4 MiB is not believed.
const FIRST_ALLOCATION_BYTES: usize = 64 * 1024;

/// The bytes that a request's Content-Length promises; 0 for a chunked body.
pub(crate) fn promised_bytes(body: &Body) -> usize {
    usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX)
}

/// Reads to the end.
pub(crate) async fn read(
    mut body: Body,
    bytes_max: usize,
    deadline: Duration,
    reservation: &mut Reservation,
) -> Result<Bytes, Answer> {
    let deadline = Instant::now() + deadline;
    let promised = promised_bytes(&body);
    if promised > bytes_max {
        return Err(Answer::TooLarge);
    }
    let mut bytes = BytesMut::with_capacity(promised.min(FIRST_ALLOCATION_BYTES));
    let cut = reservation.cut();
    loop {
        let frame = tokio::select! {
            // A body that is there whole is not cut.
            biased;
            frame = timeout_at(deadline, body.frame()) => frame,
            // Not the sender's fault as far as anybody knows, so it is asked to send it again.
            () = cut.cancelled() => return Err(Answer::Unavailable(Cause::Overloaded)),
        };
        let frame = match frame {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => {
                reservation.arrived();
                return Ok(bytes.freeze());
            }
            // Late, cut, or broken in its framing.
            Err(_) | Ok(Some(Err(_))) => return Err(Answer::BodyIncomplete),
        };
        // A frame without data is trailers, which mean nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len().saturating_add(data.len()) > bytes_max {
            return Err(Answer::TooLarge);
        }
        if !reservation.grow(data.len(), deadline).await {
            return Err(Answer::Unavailable(Cause::Overloaded));
        }
        bytes.extend_from_slice(&data);
    }
}
