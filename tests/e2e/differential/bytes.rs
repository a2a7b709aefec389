//! Bytes as lines of text and back.
//!
//! Every line stands for its bytes and CRLF; a backslash at its end takes the CRLF away. `\r \n \t \0 \\ \xNN` are
//! bytes, `\{COUNT,TEXT}` repeats, as in the golden files.

use std::fmt::Write as _;

/// Runs of one byte that are longer than this are written as a repeat.
const RUN_MIN: usize = 40;

/// The bytes that the lines stand for.
pub(super) fn from_lines(lines: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines.lines() {
        let (text, end): (&str, &[u8]) = match line.strip_suffix('\\') {
            Some(text) if !text.ends_with('\\') => (text, b""),
            Some(_) | None => (line, b"\r\n"),
        };
        unescape(text, &mut bytes);
        bytes.extend_from_slice(end);
    }
    bytes
}

fn unescape(mut text: &str, bytes: &mut Vec<u8>) {
    while let Some((plain, rest)) = text.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let (taken, escaped) = match rest.as_bytes()[0] {
            b'r' => (1, vec![b'\r']),
            b'n' => (1, vec![b'\n']),
            b't' => (1, vec![b'\t']),
            b'0' => (1, vec![0]),
            b'\\' => (1, vec![b'\\']),
            b'x' => (3, vec![u8::from_str_radix(&rest[1..3], 16).unwrap()]),
            b'{' => {
                let end = rest.find('}').unwrap();
                let (count, what) = rest[1..end].split_once(',').unwrap();
                (end + 1, what.repeat(count.parse().unwrap()).into_bytes())
            }
            other => panic!("\\{} is no escape", other as char),
        };
        bytes.extend_from_slice(&escaped);
        text = &rest[taken..];
    }
    bytes.extend_from_slice(text.as_bytes());
}

/// The lines that stand for the bytes, each with its line end.
pub(super) fn to_lines(mut bytes: &[u8]) -> String {
    let mut lines = String::new();
    while !bytes.is_empty() {
        let end = bytes.windows(2).position(|window| window == b"\r\n");
        escape(&bytes[..end.unwrap_or(bytes.len())], &mut lines);
        lines.push_str(if end.is_some() { "\n" } else { "\\\n" });
        bytes = end.map_or(&[], |end| &bytes[end + 2..]);
    }
    lines
}

fn escape(mut bytes: &[u8], text: &mut String) {
    while let Some(first) = bytes.first() {
        let run = bytes.iter().take_while(|byte| *byte == first).count();
        if run > RUN_MIN && first.is_ascii_alphanumeric() {
            write!(text, "\\{{{run},{}}}", *first as char).unwrap();
            bytes = &bytes[run..];
            continue;
        }
        match first {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(*first as char),
            other => write!(text, "\\x{other:02x}").unwrap(),
        }
        bytes = &bytes[1..];
    }
}

#[test]
fn lines_stand_for_bytes() {
    let bytes = from_lines("a b\n\n\\{50,x}\\x01\\\\y\\\n");
    assert_eq!(bytes, [b"a b\r\n\r\n", "x".repeat(50).as_bytes(), b"\x01\\y"].concat());
    assert_eq!(to_lines(&bytes), "a b\n\n\\{50,x}\\x01\\\\y\\\n");
}
