//! ringgate's core: every decision of the proxy, and none of its I/O.
//!
//! Bytes, times and file contents come in as [`Completion`](command::Completion)s; what the core wants done goes out as
//! [`Command`](command::Command)s, and what it wants told goes out as [`Report`](command::Report)s. Nothing here can
//! name a socket, a file, a clock, a thread or an environment variable: the crate is `no_std` and forbids `unsafe`.
//!
//! Read in this order:
//! 1. [`command`]: the words exchanged with the driver;
//! 2. [`worker`]: the switchboard that one thread owns;
//! 3. [`conn`]: one client's and one upstream's connection;
//! 4. [`exchange`]: one request and its reply, in nginx's phase order;
//! 5. [`http`], [`h1`] and [`h2`]: the protocol's words, the one framing decision, the codecs;
//! 6. [`config`] and [`route`]: what a configuration compiles to and how a request finds its location.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod access;
pub mod buf;
pub mod cache;
pub mod command;
pub mod config;
pub(crate) mod conn;
pub(crate) mod content;
pub mod dns;
pub mod error;
pub mod exchange;
pub mod fastcgi;
pub(crate) mod filter;
pub mod h1;
pub mod h2;
pub mod http;
pub mod log;
pub mod route;
pub mod shared;
pub mod slab;
pub mod time;
pub mod timer;
pub mod tls;
pub mod trace;
pub mod upstream;
pub mod worker;
