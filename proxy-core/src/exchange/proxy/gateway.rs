//! Asking a program by FastCGI, SCGI or uwsgi instead of a server by HTTP.
//!
//! It is an attempt like any other: only what the upstream gets and how its reply begins are different. nginx's
//! `ngx_http_fastcgi_module` and its two sisters.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use super::reply::FIELDS_MAX;
use crate::buf::Chunk;
use crate::command::Level;
use crate::config::{Gateway, GatewayProtocol, Proxy};
use crate::conn::application::{Application, Remark};
use crate::error::UpstreamError;
use crate::exchange::Exchange;
use crate::exchange::context::{Context, Generation};
use crate::exchange::request_body::Mode;
use crate::fastcgi::{CgiLimits, Fault, Found, Part, Records, encode, parse_cgi_head};
use crate::h1::{Parsed, ResponseLimits, parse_response};
use crate::http::framing::{BodyFraming, ResponseMeta, response_framing};
use crate::http::{Field, HeaderId, ResponseHead};

impl Exchange {
    /// Writes the request, and its body as far as it is in memory.
    pub(super) fn write_gateway_request(
        &mut self,
        proxy: &Proxy,
        gateway: &Gateway,
        generation: &Generation,
        ctx: &mut Context,
    ) {
        // Records and closed connections say where a body ends; chunks are HTTP's.
        self.proxy.framing = match self.upstream_framing(proxy) {
            BodyFraming::Chunked => BodyFraming::UntilClose,
            framing @ (BodyFraming::None | BodyFraming::Length(_) | BodyFraming::UntilClose) => framing,
        };
        if self.meta.framing == BodyFraming::Chunked && self.body.is_complete() {
            self.facts.request_body_bytes = Some(self.body.received_bytes());
        }
        let mut pairs = core::mem::take(&mut ctx.scratch);
        let all_fit = self.write_params(&mut pairs, proxy, gateway, generation, ctx);
        let (begin, application) = match &gateway.protocol {
            GatewayProtocol::FastCgi { keep_conn } => {
                let reply = Application::FastCgi(Records::new(*keep_conn), Vec::new());
                (Some(encode::begin(*keep_conn, &pairs)), reply)
            }
            GatewayProtocol::Scgi => (Some(encode::scgi_begin(&pairs)), Application::Plain),
            GatewayProtocol::Uwsgi { modifiers, text } => {
                pairs.extend_from_slice(text);
                let begin = encode::uwsgi_begin(*modifiers, &pairs).filter(|_| all_fit);
                (begin, Application::Plain)
            }
        };
        self.proxy.unsendable_bytes = if begin.is_none() { pairs.len() } else { 0 };
        pairs.clear();
        ctx.scratch = pairs;
        let Some(conn) = self.proxy.conn.as_mut() else { return };
        conn.application = Some(Box::new(application));
        let Some(begin) = begin else {
            // Nothing is sent; the look for its reply says why.
            self.proxy.request_ended = true;
            return;
        };
        conn.link.queue(Chunk::from_vec(begin));
        let in_memory =
            proxy.pass_request_body && self.body.mode() == Mode::Buffer && self.body.spill().is_none();
        if in_memory {
            for chunk in self.body.held().chunks() {
                conn.queue_part(chunk.clone());
            }
        }
        let nothing_to_send = matches!(self.proxy.framing, BodyFraming::None | BodyFraming::Length(0));
        self.proxy.request_ended = in_memory || nothing_to_send;
        if self.proxy.request_ended {
            conn.queue_body_end(self.proxy.framing, Chunk::empty(), ctx);
        }
    }

