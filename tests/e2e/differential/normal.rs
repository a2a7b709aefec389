//! What two servers may differ in without a difference: names, ports, times.

use flate2::{Decompress, FlushDecompress, Status};

use super::run::Bench;
use crate::harness::proxy::Proxy;

impl Bench {
    /// The text with stand-ins for what differs from run to run.
    pub(super) fn normal(&self, text: &str, proxy: &Proxy) -> String {
        let text = text.replace(concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/tls"), "@TLS@");
        let mut text = text.replace(&proxy.directory().display().to_string(), "@DIR@");
        for (port, name) in
            [(self.upstream.ports[0], "UP"), (self.upstream.ports[1], "UP2"), (self.dead, "DEAD")]
        {
            text = text.replace(&format!("127.0.0.1:{port}"), &format!("@{name}@"));
        }
        for number in 0..3 {
            text = text.replace(&proxy.port(number).to_string(), &format!("@PORT{number}@"));
        }
        text
    }
}

/// A head with stand-ins for the product and the time, and its body likewise. Of a compressed body only what it stands
/// for is compared: there are many ways to say it.
pub(super) fn reply(head: &str, body: &[u8]) -> (String, Vec<u8>) {
    if head.contains("\r\nContent-Encoding: gzip") && !body.is_empty() {
        let (head, body) = plain_reply(head, &unpacked(body));
        return (head, [b"[gzip]\r\n", &*body].concat());
    }
    plain_reply(head, body)
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(1 << 22);
    let result = Decompress::new_gzip(15).decompress_vec(packed, &mut text, FlushDecompress::Sync);
    match result {
        Ok(Status::StreamEnd) => text,
        other => format!("{other:?} after {} bytes", text.len()).into_bytes(),
    }
}

fn plain_reply(head: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut head: Vec<String> = head
        .split("\r\n")
        .map(|line| match line.split_once(": ") {
            Some(("Date", _)) => "Date: @".into(),
            Some(("Server", value)) if is_product(value) => "Server: @".into(),
            Some(_) | None => line.to_owned(),
        })
        .collect();
    let text = String::from_utf8_lossy(body).into_owned();
    let Some((before, rest)) = text.split_once("<hr><center>") else {
        return (head.join("\r\n"), body.to_vec());
    };
    let Some((product, after)) = rest.split_once("</center>").filter(|(product, _)| is_product(product))
    else {
        return (head.join("\r\n"), body.to_vec());
    };
    for line in &mut head {
        if let Some(length) =
            line.strip_prefix("Content-Length: ").and_then(|length| length.parse::<usize>().ok())
        {
            *line = format!("Content-Length: {}", length - product.len() + 1);
        }
    }
    (head.join("\r\n"), format!("{before}<hr><center>@</center>{after}").into_bytes())
}

fn is_product(name: &str) -> bool {
    name.starts_with("nginx") || name.starts_with("ringgate")
}

/// A line of the error log without time and numbers; none if it is about nothing that a case does.
pub(super) fn error_line(line: &str) -> Option<String> {
    const NOISE: &[&str] = &["closed keepalive connection", "[notice]"];
    if NOISE.iter().any(|noise| line.contains(noise)) {
        return None;
    }
    let (_, rest) = line.split_once(" [")?;
    let (level, rest) = rest.split_once("] ")?;
    let (_, message) = rest.split_once(": ")?;
    let message = match message.strip_prefix('*') {
        Some(numbered) => numbered.split_once(' ')?.1,
        None => message,
    };
    Some(format!("[{level}] {message}\n"))
}
