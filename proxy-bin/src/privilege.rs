//! What a process may do: how many files it opens, and giving up root.
//!
//! Root is given up once, for the whole process and for good, after the listeners are bound and before the first thread
//! starts. What the process writes later (logs, temporary files) is handed to the new user first. What a reload needs
//! beyond that user the main thread keeps idle: [`proxy_io::powers`].

use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Group, Uid, User, chown, geteuid, initgroups, setgid, setuid};
use proxy_io::powers;

use crate::paths;
use crate::say;

/// Whom the process becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, for its supplementary groups.
    pub name: String,
    /// The user.
    pub uid: Uid,
    /// The group.
    pub gid: Gid,
}

/// The value of `user`: a user, and a group where one is named.
pub type UserDirective<'a> = (&'a str, Option<&'a str>);

/// Whom `user` means. Nobody, where this process is not root: then it has nothing to give up.
///
/// # Errors
/// nginx's words for a user or a group that does not exist.
pub fn identity(user: Option<UserDirective<'_>>) -> Result<Option<Identity>, String> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let found = match user {
        Some((name, group)) => lookup(name, group)?,
        None => lookup(paths::USER, None).or_else(|_| lookup("nobody", None))?,
    };
    Ok(Some(found))
}

fn lookup(name: &str, group: Option<&str>) -> Result<Identity, String> {
    let user = User::from_name(name).ok().flatten().ok_or_else(|| format!("getpwnam(\"{name}\") failed"))?;
    let gid = match group {
        None => user.gid,
        Some(group) => {
            let found = Group::from_name(group).ok().flatten();
            found.ok_or_else(|| format!("getgrnam(\"{group}\") failed"))?.gid
        }
    };
    Ok(Identity { name: user.name, uid: user.uid, gid })
}

/// Becomes `identity`, for good.
///
/// # Errors
/// nginx's words for the call that failed; the process must not serve then.
pub fn become_user(identity: &Identity) -> Result<(), String> {
    if identity.uid.is_root() {
        return Ok(());
    }
    let failed =
        |call: String| move |error: nix::Error| format!("{call} failed ({})", say::errno(&error.into()));
    let name = CString::new(identity.name.as_str()).map_err(|_| "a user name with a NUL byte".to_owned())?;
    let (uid, gid) = (identity.uid, identity.gid);
    powers::keep(|| {
        setgid(gid).map_err(failed(format!("setgid({gid})")))?;
        initgroups(&name, gid).map_err(failed(format!("initgroups({}, {gid})", identity.name)))?;
        setuid(uid).map_err(failed(format!("setuid({uid})")))
    })?;
    if setuid(Uid::from_raw(0)).is_ok() {
        return Err(format!("setuid({uid}) did not give up root"));
    }
    Ok(())
}

/// Hands `path` to the user, if it is a file or a directory that exists.
///
/// # Errors
/// nginx's words.
pub fn hand_over(path: &Path, identity: &Identity) -> Result<(), String> {
    // A device such as /dev/stderr is not ours to give.
    let Ok(data) = fs::metadata(path) else { return Ok(()) };
    if !data.is_file() && !data.is_dir() {
        return Ok(());
    }
    let failed = |error: nix::Error| {
        format!("chown(\"{}\", {}) failed ({})", path.display(), identity.uid, say::errno(&error.into()))
    };
    chown(path, Some(identity.uid), Some(identity.gid)).map_err(failed)
}

/// Makes the temporary directories that are missing, readable by their owner alone, and hands them over. nginx makes
/// the last component; we make its parents too.
///
/// # Errors
/// nginx's words for a directory that cannot be made.
pub fn make_directories<'a>(
    directories: impl IntoIterator<Item = &'a PathBuf>,
    identity: Option<&Identity>,
) -> Result<(), String> {
    for path in directories {
        let failed =
            |error: io::Error| format!("mkdir() \"{}\" failed ({})", path.display(), say::errno(&error));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        if let Some(identity) = identity {
            hand_over(path, identity)?;
        }
    }
    Ok(())
}

/// Raises the number of files that may be open: to `wanted` (`worker_rlimit_nofile`), or else as far as it goes
/// without asking for more than the process was given. Returns the limit that now holds.
///
/// # Errors
/// nginx's words, where `wanted` is refused.
pub fn raise_open_files(wanted: Option<u64>) -> Result<u64, String> {
    let failed = |error: nix::Error| {
        let number = wanted.unwrap_or_default();
        format!("setrlimit(RLIMIT_NOFILE, {number}) failed ({})", say::errno(&error.into()))
    };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    let (soft, hard) = match wanted {
        Some(number) => (number, number.max(hard)),
        None => (hard, hard),
    };
    match setrlimit(Resource::RLIMIT_NOFILE, soft, hard) {
        Ok(()) => Ok(soft),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_looked_up() {
        assert_eq!(lookup("root", None).unwrap().uid, Uid::from_raw(0));
        assert_eq!(lookup("no such user", None), Err("getpwnam(\"no such user\") failed".into()));
        assert_eq!(lookup("root", Some("no such group")), Err("getgrnam(\"no such group\") failed".into()));
    }

    #[test]
    fn temporary_directories_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("ringgate-dirs-{}", std::process::id()));
        let path = dir.join("a/b/body");
        make_directories([&path], None).unwrap();
        make_directories([&path], None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(dir.join("file"), "").unwrap();
        let message = make_directories([&dir.join("file/x")], None).unwrap_err();
        assert!(message.starts_with("mkdir() \""), "{message}");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_file_limit_only_grows() {
        let limit = raise_open_files(None).unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, limit);
    }
}
