//! What the command line says: to standard output what was asked for, to standard error everything else.
//!
//! A reader that went away (`ringgate -T | head`) is no error and no panic.

use std::io::{self, Write};

/// One line to standard error, as nginx begins it: scripts look for `nginx: `.
pub fn nginx(message: &str) {
    error(&format!("nginx: {message}"));
}

/// One line to standard error.
pub fn error(message: &str) {
    let _ = writeln!(io::stderr().lock(), "{message}");
}

/// Bytes to standard output, as they are.
pub fn output(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// An operating system error as nginx prints it: `2: No such file or directory`.
#[must_use]
pub fn errno(error: &io::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" (os error").next().unwrap_or(&text);
    match error.raw_os_error() {
        Some(code) => format!("{code}: {reason}"),
        None => reason.to_owned(),
    }
}
