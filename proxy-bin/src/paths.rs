//! Where things are when nobody says otherwise, and what a relative name means.
//!
//! The places are those of Debian's and nginx.org's packages, so that ringgate can take nginx's place under the same
//! systemd unit, logrotate rule and certbot. As in nginx, `-p` moves the prefix and nothing else: the default
//! configuration file and the default logs are absolute.

use std::path::{Path, PathBuf};

/// `-p`: what relative names are relative to.
pub const PREFIX: &str = "/usr/share/nginx";
/// `-c`
pub const CONF: &str = "/etc/nginx/nginx.conf";
/// `-e` and the default of `error_log`.
pub const ERROR_LOG: &str = "/var/log/nginx/error.log";
/// The default of `access_log`.
pub const ACCESS_LOG: &str = "/var/log/nginx/access.log";
/// The default of `pid`.
pub const PID: &str = "/run/nginx.pid";
/// The default of `client_body_temp_path`.
pub const CLIENT_BODY_TEMP: &str = "/var/lib/nginx/body";
/// The default of `proxy_temp_path`.
pub const PROXY_TEMP: &str = "/var/lib/nginx/proxy";
/// The default of `user`, where ringgate is started as root. Where the machine has no such user, `nobody` serves.
pub const USER: &str = "www-data";

/// `name` as an absolute path; a relative one starts at `base`, which is absolute.
#[must_use]
pub fn absolute(base: &Path, name: &Path) -> PathBuf {
    base.join(name)
}

/// The value of `-p`, or the default, as an absolute path.
#[must_use]
pub fn prefix(option: Option<&Path>) -> PathBuf {
    let given = option.unwrap_or(Path::new(PREFIX));
    std::path::absolute(given).unwrap_or_else(|_| given.to_path_buf())
}

/// The temporary directories of a process that has no configuration file: the usual ones for root, and others for a
/// user who may not write there.
#[must_use]
pub fn own_temporary() -> (PathBuf, PathBuf) {
    let user = nix::unistd::geteuid();
    if user.is_root() {
        return (CLIENT_BODY_TEMP.into(), PROXY_TEMP.into());
    }
    let own = std::env::temp_dir().join(format!("ringgate-{user}"));
    (own.join("body"), own.join("proxy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_names_move_with_the_prefix() {
        let base = prefix(Some(Path::new("/srv/site")));
        assert_eq!(absolute(&base, Path::new("conf/nginx.conf")), Path::new("/srv/site/conf/nginx.conf"));
        assert_eq!(absolute(&base, Path::new(CONF)), Path::new(CONF));
        assert!(prefix(Some(Path::new("."))).is_absolute());
        assert_eq!(prefix(None), Path::new(PREFIX));
    }
}
