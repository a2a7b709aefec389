//! Error numbers, and nginx's way to print them.

use std::io;

use proxy_core::command::IoError;

/// `EIO`, for an error of the standard library that has no number.
const UNKNOWN: i32 = 5;

/// The number that the core wants.
pub(crate) fn number(error: &io::Error) -> IoError {
    IoError { errno: error.raw_os_error().unwrap_or(UNKNOWN) }
}

/// `98: Address already in use`
pub(crate) fn text(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |errno| IoError { errno }.to_string())
}

/// Whether the process or the system is out of descriptors.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
