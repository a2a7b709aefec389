//! From decoded fields to a reply's head (RFC 9113, section 8.3.2), in the form that HTTP/1's parser would have found,
//! so that everything behind it sees one kind of head; and to trailer lines.
//!
//! Stricter than nginx, which lets fields about a connection pass: a reply with one is malformed (section 8.2.2).

use alloc::vec::Vec;

use super::table::{Line, NameClass};
use crate::buf::Chunk;
use crate::error::UpstreamError;
use crate::http::{Field, HeaderId, ResponseHead, Span, Status, Version};

/// How many fields a head may have.
pub const FIELDS_MAX: usize = 1000;

/// What the heads of replies are made in; its memory is used again and again.
#[derive(Debug, Default)]
pub struct ResponseBuilder {
    text: Vec<u8>,
    fields: Vec<Field>,
    status: Option<Status>,
    error: Option<UpstreamError>,
    bytes_left: usize,
}

impl ResponseBuilder {
    /// Begins a head of at most so many bytes (`proxy_buffer_size`). `fields` is a vector to use for it.
    pub fn begin(&mut self, bytes_max: usize, fields: Vec<Field>) {
        self.text.clear();
        self.fields = fields;
        self.fields.clear();
        self.status = None;
        self.error = None;
        self.bytes_left = bytes_max;
    }

    /// Adds a field.
    pub fn add(&mut self, line: &Line<'_>) {
        if self.error.is_none()
            && let Err(error) = self.try_add(line)
        {
            self.error = Some(error);
        }
    }

    fn try_add(&mut self, line: &Line<'_>) -> Result<(), UpstreamError> {
        let bytes = line.name.len() + line.value.len() + ": \r\n".len();
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(UpstreamError::HeaderTooBig)?;
        if !line.value_is_clean {
            return Err(UpstreamError::InvalidHeader);
        }
        match line.class {
            NameClass::Pseudo => return self.add_status(line),
            NameClass::Bad => return Err(UpstreamError::InvalidHeader),
            NameClass::Plain | NameClass::Odd | NameClass::Underscored => {}
        }
        if self.status.is_none() || is_about_connection(line.id) {
            return Err(UpstreamError::InvalidHeader);
        }
        if self.fields.len() >= FIELDS_MAX {
            return Err(UpstreamError::HeaderTooBig);
        }
        let Self { text, fields, .. } = self;
        let name = append(text, line.name);
        text.extend_from_slice(b": ");
        let value = append(text, line.value);
        text.extend_from_slice(b"\r\n");
        fields.push(Field { id: line.id, name, value });
        Ok(())
    }

    fn add_status(&mut self, line: &Line<'_>) -> Result<(), UpstreamError> {
        let [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] = *line.value else {
            return Err(UpstreamError::InvalidHeader);
        };
        let status = Status([a, b, c].iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')));
        // RFC 9113, section 8.6: nothing switches here.
        let fits = line.name == b":status" && self.status.is_none() && self.fields.is_empty();
        if !fits || status == Status::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::InvalidHeader);
        }
        self.status = Some(status);
        self.text.extend_from_slice(b"HTTP/2.0 ");
        self.text.extend_from_slice(line.value);
        self.text.extend_from_slice(b" \r\n");
        Ok(())
    }

    /// Ends the head. Its bytes are for the caller to put in: [`text`](Self::text).
    ///
    /// # Errors
    /// [`UpstreamError::InvalidHeader`] and [`UpstreamError::HeaderTooBig`].
    pub fn finish(&mut self) -> Result<ResponseHead, UpstreamError> {
        let status = self.status;
        match self.error {
            Some(error) => return Err(error),
            None if status.is_none() => return Err(UpstreamError::InvalidHeader),
            None => {}
        }
        self.text.extend_from_slice(b"\r\n");
        Ok(ResponseHead {
            bytes: Chunk::empty(),
            status,
            reason: Span::default(),
            version: Version::Http2,
            fields: core::mem::take(&mut self.fields),
        })
    }

    /// The text that the head's ranges point into.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Begins trailer lines, of at most so many bytes.
    pub fn begin_trailers(&mut self, bytes_max: usize) {
        let fields = core::mem::take(&mut self.fields);
        self.begin(bytes_max, fields);
        self.status = Some(Status::OK);
    }

    /// Ends trailer lines, each with its line end.
    ///
    /// # Errors
    /// [`UpstreamError::InvalidTrailer`], or [`UpstreamError::HeaderTooBig`].
    pub fn finish_trailers(&mut self) -> Result<Chunk, UpstreamError> {
        self.fields.clear();
        match self.error {
            Some(UpstreamError::HeaderTooBig) => Err(UpstreamError::HeaderTooBig),
            Some(_) => Err(UpstreamError::InvalidTrailer),
            None => Ok(Chunk::from_vec(core::mem::take(&mut self.text))),
        }
    }
}

