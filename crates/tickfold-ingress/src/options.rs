//! Options of ingress, with their defaults and the relations they must keep.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tickfold_log::RECORD_BYTES_MAX;

use crate::Error;
use crate::budget::REQUEST_OVERHEAD_BYTES;

/// Bytes that key and headers of a raw record may add to the body; real ones stay below 1 KiB.
const RECORD_EXTRA_BYTES: usize = 64 * 1024;

/// The addresses of this machine to itself.
const LOOPBACK_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
const LOOPBACK_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);

/// Limits and deadlines of the public listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressOptions {
    /// Largest body taken, in bytes; larger ones are answered 413. Meta documents up to 3 MB.
    /// Default: 4 MiB.
    pub body_bytes_max: usize,
    /// Time for the headers of a request, from its first byte (of a connection's first request:
    /// from the accept, or from the end of the TLS handshake, which has as much time for itself);
    /// then the connection is cut. Default: 5 s.
    pub header_deadline: Duration,
    /// Time for the body, from the end of the headers; then 400. Default: 10 s.
    pub body_deadline: Duration,
    /// Time a connection may stay open between requests. Default: 60 s.
    pub idle_deadline: Duration,
    /// Time from the body's last byte to the answer, whatever the log does; then 503. Default: 3 s.
    pub answer_deadline: Duration,
    /// Longest time that a webhook may be expected to take until it is durable, by what is seen of
    /// the log; above it requests are answered 503 before their body is read. Less than
    /// `answer_deadline`. Default: 2 s.
    pub append_latency_max: Duration,
    /// Connections open at once, in number, TLS handshakes included. For one more, the connection
    /// that has waited longest without a complete request is closed; if all have a request under
    /// way, the new one gets 503 (with TLS: nothing) and is closed. Each needs a file descriptor,
    /// beside those of the log and the stores; raising the process's limit is the caller's part.
    /// Out of descriptors, connections are accepted as others end. Default: 4096.
    pub connections_max: usize,
    /// Bodies in memory, being read or on their way into the log, in bytes; above it the body that
    /// is read for longest makes room, and if none can, requests are answered 503 before their body
    /// is read. Default: 128 MiB.
    pub inflight_bytes_max: usize,
    /// Time that requests under way get to finish at shutdown. Default: 10 s.
    pub drain_limit: Duration,
    /// A raw partition that nothing was written to for this long gets a tick. Default: 5 s.
    pub tick_interval: Duration,
    /// Whether webhooks come through a proxy, which ends TLS and adds the sender's address to
    /// `X-Forwarded-For`. Then only `trusted_proxies` may send requests, others get 403; without
    /// it that header means nothing. Default: no.
    pub behind_proxy: bool,
    /// Addresses of proxies, when there are any. Default: this machine's loopback addresses.
    pub trusted_proxies: Vec<IpNet>,
    /// Senders to talk to; others get 403 for everything. Empty for all. Meta's addresses change
    /// often; its client certificate is the better check. Default: empty.
    pub allow: Vec<IpNet>,
    /// Bytes of webhooks with a signature of no known secret that are kept to be accepted later,
    /// headers included; 0 keeps none. Anyone can fill it, so it is disk space given to strangers.
    /// Default: 0.
    pub quarantine_bytes_max: usize,
}

impl Default for IngressOptions {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 * 1024 * 1024,
            header_deadline: Duration::from_secs(5),
            body_deadline: Duration::from_secs(10),
            idle_deadline: Duration::from_secs(60),
            answer_deadline: Duration::from_secs(3),
            append_latency_max: Duration::from_secs(2),
            connections_max: 4096,
            inflight_bytes_max: 128 * 1024 * 1024,
            drain_limit: Duration::from_secs(10),
            tick_interval: Duration::from_secs(5),
            behind_proxy: false,
            trusted_proxies: vec![LOOPBACK_V4.into(), LOOPBACK_V6.into()],
            allow: Vec::new(),
            quarantine_bytes_max: 0,
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
            ("append_latency_max", self.append_latency_max),
            ("tick_interval", self.tick_interval),
        ];
        for (name, deadline) in deadlines {
            if deadline.is_zero() {
                return Err(Error::Options(format!("{name} is zero")));
            }
        }
        if self.append_latency_max >= self.answer_deadline {
            let reason = "append_latency_max is not below answer_deadline: what is taken in could \
                          not be answered in time";
            return Err(Error::Options(reason.to_owned()));
        }
        if self.connections_max == 0 {
            return Err(Error::Options("connections_max is zero".to_owned()));
        }
        if self.behind_proxy && self.trusted_proxies.is_empty() {
            let reason = "behind_proxy without trusted_proxies: every request would be refused";
            return Err(Error::Options(reason.to_owned()));
        }
        if self.body_bytes_max.saturating_add(RECORD_EXTRA_BYTES) > RECORD_BYTES_MAX {
            let reason = "body_bytes_max leaves no room for headers in a record of the log";
            return Err(Error::Options(reason.to_owned()));
        }
        if self.body_bytes_max.saturating_add(REQUEST_OVERHEAD_BYTES) > self.inflight_bytes_max {
            let reason = "inflight_bytes_max is below body_bytes_max: such a body never passes";
            return Err(Error::Options(reason.to_owned()));
        }
        let largest_record = self.body_bytes_max.saturating_add(RECORD_EXTRA_BYTES);
        if self.quarantine_bytes_max > 0 && self.quarantine_bytes_max < largest_record {
            let reason = "quarantine_bytes_max is below body_bytes_max: such a body is never kept";
            return Err(Error::Options(reason.to_owned()));
        }
        Ok(())
    }

    /// Refuses an address at which webhooks, and the signatures that vouch for them, would cross a
    /// network in plain text with nobody having said that a proxy protects them.
    pub fn check_listener(&self, address: SocketAddr, tls: bool) -> Result<(), Error> {
        if tls || self.behind_proxy || address.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(Error::Options(format!(
            "{address} is not a loopback address: the listener needs TLS or a proxy in front"
        )))
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
            IngressOptions { behind_proxy: true, trusted_proxies: Vec::new(), ..default.clone() },
            IngressOptions { quarantine_bytes_max: default.body_bytes_max, ..default.clone() },
            IngressOptions { answer_deadline: Duration::ZERO, ..default.clone() },
            IngressOptions { append_latency_max: Duration::ZERO, ..default.clone() },
            IngressOptions { append_latency_max: default.answer_deadline, ..default },
        ];
        for options in bad {
            assert!(matches!(options.check(), Err(Error::Options(_))), "{options:?}");
        }
    }
    #[test]
    fn a_plain_listener_that_others_reach_needs_a_proxy() {
        let (alone, behind) = (
            IngressOptions::default(),
            IngressOptions { behind_proxy: true, ..IngressOptions::default() },
        );
        for (address, is_local) in [
            ("127.0.0.1:8080", true),
            ("127.9.9.9:8080", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]:8080", true),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("192.0.2.1:8080", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(alone.check_listener(address, false).is_ok(), is_local, "{address}");
            assert!(alone.check_listener(address, true).is_ok(), "{address}");
            assert!(behind.check_listener(address, false).is_ok(), "{address}");
        }
    }
}
