//! The one place where randomness comes in: a seed per worker.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Read as _;

/// A number that nobody can guess.
pub(crate) fn seed() -> u64 {
    let mut bytes = [0; 8];
    match File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)) {
        Ok(()) => u64::from_ne_bytes(bytes),
        // A chroot without devices: the standard library's hash keys come from the system's generator too.
        Err(_) => RandomState::new().hash_one(std::process::id()),
    }
}
