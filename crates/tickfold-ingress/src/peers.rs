//! Who a request comes from, and whether we talk to them: decided from addresses and headers
//! alone, before anything else about a request.
//!
//! Behind a proxy the sender's address is in `X-Forwarded-For`, to which each proxy appends the
//! address it saw. Everything left of the first address that no trusted proxy vouches for is the
//! sender's own invention and is not looked at. Without a proxy the header is ignored: anyone can
//! send it.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::IngressOptions;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Why a request is refused whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerFault {
    /// It does not come through a trusted proxy.
    NotAProxy,
    /// Its sender is not on the list of those allowed.
    NotAllowed,
}

impl PeerFault {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotAProxy => "not a trusted proxy",
            Self::NotAllowed => "not an allowed peer",
        }
    }
}

/// The address a request comes from, if it may: of the client of the connection, or of the proxy's
/// client. IPv4 addresses in IPv6 form become IPv4 addresses.
pub(crate) fn peer(
    options: &IngressOptions,
    connected: IpAddr,
    headers: &HeaderMap,
) -> Result<IpAddr, PeerFault> {
    let connected = connected.to_canonical();
    let peer = if options.behind_proxy {
        if !is_in(&options.trusted_proxies, connected) {
            return Err(PeerFault::NotAProxy);
        }
        forwarded_for(&options.trusted_proxies, headers).unwrap_or(connected)
    } else {
        connected
    };
    if options.allow.is_empty() || is_in(&options.allow, peer) {
        Ok(peer)
    } else {
        Err(PeerFault::NotAllowed)
    }
}

/// The right-most address that is no trusted proxy's. None if there is no such address, or
/// something right of it is no address: then the proxy that sent it cannot be believed.
fn forwarded_for(trusted: &[IpNet], headers: &HeaderMap) -> Option<IpAddr> {
    let values = headers.get_all(FORWARDED_FOR).iter().rev();
    for value in values {
        for entry in value.to_str().ok()?.rsplit(',') {
            let address = address(entry)?;
            if !is_in(trusted, address) {
                return Some(address);
            }
        }
    }
    None
}

/// An address with or without a port; IPv6 with or without brackets.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let plain = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']'));
    let address = plain.unwrap_or(entry).parse::<IpAddr>().ok();
    let address = address.or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

fn is_in(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn nets(nets: &[&str]) -> Vec<IpNet> {
        nets.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn headers(forwarded_for: &[&str]) -> HeaderMap {
        let value = |text: &&str| (FORWARDED_FOR, HeaderValue::from_str(text).unwrap());
        forwarded_for.iter().map(value).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_peer_behind_proxies() {
        let options = IngressOptions {
            behind_proxy: true,
            trusted_proxies: nets(&["127.0.0.0/8", "::1/128", "10.0.0.0/8"]),
            ..IngressOptions::default()
        };
        // Connected from, X-Forwarded-For, peer.
        let table: &[(&str, &[&str], &str)] = &[
            ("127.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("::1", &["203.0.113.7"], "203.0.113.7"),
            ("::ffff:127.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["192.0.2.1, 203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["192.0.2.1, 203.0.113.7, 10.0.0.9"], "203.0.113.7"),
            ("127.0.0.1", &["192.0.2.1", "203.0.113.7", "10.0.0.9,10.1.1.1"], "203.0.113.7"),
            ("127.0.0.1", &["nonsense, 203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("127.0.0.1", &["2001:db8::7"], "2001:db8::7"),
            ("127.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            ("127.0.0.1", &[" [2001:db8::7]:4711 "], "2001:db8::7"),
            ("127.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["203.0.113.7, ::ffff:10.0.0.9"], "203.0.113.7"),
            // No address that can be believed: the proxy itself.
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &[""], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.7, nonsense"], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.7,"], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.7", "unknown"], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.7.8"], "127.0.0.1"),
            ("127.0.0.1", &["[203.0.113.7"], "127.0.0.1"),
            ("127.0.0.1", &["10.0.0.1, 10.0.0.2"], "127.0.0.1"),
        ];
        for (connected, forwarded_for, expected) in table {
            let found = peer(&options, ip(connected), &headers(forwarded_for));
            assert_eq!(found, Ok(ip(expected)), "{connected} {forwarded_for:?}");
        }
        let found = peer(&options, ip("192.0.2.1"), &headers(&["203.0.113.7"]));
        assert_eq!(found, Err(PeerFault::NotAProxy));
    }

    #[test]
    fn the_allow_list_is_about_the_peer_not_about_the_proxy() {
        let behind = |behind_proxy| IngressOptions {
            behind_proxy,
            allow: nets(&["203.0.113.0/24", "2001:db8::/32"]),
            ..IngressOptions::default()
        };
        let refused = Err(PeerFault::NotAllowed);
        /// Behind a proxy, connected from, X-Forwarded-For, peer.
        type Row = (bool, &'static str, &'static [&'static str], Result<&'static str, PeerFault>);
        let table: &[Row] = &[
            (true, "127.0.0.1", &["203.0.113.7"], Ok("203.0.113.7")),
            (true, "127.0.0.1", &["2001:db8::7"], Ok("2001:db8::7")),
            (true, "127.0.0.1", &["203.0.113.7, 192.0.2.1"], refused),
            (true, "127.0.0.1", &[], refused),
            (true, "127.0.0.1", &["203.0.113.7, nonsense"], refused),
            (true, "203.0.113.7", &["203.0.113.7"], Err(PeerFault::NotAProxy)),
            (false, "203.0.113.7", &[], Ok("203.0.113.7")),
            (false, "::ffff:203.0.113.7", &[], Ok("203.0.113.7")),
            (false, "203.0.113.7", &["192.0.2.1"], Ok("203.0.113.7")),
            (false, "192.0.2.1", &["203.0.113.7"], refused),
            (false, "127.0.0.1", &["203.0.113.7"], refused),
        ];
        for (behind_proxy, connected, forwarded_for, expected) in table {
            let found = peer(&behind(*behind_proxy), ip(connected), &headers(forwarded_for));
            assert_eq!(found, expected.map(ip), "{behind_proxy} {connected} {forwarded_for:?}");
        }
    }
}
