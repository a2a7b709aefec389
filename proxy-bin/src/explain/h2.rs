//! What an upstream over HTTP/2 is asked, as text, and a scripted answer for it.

use proxy_core::h2::decode::Decoder;
use proxy_core::h2::encode::Encoder;
use proxy_core::h2::frame::{FrameHead, HEAD_BYTES, Kind, PREFACE, flag, headers_fragment};
use proxy_core::http::{HeaderId, Status};

/// The first request in what came on a new connection, as HTTP/1 would have it, and its stream. Nothing if that is not
/// HTTP/2.
pub(super) fn request(bytes: &[u8]) -> Option<(Vec<u8>, u32)> {
    let mut rest = bytes.strip_prefix(PREFACE)?;
    let mut found = None;
    while let Some(head) = FrameHead::parse(rest) {
        let payload = rest.get(HEAD_BYTES..HEAD_BYTES + head.len)?;
        rest = rest.get(HEAD_BYTES + head.len..)?;
        match (head.kind, &mut found) {
            (Kind::Headers, None) => {
                found = Some((text_of(headers_fragment(head, payload).ok()?)?, head.stream))
            }
            (Kind::Data, Some((text, stream))) if head.stream == *stream => text.extend_from_slice(payload),
            _ => {}
        }
    }
    found
}

fn text_of(block: &[u8]) -> Option<Vec<u8>> {
    let (mut method, mut path, mut fields) = (Vec::new(), Vec::new(), Vec::new());
    let mut add = |line: proxy_core::h2::table::Line<'_>| match line.name {
        b":method" => method = line.value.to_vec(),
        b":path" => path = line.value.to_vec(),
        b":scheme" => {}
        name => {
            let name = if name == b":authority" { b"host" } else { name };
            fields.extend_from_slice(&[name, b": ", line.value, b"\r\n"].concat());
        }
    };
    Decoder::default().decode(block, &mut add).ok()?;
    Some([&method, &b" "[..], &path, b" HTTP/2.0\r\n", &fields, b"\r\n"].concat())
}

/// An answer with nothing but this status.
pub(super) fn reply(stream: u32, status: u16) -> Vec<u8> {
    let mut block = Vec::new();
    let mut encoder = Encoder::default();
    encoder.status(Status(status), &mut block);
    encoder.field(HeaderId::ContentLength, b"content-length", b"0", &mut block);
    let mut out = Vec::new();
    FrameHead { len: 0, kind: Kind::Settings, flags: 0, stream: 0 }.write(&mut out);
    let flags = flag::END_HEADERS | flag::END_STREAM;
    FrameHead { len: block.len(), kind: Kind::Headers, flags, stream }.write(&mut out);
    out.extend_from_slice(&block);
    out
}
