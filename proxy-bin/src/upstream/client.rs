//! A client for the control API: one request, one connection, HTTP/1.0.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::say;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// No answer is longer, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The version of the interface that is spoken.
const VERSION: u8 = 9;

/// Where the API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// As it was named.
    text: String,
    socket: Socket,
    /// The location, without a slash at its end.
    path: String,
    host: String,
    /// `user:password`
    user: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Socket {
    Tcp(String),
    Unix(String),
}

impl Api {
    /// Reads `http://[user:password@]host[:port][/path]` or `unix:PATH[:/path]`; the path is `/api` where none is said.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path_of = |path: &str| {
            if path.trim_end_matches('/').is_empty() {
                "/api".into()
            } else {
                path.trim_end_matches('/').to_owned()
            }
        };
        if let Some(rest) = text.strip_prefix("unix:") {
            let (socket, path) = rest.split_once(':').unwrap_or((rest, ""));
            if socket.is_empty() {
                return Err(format!("--api \"{text}\": a socket's path follows `unix:`"));
            }
            let socket = Socket::Unix(socket.into());
            return Ok(Self {
                text: text.into(),
                socket,
                path: path_of(path),
                host: "localhost".into(),
                user: None,
            });
        }
        if text.starts_with("https://") {
            return Err(format!(
                "--api \"{text}\": only http:// and unix: are spoken; give the API a socket of its own"
            ));
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (user, host) =
            authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user.into()), host));
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(format!(
                "--api \"{text}\" is no address; try http://127.0.0.1:8080/api or unix:/run/ringgate.sock"
            ));
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let socket = Socket::Tcp(if has_port { host.into() } else { format!("{host}:80") });
        Ok(Self { text: text.into(), socket, path: path_of(path), host: host.into(), user })
    }

    /// Asks for `path` behind the version.
    ///
    /// # Errors
    /// What to tell a person: there is nobody, or it says no.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value, String> {
        let bytes = self.exchange(method, path, body).map_err(|error| {
            let api = &self.text;
            format!(
                "nobody answers at {api} ({}); a location with `api write=on;` is what is asked, --api says where",
                say::errno(&error)
            )
        })?;
        let (status, body) = split(&bytes).ok_or_else(|| format!("{} does not speak HTTP", self.text))?;
        let value: Option<Value> = serde_json::from_slice(body).ok();
        match (status, value) {
            (200..=299, Some(value)) => Ok(value),
            (_, Some(value)) if value.get("error").is_some() => {
                let of = |name: &str| {
                    value.pointer(&format!("/error/{name}")).and_then(Value::as_str).unwrap_or_default()
                };
                let help = match of("code") {
                    "MethodDisabled" => "; its location says `api;` and not `api write=on;`",
                    _ => "",
                };
                Err(format!("{} ({}){help}", of("text"), of("code")))
            }
            (401, _) => Err(format!("{} wants a password: http://user:password@host/api", self.text)),
            (403, _) => Err(format!("{} lets nobody in from here (its `allow` and `deny`)", self.text)),
            (status, _) => Err(format!("{} is no API: it answered with status {status}", self.text)),
        }
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> io::Result<Vec<u8>> {
        let authorization =
            self.user.as_ref().map(|user| format!("Authorization: Basic {}\r\n", STANDARD.encode(user)));
        let request = format!(
            "{method} {}/{VERSION}/{path} HTTP/1.0\r\nHost: {}\r\n{}Content-Length: {}\r\n\r\n{body}",
            self.path,
            self.host,
            authorization.unwrap_or_default(),
            body.len()
        );
        match &self.socket {
            Socket::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                talk(stream, &request)
            }
            Socket::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                talk(stream, &request)
            }
        }
    }
}

fn talk(mut stream: impl Read + Write, request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The status and the body of a reply that ends with its connection.
fn split(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let status = bytes.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let status = std::str::from_utf8(status).ok()?.parse().ok()?;
    Some((status, bytes.get(head_end + 4..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let table: &[(&str, Socket, &str, Option<&str>)] = &[
            ("http://127.0.0.1:8080/api/", Socket::Tcp("127.0.0.1:8080".into()), "/api", None),
            ("localhost", Socket::Tcp("localhost:80".into()), "/api", None),
            ("http://u:p@h:1/x/y", Socket::Tcp("h:1".into()), "/x/y", Some("u:p")),
            ("[::1]:81", Socket::Tcp("[::1]:81".into()), "/api", None),
            ("unix:/run/r.sock", Socket::Unix("/run/r.sock".into()), "/api", None),
            ("unix:/run/r.sock:/control", Socket::Unix("/run/r.sock".into()), "/control", None),
        ];
        for (text, socket, path, user) in table {
            let api = Api::parse(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(
                (&api.socket, api.path.as_str(), api.user.as_deref()),
                (socket, *path, *user),
                "{text}"
            );
        }
        for text in ["", "http:///api", "https://h/api", "unix:"] {
            assert!(Api::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn replies() {
        let reply = b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n{}";
        assert_eq!(split(reply), Some((404, b"{}".as_slice())));
        assert_eq!(split(b"SSH-2.0\r\n\r\n"), None);
    }
}
