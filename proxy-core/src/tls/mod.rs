//! TLS (RFC 8446, RFC 5246) by rustls, which needs no sockets either: bytes in, bytes out.
//!
//! A [`Link`](crate::conn::Link) that speaks TLS owns a [`Session`]: what is received goes through it on the way to the
//! link's unread bytes, and what is queued goes through it on the way to the driver. Nothing else of the core sees a
//! record.
//!
//! - [`hello`]: looks into a ClientHello before a session exists, to find the server that the client asks for;
//! - [`session`]: one connection's handshake;
//! - [`records`]: what flows afterwards;
//! - [`verify`]: chains of certificates, weighed;
//! - [`certificate`]: what one says of itself;
//! - [`names`]: OpenSSL's names;
//! - [`ocsp`]: what responders say of our certificates, fetched and stapled;
//! - [`client`]: the other side, towards upstreams;
//! - [`computed`]: certificates whose names hold variables;
//! - [`build`]: what a configuration's certificates and settings compile to.

pub mod build;
pub(crate) mod certificate;
pub mod client;
pub mod computed;
pub(crate) mod hello;
pub mod names;
pub mod ocsp;
pub(crate) mod records;
pub(crate) mod session;
pub mod verify;

#[cfg(test)]
mod tests;

pub(crate) use session::{Session, Stage};