    /// All parameters, packed. Returns whether each of them could be.
    fn write_params(
        &self,
        out: &mut Vec<u8>,
        proxy: &Proxy,
        gateway: &Gateway,
        generation: &Generation,
        ctx: &Context,
    ) -> bool {
        let mut all_fit = true;
        let mut put = |name: &[u8], value: &[u8]| match &gateway.protocol {
            GatewayProtocol::FastCgi { .. } => encode::pair(out, name, value),
            GatewayProtocol::Scgi => encode::scgi_pair(out, name, value),
            GatewayProtocol::Uwsgi { .. } => all_fit &= encode::uwsgi_pair(out, name, value),
        };
        if gateway.protocol == GatewayProtocol::Scgi {
            let mut digits = Vec::new();
            crate::h1::encode::decimal(&mut digits, self.proxy.framing.length().unwrap_or(0));
            put(b"CONTENT_LENGTH", &digits);
        }
        let env = ctx.env(generation);
        let mut value = Vec::new();
        for param in &gateway.params {
            value.clear();
            param.value.write(&self.facts, &env, &mut value);
            if !(value.is_empty() && param.unless_empty) {
                put(&param.name, &value);
            }
        }
        if proxy.pass_request_headers {
            self.write_field_params(gateway, &mut put);
        }
        all_fit
    }

    /// `HTTP_NAME` for each of the request's fields; those of one name are one parameter.
    fn write_field_params(&self, gateway: &Gateway, put: &mut impl FnMut(&[u8], &[u8])) {
        let head = &self.facts.head;
        let bytes = head.bytes.as_slice();
        let (mut name, mut value) = (Vec::from(b"HTTP_"), Vec::new());
        for (place, field) in head.fields.iter().enumerate() {
            let field_name = field.name.of(bytes);
            let same = |other: &&Field| {
                other.name.len == field.name.len && other.name.of(bytes).eq_ignore_ascii_case(field_name)
            };
            if gateway.own_fields.iter().any(|own| names_match(own, field_name))
                || head.fields.iter().take(place).any(|other| same(&other))
            {
                continue;
            }
            name.truncate(5);
            name.extend(
                field_name.iter().map(|byte| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }),
            );
            value.clear();
            value.extend_from_slice(field.value.of(bytes));
            let between: &[u8] = if field.id == HeaderId::Cookie { b"; " } else { b", " };
            for other in head.fields.iter().skip(place + 1).filter(same) {
                value.extend_from_slice(between);
                value.extend_from_slice(other.value.of(bytes));
            }
            put(&name, &value);
        }
    }

    /// The next head of the reply, whatever the upstream speaks.
    pub(super) fn read_any_head(
        &mut self,
        ctx: &mut Context,
    ) -> Result<Option<(ResponseHead, ResponseMeta)>, UpstreamError> {
        let is_application = self.proxy.conn.as_ref().is_some_and(|conn| conn.application.is_some());
        if is_application { self.read_cgi_head(ctx) } else { self.read_head(ctx) }
    }

    fn read_cgi_head(
        &mut self,
        ctx: &mut Context,
    ) -> Result<Option<(ResponseHead, ResponseMeta)>, UpstreamError> {
        if self.proxy.unsendable_bytes > 0 {
            return Err(Fault::RequestTooBig(self.proxy.unsendable_bytes).into());
        }
        let generation = Rc::clone(&self.generation);
        let Some(proxy) = self.proxy_settings(&generation) else { return Ok(None) };
        let total_bytes_max = proxy.buffering.head_bytes_max;
        let limits = CgiLimits { total_bytes_max, fields_max: FIELDS_MAX };
        let method = self.method_sent();
        ctx.ready_fields();
        let Some(head) = self.find_cgi_head(proxy, &limits, ctx)? else { return Ok(None) };
        let mut meta = response_framing(&head, method)?;
        meta.upgraded = false;
        meta.keep_alive = false;
        if let Some(conn) = self.proxy.conn.as_mut()
            && let Some(records) = conn.application.as_mut().and_then(|application| application.records())
        {
            match meta.framing {
                BodyFraming::None => meta.keep_alive = skip_body(records, conn.link.inbox()),
                BodyFraming::Length(bytes) => records.expect_body(Some(bytes)),
                BodyFraming::Chunked | BodyFraming::UntilClose => records.expect_body(None),
            }
            if meta.framing == BodyFraming::Length(0) {
                meta.keep_alive = skip_body(records, conn.link.inbox());
            }
        }
        self.note_head_of_try(&head, ctx);
        Ok(Some((head, meta)))
    }

    fn find_cgi_head(
        &mut self,
        proxy: &Proxy,
        limits: &CgiLimits,
        ctx: &mut Context,
    ) -> Result<Option<ResponseHead>, UpstreamError> {
        loop {
            let Some(conn) = self.proxy.conn.as_mut() else { return Ok(None) };
            let Some(application) = conn.application.as_mut() else { return Ok(None) };
            let Some(records) = application.records() else {
                let Some(mut bytes) = conn.link.take_head_input() else { return Ok(None) };
                return match parse_plain(&bytes, &mut ctx.fields, limits)? {
                    Parsed::Partial => {
                        conn.link.gather(&bytes);
                        Ok(None)
                    }
                    Parsed::Complete { head, len } => {
                        bytes.advance(len);
                        conn.link.put_back(bytes);
                        Ok(Some(head))
                    }
                };
            };
            match records.read_head(conn.link.inbox(), &mut ctx.fields, limits)? {
                Found::Partial => return Ok(None),
                Found::Head(head) => return Ok(Some(head)),
                Found::Stderr(text) => {
                    let text = self.log_stderr(&text, ctx);
                    let mut patterns = proxy.gateway.iter().flat_map(|gateway| &gateway.catch_stderr);
                    if patterns.any(|pattern| contains(&text, pattern)) {
                        return Err(Fault::Caught.into());
                    }
                }
            }
        }
    }

    /// Logs what the reply's body gave rise to.
    pub(super) fn log_remarks(&mut self, ctx: &mut Context) {
        let remarks = match self.proxy.conn.as_mut().and_then(|conn| conn.application.as_mut()) {
            None => return,
            Some(application) => application.take_remarks(),
        };
        for remark in remarks {
            match remark {
                Remark::Stderr(text) => {
                    self.log_stderr(&text, ctx);
                }
                Remark::TooMuch => {
                    let doing = self.proxy.phase.words();
                    let text = format_args!(
                        "upstream sent more data than specified in \"Content-Length\" header while {doing}"
                    );
                    self.log_error(Level::Warn, &text, ctx);
                }
            }
        }
    }

    /// Logs what the application wrote to standard error, without the line ends, dots and blanks behind it.
    fn log_stderr(&self, text: &Chunk, ctx: &mut Context) -> Chunk {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r' | b'.' | b' ');
        let len = text.iter().rposition(|byte| !is_end(byte)).unwrap_or(0) + 1;
        let text = text.slice(0..len.min(text.len()));
        let shown = String::from_utf8_lossy(&text);
        let doing = self.proxy.phase.words();
        let message = format_args!("FastCGI sent in stderr: \"{shown}\" while {doing}");
        self.log_error(Level::Error, &message, ctx);
        text
    }
}

