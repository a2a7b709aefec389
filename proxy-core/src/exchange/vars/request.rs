//! Variables about the request and the reply that the client gets.

use alloc::vec::Vec;

use super::{Answer, Env, always, number, seconds, text, unless_empty};
use crate::access::credentials::Credentials;
use crate::config::Variable;
use crate::exchange::Facts;
use crate::exchange::facts::Nested;
use crate::http::{HeaderId, Version};

impl Facts {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other families have the rest")]
    pub(super) fn request_value(&self, variable: &Variable, env: &Env<'_>, out: &mut Vec<u8>) -> Answer {
        let head = &self.head;
        Some(match variable {
            Variable::Host if self.host.is_empty() => always(self.server_name(env), out),
            Variable::Host => always(&self.host, out),
            Variable::Uri | Variable::DocumentUri => unless_empty(&self.uri, out),
            Variable::RequestUri => unless_empty(&self.raw, out),
            Variable::Args | Variable::QueryString => unless_empty(&self.args, out),
            Variable::IsArgs => always(if self.args.is_empty() { b"" } else { b"?" }, out),
            Variable::Request => unless_empty(head.line.of(&head.bytes), out),
            Variable::RequestMethod if self.became_get => always(b"GET", out),
            Variable::RequestMethod => unless_empty(head.method_text.of(&head.bytes), out),
            Variable::Http2 => {
                let over_tls = self.conn.tls.is_some();
                let name = if over_tls { "h2" } else { "h2c" };
                always(if head.version == Version::Http2 { name.as_bytes() } else { b"" }, out)
            }
            Variable::ServerProtocol => head.method.is_some() && always(head.version.name().as_bytes(), out),
            Variable::ProxyAddXForwardedFor => self.forwarded_for(out),
            Variable::ContentLength => match head.value(HeaderId::ContentLength) {
                Some(value) => always(value, out),
                None if self.request_body.is_empty() => false,
                None => number(self.request_body.iter().map(|chunk| chunk.len() as u64).sum(), out),
            },
            Variable::ContentType => text(head.value(HeaderId::ContentType), out),
            Variable::RemoteUser => {
                Credentials::of(head).is_some_and(|credentials| always(credentials.user(), out))
            }
            Variable::RequestBody => {
                self.request_body.iter().for_each(|chunk| out.extend_from_slice(chunk));
                !self.request_body.is_empty()
            }
            // A temporary file has a name only where the configuration asks for one.
            Variable::RequestBodyFile => text(self.request_body_file.as_deref(), out),
            Variable::RequestCompletion => always(if self.reply.complete { b"OK" } else { b"" }, out),
            Variable::RequestId => self.write_request_id(out),
            Variable::RequestLength => number(self.request_length, out),
            Variable::RequestPort => match self.request_port {
                Some(port) => number(u64::from(port), out),
                None => always(b"", out),
            },
            Variable::IsRequestPort => always(if self.request_port.is_some() { b":" } else { b"" }, out),
            Variable::RequestTime => seconds(env.now.instant.millis_since(self.started), out),
            Variable::LimitRate => number(self.limit_rate.unwrap_or_else(|| self.level_limit_rate(env)), out),
            Variable::LimitReqStatus => {
                text(self.limit_req_status.map(|status| status.name().as_bytes()), out)
            }
            Variable::LimitConnStatus => {
                text(self.limit_conn_status.map(|status| status.name().as_bytes()), out)
            }
            Variable::Status => self.write_status(out),
            Variable::BytesSent => number(self.reply.bytes_sent, out),
            Variable::BodyBytesSent => number(self.reply.body_bytes_sent, out),
            Variable::DateLocal => self.write_date(env, env.now.utc_offset_s, "", out),
            Variable::DateGmt => self.write_date(env, 0, "GMT", out),
            Variable::GzipRatio => self.write_gzip_ratio(out),
            Variable::Pipe => always(if self.pipelined { b"p" } else { b"." }, out),
            _ => return None,
        })
    }

    /// As `timefmt` of server side includes has it.
    fn write_date(&self, env: &Env<'_>, offset_s: i32, zone: &str, out: &mut Vec<u8>) -> bool {
        let state = self.ssi.as_ref().map(|state| state.borrow());
        let format = state.as_ref().and_then(|state| state.time_format.as_deref());
        // The core knows no zone by its name.
        let mut offset = Vec::new();
        if zone.is_empty() && offset_s != 0 {
            crate::http::strftime::write(&mut offset, b"%z", 0, offset_s, "");
        }
        let zone = if zone.is_empty() { core::str::from_utf8(&offset).unwrap_or_default() } else { zone };
        let zone = if zone.is_empty() { "UTC" } else { zone };
        let unix_s = (env.now.unix_ms / 1000).cast_signed();
        let format = format.unwrap_or(b"%A, %d-%b-%Y %H:%M:%S %Z");
        crate::http::strftime::write(out, format, unix_s, offset_s, zone);
        true
    }

    /// `3.14`: how many bytes went into one that came out, rounded.
    fn write_gzip_ratio(&self, out: &mut Vec<u8>) -> bool {
        let Some((before, after)) = self.gzip_totals.filter(|(_, after)| *after > 0) else { return false };
        let hundredths = (before * 1000 / after + 5) / 10;
        number(hundredths / 100, out);
        out.push(b'.');
        for unit in [10, 1] {
            out.push(b'0' + (hundredths / unit % 10) as u8);
        }
        true
    }

    /// `$server_name`
    pub(super) fn server_name<'a>(&self, env: &Env<'a>) -> &'a [u8] {
        env.config.server(self.server).map(|server| &*server.name).unwrap_or_default()
    }

    /// Three digits: `000` while nothing was decided.
    fn write_status(&self, out: &mut Vec<u8>) -> bool {
        let status = self.reply.status.0;
        for unit in [100, 10] {
            if status < unit {
                out.push(b'0');
            }
        }
        number(u64::from(status), out)
    }

    /// What was sent of X-Forwarded-For so far, and the client behind it.
    fn forwarded_for(&self, out: &mut Vec<u8>) -> bool {
        let head = &self.head;
        for field in head.fields.iter().filter(|field| field.id == HeaderId::XForwardedFor) {
            out.extend_from_slice(field.value.of(&head.bytes));
            out.extend_from_slice(b", ");
        }
        always(&self.conn.client_text, out)
    }

    fn write_request_id(&self, out: &mut Vec<u8>) -> bool {
        for place in (0..32).rev() {
            let digit = (self.request_id >> (place * 4) & 0xf) as u32;
            out.push(char::from_digit(digit, 16).map_or(b'0', |digit| digit as u8));
        }
        true
    }

    /// `limit_rate` of the location in bytes per second; 0 is no limit.
    fn level_limit_rate(&self, env: &Env<'_>) -> u64 {
        let template =
            env.config.location(self.location).and_then(|location| location.core.limit_rate.as_ref());
        let Some(template) = template else { return 0 };
        let mut text = Vec::new();
        self.nest(Nested::LimitRate, || template.write(self, env, &mut text));
        size(&text).unwrap_or(0)
    }
}

/// `10k`, `1m`, `500`: a size in bytes; nothing for anything else, as in nginx.
pub(crate) fn size(text: &[u8]) -> Option<u64> {
    let (digits, unit) = match text {
        [digits @ .., b'k' | b'K'] => (digits, 1 << 10),
        [digits @ .., b'm' | b'M'] => (digits, 1 << 20),
        digits => (digits, 1),
    };
    core::str::from_utf8(digits).ok()?.parse::<u64>().ok()?.checked_mul(unit)
}
