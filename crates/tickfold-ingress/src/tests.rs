//! Tests of the whole of ingress: at the router with time paused, and on real sockets.

mod answers;
mod deadlines;
mod records;
mod sockets;
mod support;
