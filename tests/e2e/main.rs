//! The real binary, from outside: processes, signals and sockets on the loopback interface.
//!
//! `harness` starts proxies, upstreams and clients; every other module is one theme. Nothing here has a fixed port or
//! waits for a fixed time: what must happen is polled for until a deadline that only a broken build reaches.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "the harness has one crate to be public to")]

mod api;
mod attacks;
mod balance;
mod browser;
mod cache;
mod clients;
mod differential;
mod failover;
mod floods;
mod grpc;
mod guides;
mod h2;
mod h2_out;
mod harness;
mod health;
mod names;
mod ocsp;
mod process;
mod programs;
mod proxy_header;
mod sinks;
mod streams;
mod takeover;
mod tls;
mod tls_out;
