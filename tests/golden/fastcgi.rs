//! The FastCGI codec: replies whole, cut at every point, and byte by byte; CGI heads; what goes out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, in its helpers too")]

use std::fmt::Write as _;

use proxy_core::buf::Chunk;
use proxy_core::error::UpstreamError;
use proxy_core::fastcgi::{CgiLimits, Found, Part, Records, encode, parse_cgi_head};
use proxy_core::h1::Parsed;
use proxy_core::http::ResponseHead;

use crate::cases;

#[test]
fn replies() {
    cases::run("golden/fastcgi/reply", "txt", |case| {
        let read = |parts: &[&[u8]]| {
            read(parts, case.switch("keep").unwrap_or(false), case.number("total").unwrap_or(4096))
        };
        let whole = read(&[&case.input]);
        for cut in 0..case.input.len() {
            let (head, tail) = case.input.split_at(cut);
            assert_eq!(read(&[head, tail]), whole, "{}: cut at {cut}", case.name);
        }
        let bytes: Vec<&[u8]> = case.input.chunks(1).collect();
        assert_eq!(read(&bytes), whole, "{}: byte by byte", case.name);
        whole
    });
}

#[test]
fn heads() {
    cases::run("golden/fastcgi/head", "txt", |case| {
        let limits = CgiLimits {
            total_bytes_max: case.number("total").unwrap_or(4096),
            fields_max: case.number("fields").unwrap_or(1000),
        };
        let parse = |bytes: &[u8]| parse_cgi_head(&Chunk::from_vec(bytes.to_vec()), &mut Vec::new(), &limits);
        let whole = outcome(parse(&case.input));
        for cut in 0..case.input.len() {
            let prefix = outcome(parse(&case.input[..cut]));
            assert!(prefix == "partial" || prefix == whole, "{}: cut at {cut}: {prefix}", case.name);
        }
        whole
    });
}

fn outcome(parsed: Result<Parsed<ResponseHead>, UpstreamError>) -> String {
    match parsed {
        Ok(Parsed::Partial) => "partial".to_owned(),
        Ok(Parsed::Complete { head, len }) => format!("{}{len} bytes", head_text(&head)),
        Err(error) => error.to_string(),
    }
}

fn head_text(head: &ResponseHead) -> String {
    let reason = head.reason.of(&head.bytes);
    let mut text = format!("{} {:?}\n", head.status.unwrap().0, reason.escape_ascii().to_string());
    for field in &head.fields {
        let (name, value) = head.pair(field);
        writeln!(text, "{}: {}", name.escape_ascii(), value.escape_ascii()).unwrap();
    }
    text
}

/// What came of a reply: its streams joined, whatever pieces they came in.
fn read(parts: &[&[u8]], keep_conn: bool, total_bytes_max: usize) -> String {
    let limits = CgiLimits { total_bytes_max, fields_max: 1000 };
    let mut records = Records::new(keep_conn);
    let (mut head, mut body, mut stderr) = (None, Vec::new(), Vec::new());
    let mut end = "goes on".to_owned();
    let mut input = Chunk::empty();
    'parts: for part in parts {
        input = Chunk::from_vec([input.as_slice(), part].concat());
        while head.is_none() {
            match records.read_head(&mut input, &mut Vec::new(), &limits) {
                Ok(Found::Partial) => continue 'parts,
                Ok(Found::Stderr(text)) => stderr.extend_from_slice(&text),
                Ok(Found::Head(found)) => {
                    let length = found
                        .fields
                        .iter()
                        .find(|field| field.name.of(&found.bytes).eq_ignore_ascii_case(b"content-length"));
                    let length = length.map(|field| field.value.of(&found.bytes).to_vec());
                    records.expect_body(
                        length.map(|digits| String::from_utf8(digits).unwrap().parse().unwrap()),
                    );
                    head = Some(head_text(&found));
                }
                Err(error) => {
                    end = error.to_string();
                    break 'parts;
                }
            }
        }
        loop {
            match records.next_part(&mut input) {
                Ok(Part::NeedMore) => break,
                Ok(Part::Data(data)) => {
                    assert!(!data.is_empty());
                    body.extend_from_slice(&data);
                }
                Ok(Part::Stderr(text)) => stderr.extend_from_slice(&text),
                Ok(last @ (Part::End | Part::TooMuch)) => {
                    end = format!("{last:?}, may be kept: {}", records.may_be_kept());
                    break 'parts;
                }
                Err(fault) => {
                    end = fault.to_string();
                    break 'parts;
                }
            }
        }
    }
    format!(
        "{}body {:?}\nstderr {:?}\n{end}",
        head.unwrap_or_else(|| "no head\n".to_owned()),
        body.escape_ascii().to_string(),
        stderr.escape_ascii().to_string()
    )
}

#[test]
fn lengths_of_parameters_take_one_byte_or_four() {
    for (name, value, lengths) in [
        (0, 0, vec![0, 0]),
        (127, 128, vec![127, 0x80, 0, 0, 128]),
        (128, 127, vec![0x80, 0, 0, 128, 127]),
        (1, 70_000, vec![1, 0x80, 1, 0x11, 0x70]),
    ] {
        let mut out = Vec::new();
        encode::pair(&mut out, &vec![b'n'; name], &vec![b'v'; value]);
        assert_eq!(out[..lengths.len()], lengths);
        assert_eq!(out.len(), lengths.len() + name + value);
    }
}

#[test]
fn records_are_padded_and_never_too_long() {
    for len in [0, 1, 7, 8, 65_535, 65_536, 200_000] {
        let begin = encode::begin(true, &vec![b'p'; len]);
        assert_eq!(begin[..16], [1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(contents(&begin[16..], 4).len(), len);
        let mut out = Vec::new();
        encode::stdin(Chunk::from_vec(vec![b'b'; len]), |chunk| out.extend_from_slice(&chunk));
        out.extend_from_slice(&encode::stdin_end());
        assert_eq!(contents(&out, 5).len(), len);
    }
}

/// The contents of records of this type up to the empty one, which is the last.
fn contents(mut bytes: &[u8], kind: u8) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let content = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
        let padding = usize::from(bytes[6]);
        assert_eq!((bytes[0], bytes[1], bytes[2], bytes[3], bytes[7]), (1, kind, 0, 1, 0));
        assert_eq!((content + padding) % 8, 0);
        all.extend_from_slice(&bytes[8..8 + content]);
        bytes = &bytes[8 + content + padding..];
        if content == 0 {
            assert!(bytes.is_empty());
            return all;
        }
    }
}

#[test]
fn scgi_and_uwsgi_say_their_lengths() {
    let mut pairs = Vec::new();
    encode::scgi_pair(&mut pairs, b"CONTENT_LENGTH", b"27");
    encode::scgi_pair(&mut pairs, b"SCGI", b"1");
    assert_eq!(encode::scgi_begin(&pairs), b"25:CONTENT_LENGTH\x0027\0SCGI\x001\0,");
    let mut pairs = Vec::new();
    assert!(encode::uwsgi_pair(&mut pairs, b"A", b"bc"));
    assert_eq!(encode::uwsgi_begin((5, 7), &pairs).unwrap(), b"\x05\x07\0\x07\x01\0A\x02\0bc");
    assert!(!encode::uwsgi_pair(&mut pairs, b"A", &vec![0; 65_536]));
    assert!(encode::uwsgi_begin((0, 0), &vec![0; 65_536]).is_none());
}
