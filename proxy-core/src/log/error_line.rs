//! Error log lines (first slice).

use alloc::format;
use alloc::vec::Vec;

use crate::config::Config;
use crate::exchange::Facts;

/// Writes `*CONN MESSAGE, client: …`.
pub fn write(out: &mut Vec<u8>, message: &str, facts: &Facts, _config: &Config) {
    out.extend_from_slice(format!("*{} {message}", facts.conn.number).as_bytes());
}
