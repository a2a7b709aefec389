//! Connections: what is common to both sides, the client's, the upstream's.
//!
//! A [`Link`] is one end of a byte stream: what was read and not yet understood, what is to be sent, and which
//! operations are in flight. [`client`] and [`upstream`] put the HTTP/1 machines on top of it; [`port`] is what an
//! HTTP/2 stream has in a socket's place; [`name_server`] has the resolvers' connections, which are datagrams for the
//! most part.

pub(crate) mod application;
pub(crate) mod client;
mod h2;
mod handshake;
pub(crate) mod link;
pub(crate) mod name_server;
pub(crate) mod pace;
pub(crate) mod port;
mod proxy_header;
pub(crate) mod upstream;

pub(crate) use client::ClientConn;
pub(crate) use link::Link;
pub(crate) use pace::{Allowance, Pace};
pub(crate) use upstream::UpstreamConn;
