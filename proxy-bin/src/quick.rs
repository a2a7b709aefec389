//! `ringgate proxy`: an nginx.conf from two addresses, with what an application behind a proxy needs.
//!
//! The text is the whole truth: what runs is what `--print-config` prints, and nginx accepts it too.

use std::fmt::Write as _;

/// Where a quick proxy listens when nobody says.
pub const LISTEN: &str = ":8080";

/// The configuration for these addresses.
///
/// # Errors
/// A message that names the address that cannot be one.
pub fn config(listen: &[String], to: &[String]) -> Result<String, String> {
    let mut listens = String::new();
    for address in listen {
        let _ = writeln!(listens, "        listen {};", listen_address(address)?);
    }
    let mut servers = String::new();
    for address in to {
        let _ = writeln!(servers, "        server {};", upstream_address(address)?);
    }
    Ok(TEMPLATE.replace("@LISTEN@", &listens).replace("@SERVERS@", &servers))
}

/// The marks stand on lines of their own; each is replaced by whole lines.
const TEMPLATE: &str = include_str!("quick.conf");

/// `:8080`, `8080`, `127.0.0.1:8080`, `[::]:8080` or `unix:/path` as `listen` wants it.
fn listen_address(text: &str) -> Result<String, String> {
    let wrong = || format!("--listen \"{text}\" is no address; try :8080 or 127.0.0.1:8080");
    let address = text.strip_prefix(':').unwrap_or(text);
    if is_port(address) || is_unix(address) || is_host_port(address) {
        return Ok(address.to_owned());
    }
    Err(wrong())
}

/// `3000`, `:3000`, `host:3000`, `host`, `[::1]:3000`, `http://…` or `unix:/path` as an upstream's `server` wants it.
fn upstream_address(text: &str) -> Result<String, String> {
    if text.starts_with("https://") {
        return Err(format!("--to \"{text}\": TLS to the server is not supported yet; use http://"));
    }
    let plain = text.strip_prefix("http://").unwrap_or(text);
    let address = plain.strip_suffix('/').unwrap_or(plain);
    let port = address.strip_prefix(':').unwrap_or(address);
    if is_port(port) {
        return Ok(format!("127.0.0.1:{port}"));
    }
    if is_unix(address) || is_host_port(address) || is_host(address) {
        return Ok(address.to_owned());
    }
    Err(format!("--to \"{text}\" is no address; try 3000, 127.0.0.1:3000 or http://host:port"))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port))
}

/// A name, an IPv4 address or an IPv6 one in brackets; nothing that could be read as more configuration.
fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text.bytes().all(allowed) && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

fn is_unix(text: &str) -> bool {
    let Some(path) = text.strip_prefix("unix:") else { return false };
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_' | b'@' | b'+');
    path.starts_with('/') && path.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let listens = [
            (":8080", Some("8080")),
            ("8080", Some("8080")),
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("[::]:80", Some("[::]:80")),
            ("localhost:80", Some("localhost:80")),
            ("unix:/run/x.sock", Some("unix:/run/x.sock")),
            ("", None),
            (":", None),
            ("0", None),
            ("70000", None),
            ("80; root /", None),
            ("a:80 ssl", None),
            ("::1:80", None),
        ];
        for (text, expected) in listens {
            assert_eq!(listen_address(text).ok().as_deref(), expected, "{text}");
        }
        let upstreams = [
            ("3000", Some("127.0.0.1:3000")),
            (":3000", Some("127.0.0.1:3000")),
            ("127.0.0.1:3000", Some("127.0.0.1:3000")),
            ("http://app:3000/", Some("app:3000")),
            ("http://app", Some("app")),
            ("[::1]:3000", Some("[::1]:3000")),
            ("unix:/run/app.sock", Some("unix:/run/app.sock")),
            ("https://app", None),
            ("http://app/path", None),
            ("a;b", None),
            ("a b:1", None),
            ("$host:1", None),
            ("unix:relative", None),
            ("", None),
        ];
        for (text, expected) in upstreams {
            assert_eq!(upstream_address(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn several_servers_take_turns() {
        let text = config(&[":80".into(), "[::]:80".into()], &["3000".into(), "app:3001".into()]).unwrap();
        assert!(text.contains("        listen 80;\n        listen [::]:80;\n"), "{text}");
        assert!(text.contains("        server 127.0.0.1:3000;\n        server app:3001;\n"), "{text}");
        assert!(!text.contains('@'), "{text}");
    }

    /// Real nginx takes the printed file as it is.
    #[test]
    fn nginx_accepts_the_text() {
        let dir = std::env::temp_dir().join(format!("ringgate-quick-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("nginx.conf");
        std::fs::write(&file, config(&[":18080".into()], &["3000".into(), "3001".into()]).unwrap()).unwrap();
        let globals = format!("pid {};", dir.join("nginx.pid").display());
        let run = std::process::Command::new("nginx")
            .arg("-t")
            .arg("-c")
            .arg(&file)
            .args(["-g", &globals])
            .output();
        std::fs::remove_dir_all(&dir).unwrap();
        // Without nginx on this machine there is nothing to compare with.
        let Ok(output) = run else { return };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
