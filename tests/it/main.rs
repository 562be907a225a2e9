//! The middleware and the hook over real sockets.

mod client;
mod server;
mod support;
