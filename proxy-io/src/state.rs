//! Files that are replaced as a whole when what they hold has changed: the `state` of an upstream group.
//!
//! The new content is written beside the file and then takes its name, so that nobody ever reads half of it. It is a few
//! lines that change when somebody asks for it, so the worker's thread writes them itself.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The last content of each file, by its serial. Held while a file is written: workers take turns.
static SAVED: LazyLock<Mutex<HashMap<Box<[u8]>, u64>>> = LazyLock::new(Mutex::default);

/// Replaces a file, unless a newer content was there before.
///
/// # Errors
/// The system's.
pub(crate) fn save(path: &[u8], serial: u64, bytes: &[u8]) -> io::Result<()> {
    let mut saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner);
    if saved.get(path).is_some_and(|last| *last > serial) {
        return Ok(());
    }
    let beside = Path::new(OsStr::from_bytes(path)).with_extension("new");
    fs::write(&beside, bytes)?;
    fs::rename(&beside, Path::new(OsStr::from_bytes(path)))?;
    saved.insert(path.into(), serial);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_content_changes_nothing() {
        let path = std::env::temp_dir().join(format!("ringgate-state-{}", std::process::id()));
        let bytes = path.as_os_str().as_bytes();
        save(bytes, 2, b"two").unwrap();
        save(bytes, 1, b"one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        save(bytes, 3, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        fs::remove_file(&path).unwrap();
        assert!(save(b"/nonexistent/ringgate/state", 1, b"").is_err());
    }
}