/// A reply of SCGI or uwsgi: with an HTTP status line, or a CGI head.
fn parse_plain(
    bytes: &Chunk,
    fields: &mut Vec<Field>,
    limits: &CgiLimits,
) -> Result<Parsed<ResponseHead>, UpstreamError> {
    if bytes.starts_with(b"HTTP/") {
        let limits =
            ResponseLimits { total_bytes_max: limits.total_bytes_max, fields_max: limits.fields_max };
        return parse_response(bytes, fields, &limits);
    }
    parse_cgi_head(bytes, fields, limits)
}

/// Steps over what there is of a body that nobody gets. Returns whether the connection may serve another request.
fn skip_body(records: &mut Records, input: &mut Chunk) -> bool {
    records.expect_body(None);
    // Each round uses up input.
    while let Ok(Part::Data(_) | Part::Stderr(_)) = records.next_part(input) {}
    records.may_be_kept()
}

/// Whether `HTTP_…`'s rest names this field.
fn names_match(own: &[u8], field: &[u8]) -> bool {
    own.len() == field.len()
        && own
            .iter()
            .zip(field)
            .all(|(own, byte)| *own == if *byte == b'-' { b'_' } else { byte.to_ascii_lowercase() })
}

fn contains(text: &[u8], pattern: &[u8]) -> bool {
    memchr::memmem::find(text, pattern).is_some()
}
