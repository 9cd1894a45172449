//! Options of the gRPC server, with their defaults and the relations they must keep.

use std::time::Duration;

use crate::{Error, web};

/// What gRPC clients accept in one message unless told otherwise.
const CLIENT_DECODE_DEFAULT: usize = 4 * 1024 * 1024;

/// Limits and deadlines of the gRPC server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryOptions {
    /// Largest request message taken, decompressed, in bytes. Default: 4 MiB.
    pub decode_bytes_max: usize,
    /// Largest reply of the query service, in bytes: pages end before it, other replies above it
    /// fail with `RESPONSE_TOO_LARGE`. Below the 4 MiB that clients accept by default. Default:
    /// 3 MiB.
    pub response_bytes_max: usize,
    /// Silence on a connection after which the server pings the client. Default: 30 s.
    pub keepalive_interval: Duration,
    /// Time a client gets to answer the ping; then its connection is cut. Default: 20 s.
    pub keepalive_timeout: Duration,
    /// Age at which a connection is asked to close once its calls are done, so that load balancers
    /// spread clients anew. Default: 30 min.
    pub connection_age_max: Duration,
    /// Connections open at once, in number; further ones wait to be accepted. Default: 1024.
    pub connections_max: usize,
    /// Calls open at once on one connection, in number. Default: 128.
    pub concurrent_streams_max: u32,
    /// Lookups running at once over all connections, in number; further ones fail with
    /// `OVERLOADED`. Default: 256.
    pub concurrent_requests_max: usize,
    /// Tail and ExplainMessage streams open at once over all connections, in number; further ones
    /// fail with `OVERLOADED`. Default: 64.
    pub tail_streams_max: usize,
    /// Watches open at once over all connections, in number; further ones fail with `OVERLOADED`.
    /// Default: 16,384.
    pub watch_streams_max: usize,
    /// Time without a response after which a watch gets a bookmark. Default: 30 s.
    pub watch_bookmark_interval: Duration,
    /// Age at which a watch is asked to come again, so that load balancers spread it anew; it ends up
    /// to a tenth earlier. Default: 30 min.
    pub watch_age_max: Duration,
    /// Deadline of a call that brings none. Default: 10 s.
    pub request_timeout: Duration,
    /// Longest deadline a call gets, whatever it asks for; Tail and watches have none. Default: 60 s.
    pub request_timeout_max: Duration,
    /// Origins whose pages may call by gRPC-web, e.g. `https://crm.example`. Default: none.
    pub web_origins: Vec<String>,
    /// Time that calls under way get to finish at shutdown; then connections are cut. Default:
    /// 10 s.
    pub drain_limit: Duration,
    /// Ids in one LookupMessages, in number. Default: 1000.
    pub lookup_max: usize,
    /// Messages in a page, in number; larger requests are cut down to it. Default: 1000.
    pub page_size_max: usize,
    /// Messages in a page whose request does not say, in number. Default: 100.
    pub page_size_default: usize,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            decode_bytes_max: 4 * 1024 * 1024,
            response_bytes_max: 3 * 1024 * 1024,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            connection_age_max: Duration::from_secs(30 * 60),
            connections_max: 1024,
            concurrent_streams_max: 128,
            concurrent_requests_max: 256,
            tail_streams_max: 64,
            watch_streams_max: 16_384,
            watch_bookmark_interval: Duration::from_secs(30),
            watch_age_max: Duration::from_secs(30 * 60),
            request_timeout: Duration::from_secs(10),
            request_timeout_max: Duration::from_secs(60),
            web_origins: Vec::new(),
            drain_limit: Duration::from_secs(10),
            lookup_max: 1000,
            page_size_max: 1000,
            page_size_default: 100,
        }
    }
}

impl QueryOptions {
    /// Refuses values that would refuse every call or switch a limit off.
    pub fn check(&self) -> Result<(), Error> {
        let durations = [
            ("keepalive_interval", self.keepalive_interval),
            ("keepalive_timeout", self.keepalive_timeout),
            ("connection_age_max", self.connection_age_max),
            ("watch_bookmark_interval", self.watch_bookmark_interval),
            ("watch_age_max", self.watch_age_max),
            ("request_timeout", self.request_timeout),
            ("request_timeout_max", self.request_timeout_max),
        ];
        for (name, duration) in durations {
            if duration.is_zero() {
                return Err(Error::Options(format!("{name} is zero")));
            }
        }
        let numbers = [
            ("decode_bytes_max", self.decode_bytes_max),
            ("connections_max", self.connections_max),
            ("concurrent_streams_max", self.concurrent_streams_max as usize),
            ("concurrent_requests_max", self.concurrent_requests_max),
            ("tail_streams_max", self.tail_streams_max),
            ("watch_streams_max", self.watch_streams_max),
            ("lookup_max", self.lookup_max),
            ("page_size_max", self.page_size_max),
            ("page_size_default", self.page_size_default),
        ];
        for (name, number) in numbers {
            if number == 0 {
                return Err(Error::Options(format!("{name} is zero")));
            }
        }
        // A page of one message must fit, so that paging always gets on.
        if !(64 * 1024..CLIENT_DECODE_DEFAULT).contains(&self.response_bytes_max) {
            let reason = "response_bytes_max is not between 64 KiB and 4 MiB";
            return Err(Error::Options(reason.to_owned()));
        }
        for origin in &self.web_origins {
            web::check_origin(origin).map_err(Error::Options)?;
        }
        if self.request_timeout > self.request_timeout_max {
            let reason = "request_timeout is above request_timeout_max";
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
        QueryOptions::default().check().unwrap();
    }

    #[test]
    fn values_that_switch_a_limit_off_are_refused() {
        let default = QueryOptions::default();
        let bad = [
            QueryOptions { page_size_max: 0, ..default.clone() },
            QueryOptions { response_bytes_max: CLIENT_DECODE_DEFAULT, ..default.clone() },
            QueryOptions { request_timeout: Duration::from_secs(61), ..default.clone() },
            QueryOptions { web_origins: vec!["*".to_owned()], ..default.clone() },
            QueryOptions { keepalive_interval: Duration::ZERO, ..default },
        ];
        for options in bad {
            assert!(matches!(options.check(), Err(Error::Options(_))), "{options:?}");
        }
    }
}
