//! The HTTP/1 codec: every head and every chunked body whole, cut at every point, and byte by byte.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, in its helpers too")]

use std::fmt::Write as _;

use proxy_core::buf::Chunk;
use proxy_core::error::{ClientError, UpstreamError};
use proxy_core::h1::{ChunkedDecoder, HeadLimits, Parsed, ResponseLimits, parse_request, parse_response};
use proxy_core::http::{
    BodyEvent, BodyFraming, ConnectionOptions, Method, RequestHead, ResponseHead, request_framing,
    response_framing,
};

use crate::cases;

/// Inputs above this many bytes are cut at fewer points.
const DENSE_BYTES_MAX: usize = 1500;
/// As many mutations of each kind are tried on each head.
const MUTATIONS: usize = 28;

#[test]
fn requests() {
    cases::run("golden/h1/request", "txt", |case| {
        let limits = HeadLimits {
            line_bytes_max: case.number("line").unwrap_or(8192),
            field_bytes_max: case.number("field").unwrap_or(8192),
            total_bytes_max: case.number("total").unwrap_or(4 * 8192),
            fields_max: case.number("fields").unwrap_or(1000),
            ignore_invalid_headers: case.switch("ignore_invalid").unwrap_or(true),
            underscores: case.switch("underscores").unwrap_or(false),
        };
        let parse = |bytes: &[u8]| parse_request(&Chunk::from_vec(bytes.to_vec()), &mut Vec::new(), &limits);
        prefixes_agree(&case.name, &case.input, parse, request_text);
        for input in mutations(&case.input) {
            prefixes_agree(&case.name, &input, parse, request_text);
        }
        match parse(&case.input) {
            Ok(Parsed::Partial) => "partial".to_owned(),
            Ok(Parsed::Complete { head, len }) => request_text(&head) + &rest_text(&case.input, len),
            Err(error) => client_error(error),
        }
    });
}

#[test]
fn responses() {
    cases::run("golden/h1/response", "txt", |case| {
        let limits = ResponseLimits {
            total_bytes_max: case.number("total").unwrap_or(4096),
            fields_max: case.number("fields").unwrap_or(1000),
        };
        let method =
            case.options.get("method").map_or(Method::Get, |name| Method::from_bytes(name.as_bytes()));
        let text = |head: &ResponseHead| response_text(head, method);
        let parse = |bytes: &[u8]| parse_response(&Chunk::from_vec(bytes.to_vec()), &mut Vec::new(), &limits);
        prefixes_agree(&case.name, &case.input, parse, text);
        for input in mutations(&case.input) {
            prefixes_agree(&case.name, &input, parse, text);
        }
        match parse(&case.input) {
            Ok(Parsed::Partial) => "partial".to_owned(),
            Ok(Parsed::Complete { head, len }) => text(&head) + &rest_text(&case.input, len),
            Err(error) => upstream_error(error),
        }
    });
}

#[test]
fn chunked_bodies() {
    cases::run("golden/h1/chunked", "txt", |case| {
        let whole = decode(std::slice::from_ref(&case.input));
        for cut in cuts(case.input.len()) {
            let parts = [case.input[..cut].to_vec(), case.input[cut..].to_vec()];
            assert_eq!(decode(&parts), whole, "{}: cut at {cut}", case.name);
        }
        let bytes: Vec<_> = case.input.iter().map(|byte| vec![*byte]).collect();
        assert_eq!(decode(&bytes), whole, "{}: byte by byte", case.name);
        for input in mutations(&case.input) {
            let bytes: Vec<_> = input.iter().map(|byte| vec![*byte]).collect();
            assert_eq!(decode(&bytes), decode(std::slice::from_ref(&input)), "{}", visible(&input));
        }
        whole
    });
}

/// A prefix is never anything but partial, or what the whole is.
fn prefixes_agree<T, E: PartialEq + std::fmt::Debug>(
    name: &str,
    input: &[u8],
    parse: impl Fn(&[u8]) -> Result<Parsed<T>, E>,
    text: impl Fn(&T) -> String,
) {
    let summary = |parsed: Result<Parsed<T>, E>| match parsed {
        Ok(Parsed::Partial) => None,
        Ok(Parsed::Complete { head, len }) => Some(Ok((text(&head), len))),
        Err(error) => Some(Err(error)),
    };
    let whole = summary(parse(input));
    for cut in cuts(input.len()) {
        let prefix = summary(parse(&input[..cut]));
        assert!(
            prefix.is_none() || prefix == whole,
            "{name}: {}: cut at {cut}: {prefix:?} {whole:?}",
            visible(input)
        );
        if let Some(Ok((_, len))) = &whole {
            assert_eq!(prefix.is_some(), cut >= *len, "{name}: cut at {cut}");
        }
    }
}

/// The input with one byte changed, or one put in, at places and with bytes that are spread over what matters.
fn mutations(input: &[u8]) -> Vec<Vec<u8>> {
    const BYTES: &[u8] = b"\r\n \t:\0;,aH1\xff#_";
    if input.is_empty() || input.len() > DENSE_BYTES_MAX {
        return Vec::new();
    }
    let at = |seed: usize| (seed * 7919 + input.len() * 31) % input.len();
    let changed = (0..MUTATIONS).map(|seed| {
        let mut input = input.to_vec();
        input[at(seed)] = BYTES[seed % BYTES.len()];
        input
    });
    let grown = (0..MUTATIONS).map(|seed| {
        let mut input = input.to_vec();
        input.insert(at(seed + 1), BYTES[seed % BYTES.len()]);
        input
    });
    changed.chain(grown).collect()
}