const fn is_about_connection(id: HeaderId) -> bool {
    matches!(
        id,
        HeaderId::Connection
            | HeaderId::KeepAlive
            | HeaderId::ProxyConnection
            | HeaderId::TransferEncoding
            | HeaderId::Upgrade
    )
}

fn append(text: &mut Vec<u8>, part: &[u8]) -> Span {
    let span = Span { start: text.len() as u32, len: part.len() as u32 };
    text.extend_from_slice(part);
    span
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    fn built(fields: &[(&str, &str)], bytes_max: usize) -> Result<String, UpstreamError> {
        let mut builder = ResponseBuilder::default();
        builder.begin(bytes_max, Vec::new());
        for (name, value) in fields {
            builder.add(&Line::judge(name.as_bytes(), value.as_bytes()));
        }
        let head = builder.finish()?;
        for field in &head.fields {
            assert!(field.value.range().end <= builder.text().len());
        }
        Ok(String::from_utf8_lossy(builder.text()).into())
    }

    #[test]
    fn a_head_is_what_http1_would_have_sent() {
        let text = built(&[(":status", "200"), ("server", "x"), ("x_y", "z"), ("set-cookie", "a")], 200);
        assert_eq!(text.as_deref(), Ok("HTTP/2.0 200 \r\nserver: x\r\nx_y: z\r\nset-cookie: a\r\n\r\n"));
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        use UpstreamError::{HeaderTooBig, InvalidHeader};
        let status = (":status", "200");
        for (fields, error) in [
            (&[][..], InvalidHeader),
            (&[("a", "b")], InvalidHeader),
            (&[("a", "b"), status], InvalidHeader),
            (&[status, status], InvalidHeader),
            (&[(":status", "101")], InvalidHeader),
            (&[(":status", "099")], InvalidHeader),
            (&[(":status", "600")], InvalidHeader),
            (&[(":status", "20")], InvalidHeader),
            (&[(":status", "2000")], InvalidHeader),
            (&[status, (":path", "/")], InvalidHeader),
            (&[status, ("a", "b"), (":status", "200")], InvalidHeader),
            (&[status, ("A", "b")], InvalidHeader),
            (&[status, ("a b", "b")], InvalidHeader),
            (&[status, ("a", "b\r\nc: d")], InvalidHeader),
            (&[status, ("a", " b")], InvalidHeader),
            (&[status, ("connection", "close")], InvalidHeader),
            (&[status, ("transfer-encoding", "chunked")], InvalidHeader),
            (&[status, ("upgrade", "h2c")], InvalidHeader),
            (&[status, ("a", "0123456789012345678901234567890123456789")], HeaderTooBig),
        ] {
            assert_eq!(built(fields, 50), Err(error), "{fields:?}");
        }
    }

    #[test]
    fn trailers_have_no_pseudo_fields() {
        let trailers = |fields: &[(&str, &str)]| {
            let mut builder = ResponseBuilder::default();
            builder.begin_trailers(50);
            fields.iter().for_each(|(name, value)| {
                builder.add(&Line::judge(name.as_bytes(), value.as_bytes()));
            });
            builder.finish_trailers().map(|lines| lines.to_vec())
        };
        assert_eq!(trailers(&[("grpc-status", "0"), ("a", "")]), Ok(b"grpc-status: 0\r\na: \r\n".to_vec()));
        assert_eq!(trailers(&[(":status", "200")]), Err(UpstreamError::InvalidTrailer));
        assert_eq!(trailers(&[("A", "b")]), Err(UpstreamError::InvalidTrailer));
        let long = "x".repeat(60);
        assert_eq!(trailers(&[("a", &long)]), Err(UpstreamError::HeaderTooBig));
    }
}
