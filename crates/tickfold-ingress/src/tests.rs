//! Tests of the whole of ingress: at the router with time paused, and on real sockets.

mod answers;
mod counted;
mod deadlines;
mod lanes;
mod latency;
mod peers;
mod places;
mod quarantine;
mod records;
mod running;
mod sockets;
mod support;
mod tls;
mod wire;