fn cuts(len: usize) -> impl Iterator<Item = usize> {
    let step = if len > DENSE_BYTES_MAX { len / 40 } else { 1 };
    (0..len).filter(move |cut| cut % step == 0 || len - cut < 70)
}

fn request_text(head: &RequestHead) -> String {
    let meta = match request_framing(head) {
        Ok(meta) => meta,
        Err(error) => return client_error(error),
    };
    let mut text = format!(
        "{} {} {}",
        visible(head.method_text.of(&head.bytes)),
        visible(head.target.of(&head.bytes)),
        head.version.name()
    );
    assert!(head.line.of(&head.bytes).starts_with(head.method_text.of(&head.bytes)));
    assert!(head.line.of(&head.bytes)[head.line.len as usize - 8..].starts_with(b"HTTP/1."));
    write!(text, "; path {}", visible(meta.target.path.of(&head.bytes))).unwrap();
    if let Some(query) = meta.target.query {
        write!(text, "; query {}", visible(query.of(&head.bytes))).unwrap();
    }
    match meta.host {
        None => text += "; no host",
        Some(host) => {
            write!(text, "; host {}", visible(&host.name)).unwrap();
            if let Some(port) = host.port {
                write!(text, " port {port}").unwrap();
            }
        }
    }
    text += &body_text(meta.framing);
    text += if meta.keep_alive { "; keep-alive" } else { "; close" };
    text += if meta.expect_continue { "; expects 100" } else { "" };
    text += if meta.upgrade { "; upgrade" } else { "" };
    text + &fields_text(
        &meta.connection,
        &head.bytes,
        head.fields.iter().map(|field| (field, head.pair(field))),
    )
}

fn response_text(head: &ResponseHead, method: Method) -> String {
    let meta = match response_framing(head, method) {
        Ok(meta) => meta,
        Err(error) => return upstream_error(error),
    };
    let status = head.status.unwrap();
    let mut text = format!("{} {status} {}", head.version.name(), visible(head.reason.of(&head.bytes)));
    text += &body_text(meta.framing);
    text += if meta.keep_alive { "; keep-alive" } else { "; close" };
    text += if meta.upgraded { "; upgraded" } else { "" };
    if let Some(length) = meta.content_length {
        write!(text, "; content-length {length}").unwrap();
    }
    text + &fields_text(
        &meta.connection,
        &head.bytes,
        head.fields.iter().map(|field| (field, head.pair(field))),
    )
}

/// The fields, each on a line of its own, equal ones in one; those that stay behind with a minus.
fn fields_text<'a>(
    connection: &ConnectionOptions,
    head: &[u8],
    fields: impl Iterator<Item = (&'a proxy_core::http::Field, (&'a [u8], &'a [u8]))>,
) -> String {
    let lines: Vec<_> = fields
        .map(|(field, (name, value))| {
            let mark = if connection.drops(head, field) { '-' } else { ' ' };
            let known = field.id.name();
            assert!(known.is_empty() || known.eq_ignore_ascii_case(name));
            format!("\n{mark} {}: {}", visible(name), visible(value))
        })
        .collect();
    let equal = lines.chunk_by(|a, b| a == b);
    equal
        .map(|lines| match lines {
            [line] => line.clone(),
            _ => format!("{} ({} times)", lines[0], lines.len()),
        })
        .collect()
}

fn body_text(framing: BodyFraming) -> String {
    match framing {
        BodyFraming::None => "; no body".to_owned(),
        BodyFraming::Length(length) => format!("; body of {length}"),
        BodyFraming::Chunked => "; body chunked".to_owned(),
        BodyFraming::UntilClose => "; body until close".to_owned(),
    }
}

fn rest_text(input: &[u8], len: usize) -> String {
    if len == input.len() { String::new() } else { format!("\nrest {}", visible(&input[len..])) }
}

fn client_error(error: ClientError) -> String {
    format!("{} {error:?}", error.status())
}

fn upstream_error(error: UpstreamError) -> String {
    format!("{} {error:?}", error.status())
}

fn visible(bytes: &[u8]) -> String {
    if bytes.len() > 100 { format!("({} bytes)", bytes.len()) } else { bytes.escape_ascii().to_string() }
}

/// Decodes a body that comes in `parts`, and says what came out: data, trailers, what is left over, or the error.
fn decode(parts: &[Vec<u8>]) -> String {
    let mut decoder = ChunkedDecoder::new();
    let (mut data, mut rest, mut trailers) = (Vec::new(), Vec::new(), None);
    for part in parts {
        let mut input = Chunk::from_vec(part.clone());
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(BodyEvent::Data(chunk))) => {
                    assert!(!chunk.is_empty() && trailers.is_none());
                    data.extend_from_slice(&chunk);
                }
                Ok(Some(BodyEvent::End(lines))) => assert!(trailers.replace(lines).is_none()),
                Ok(None) => break,
                Err(error) => {
                    return format!(
                        "{} {error:?} after {}",
                        ClientError::from(error).status(),
                        visible(&data)
                    );
                }
            }
        }
        assert!(input.is_empty() || decoder.is_done());
        rest.extend_from_slice(&input);
    }
    assert_eq!(decoder.is_done(), trailers.is_some());
    let end = trailers.map_or("partial".to_owned(), |lines| format!("end {}", visible(&lines)));
    format!("{}; {end}; rest {}", visible(&data), visible(&rest))
}
