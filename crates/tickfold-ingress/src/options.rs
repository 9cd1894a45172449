//! Options of ingress, with their defaults and the relations they must keep.

use std::time::Duration;

use tickfold_log::RECORD_BYTES_MAX;

use crate::Error;
use crate::budget::REQUEST_OVERHEAD_BYTES;

/// Bytes that key and headers of a raw record may add to the body; real ones stay below 1 KiB.
const RECORD_EXTRA_BYTES: usize = 64 * 1024;

/// Limits and deadlines of the public listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressOptions {
    /// Largest body taken, in bytes; larger ones are answered 413. Meta documents up to 3 MB.
    /// Default: 4 MiB.
    pub body_bytes_max: usize,
    /// Time for the headers of a request, from its first byte (of a connection's first request:
    /// from the accept); then the connection is cut. Default: 5 s.
    pub header_deadline: Duration,
    /// Time for the body, from the end of the headers; then 400. Default: 10 s.
    pub body_deadline: Duration,
    /// Time a connection may stay open between requests. Default: 60 s.
    pub idle_deadline: Duration,
    /// Time from the body's last byte to the answer, whatever the log does; then 503. Default: 3 s.
    pub answer_deadline: Duration,
    /// Connections open at once, in number; further ones get 503 and are closed. The process needs
    /// as many file descriptors and some. Default: 4096.
    pub connections_max: usize,
    /// Bodies in memory, being read or on their way into the log, in bytes; above it requests are
    /// answered 503 before their body is read. Default: 128 MiB.
    pub inflight_bytes_max: usize,
    /// Time that requests under way get to finish at shutdown. Default: 10 s.
    pub drain_limit: Duration,
    /// A raw partition that nothing was written to for this long gets a tick. Default: 5 s.
    pub tick_interval: Duration,
}

impl Default for IngressOptions {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 * 1024 * 1024,
            header_deadline: Duration::from_secs(5),
            body_deadline: Duration::from_secs(10),
            idle_deadline: Duration::from_secs(60),
            answer_deadline: Duration::from_secs(3),
            connections_max: 4096,
            inflight_bytes_max: 128 * 1024 * 1024,
            drain_limit: Duration::from_secs(10),
            tick_interval: Duration::from_secs(5),
        }
    }
}

impl IngressOptions {
    /// Refuses values that would refuse good webhooks for ever or switch a deadline off.
    pub fn check(&self) -> Result<(), Error> {
        let deadlines = [
            ("header_deadline", self.header_deadline),
            ("body_deadline", self.body_deadline),
            ("idle_deadline", self.idle_deadline),
            ("answer_deadline", self.answer_deadline),
            ("tick_interval", self.tick_interval),
        ];
        for (name, deadline) in deadlines {
            if deadline.is_zero() {
                return Err(Error::Options(format!("{name} is zero")));
            }
        }
        if self.connections_max == 0 {
            return Err(Error::Options("connections_max is zero".to_owned()));
        }
        if self.body_bytes_max.saturating_add(RECORD_EXTRA_BYTES) > RECORD_BYTES_MAX {
            let reason = "body_bytes_max leaves no room for headers in a record of the log";
            return Err(Error::Options(reason.to_owned()));
        }
        if self.body_bytes_max.saturating_add(REQUEST_OVERHEAD_BYTES) > self.inflight_bytes_max {
            let reason = "inflight_bytes_max is below body_bytes_max: such a body never passes";
            return Err(Error::Options(reason.to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_consistent() {
        IngressOptions::default().check().unwrap();
    }

    #[test]
    fn values_that_refuse_good_webhooks_for_ever_are_refused() {
        let default = IngressOptions::default();
        let bad = [
            IngressOptions { body_bytes_max: RECORD_BYTES_MAX, ..default.clone() },
            IngressOptions { inflight_bytes_max: default.body_bytes_max, ..default.clone() },
            IngressOptions { connections_max: 0, ..default.clone() },
            IngressOptions { answer_deadline: Duration::ZERO, ..default },
        ];
        for options in bad {
            assert!(matches!(options.check(), Err(Error::Options(_))), "{options:?}");
        }
    }
}
