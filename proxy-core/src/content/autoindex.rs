//! The pages that list a directory: `autoindex_format` html, xml, json, jsonp, byte for byte as nginx writes them.
//!
//! Directories come first, then everything else, each in the order of their names' bytes.

use alloc::format;
use alloc::vec::Vec;

use crate::command::{DirectoryEntry, FileKind};
use crate::config::{Autoindex, AutoindexFormat};
use crate::http::date::{self, Civil};

/// How many characters of a name the HTML page shows.
const NAME_CHARS: usize = 50;
/// How many of them are left where a name is longer: `..>` follows.
const NAME_CHARS_CUT: usize = 47;

/// What a page is made from besides its entries.
pub(crate) struct Page<'a> {
    pub(crate) autoindex: Autoindex,
    /// The URI of the directory.
    pub(crate) uri: &'a [u8],
    /// `callback` of JSONP, checked; empty for none.
    pub(crate) callback: &'a [u8],
    /// How far local time is east of UTC, in seconds.
    pub(crate) utc_offset_s: i64,
    /// Whether names are UTF-8 by the reply's charset: then characters are counted and not bytes.
    pub(crate) utf8: bool,
}

impl Page<'_> {
    /// The page's media type.
    pub(crate) const fn content_type(&self) -> &'static [u8] {
        match self.autoindex.format {
            AutoindexFormat::Html => b"text/html",
            // Whatever `charset` says: XML is always taken for UTF-8.
            AutoindexFormat::Xml => b"text/xml; charset=utf-8",
            AutoindexFormat::Jsonp if !self.callback.is_empty() => b"application/javascript",
            AutoindexFormat::Json | AutoindexFormat::Jsonp => b"application/json",
        }
    }

    /// The page.
    pub(crate) fn write(&self, mut entries: Vec<DirectoryEntry>) -> Vec<u8> {
        let is_file = |entry: &DirectoryEntry| entry.kind != FileKind::Directory;
        entries.sort_by(|a, b| is_file(a).cmp(&is_file(b)).then_with(|| a.name.cmp(&b.name)));
        let mut out = Vec::with_capacity(256 + entries.len() * 160);
        match self.autoindex.format {
            AutoindexFormat::Html => self.html(&entries, &mut out),
            AutoindexFormat::Xml => xml(&entries, &mut out),
            AutoindexFormat::Json => json(&entries, &mut out),
            AutoindexFormat::Jsonp if self.callback.is_empty() => json(&entries, &mut out),
            AutoindexFormat::Jsonp => {
                out.extend_from_slice(b"/* callback */\r\n");
                out.extend_from_slice(self.callback);
                out.push(b'(');
                json(&entries, &mut out);
                out.extend_from_slice(b");");
            }
        }
        out
    }

    fn html(&self, entries: &[DirectoryEntry], out: &mut Vec<u8>) {
        out.extend_from_slice(b"<html>\r\n<head><title>Index of ");
        escape_html(self.uri, out);
        out.extend_from_slice(b"</title></head>\r\n<body>\r\n<h1>Index of ");
        escape_html(self.uri, out);
        out.extend_from_slice(b"</h1><hr><pre><a href=\"../\">../</a>\r\n");
        for entry in entries {
            self.html_line(entry, out);
        }
        out.extend_from_slice(b"</pre><hr></body>\r\n</html>\r\n");
    }

    fn html_line(&self, entry: &DirectoryEntry, out: &mut Vec<u8>) {
        let is_directory = entry.kind == FileKind::Directory;
        out.extend_from_slice(b"<a href=\"");
        escape_component(&entry.name, out);
        if is_directory {
            out.push(b'/');
        }
        out.extend_from_slice(b"\">");
        let text = core::str::from_utf8(&entry.name).ok().filter(|_| self.utf8);
        let mut chars = text.map_or(entry.name.len(), |text| text.chars().count());
        if chars > NAME_CHARS {
            let by_chars = text.and_then(|text| text.char_indices().nth(NAME_CHARS_CUT)).map(|(at, _)| at);
            escape_html(entry.name.get(..by_chars.unwrap_or(NAME_CHARS_CUT)).unwrap_or_default(), out);
            out.extend_from_slice(b"..&gt;</a>");
        } else {
            escape_html(&entry.name, out);
            if is_directory && chars < NAME_CHARS {
                out.push(b'/');
                chars += 1;
            }
            out.extend_from_slice(b"</a>");
            out.resize(out.len() + NAME_CHARS - chars, b' ');
        }
        let offset_s = if self.autoindex.local_time { self.utc_offset_s } else { 0 };
        let time = Civil::from_unix(entry.mtime_s.saturating_add(offset_s));
        out.extend_from_slice(format!(" {:02}-", time.day).as_bytes());
        date::month_name(out, time.month);
        out.extend_from_slice(format!("-{} {:02}:{:02} ", time.year, time.hour, time.minute).as_bytes());
        let size = match (is_directory, self.autoindex.exact_size) {
            (true, true) => format!("{:>19}", "-"),
            (true, false) => format!("{:>7}", "-"),
            (false, true) => format!("{:>19}", entry.size),
            (false, false) => rounded(entry.size),
        };
        out.extend_from_slice(size.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// A size in bytes, or in the largest unit that it fills, rounded.
fn rounded(bytes: u64) -> alloc::string::String {
    const K: u64 = 1024;
    let (unit, name) = match bytes {
        0..=9_999 => return format!(" {bytes:>6}"),
        10_000..0x10_0000 => (K, 'K'),
        0x10_0000..0x4000_0000 => (K * K, 'M'),
        _ => (K * K * K, 'G'),
    };
    let up = u64::from(bytes % unit > unit / 2 - 1);
    format!("{:>6}{name}", bytes / unit + up)
}

fn xml(entries: &[DirectoryEntry], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<?xml version=\"1.0\"?>\r\n<list>\r\n");
    for entry in entries {
        let kind = kind_name(entry.kind);
        let t = Civil::from_unix(entry.mtime_s);
        let start = format!(
            "<{kind} mtime=\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z\"",
            t.year, t.month, t.day, t.hour, t.minute, t.second
        );
        out.extend_from_slice(start.as_bytes());
        if entry.kind == FileKind::Regular {
            out.extend_from_slice(format!(" size=\"{}\"", entry.size).as_bytes());
        }
        out.push(b'>');
        escape_html(&entry.name, out);
        out.extend_from_slice(format!("</{kind}>\r\n").as_bytes());
    }
    out.extend_from_slice(b"</list>\r\n");
}

fn json(entries: &[DirectoryEntry], out: &mut Vec<u8>) {
    out.push(b'[');
    for (place, entry) in entries.iter().enumerate() {
        out.extend_from_slice(if place > 0 { b",\r\n{ \"name\":\"" } else { b"\r\n{ \"name\":\"" });
        escape_json(&entry.name, out);
        out.extend_from_slice(format!("\", \"type\":\"{}\", \"mtime\":\"", kind_name(entry.kind)).as_bytes());
        date::write_imf(out, entry.mtime_s);
        out.push(b'"');
        if entry.kind == FileKind::Regular {
            out.extend_from_slice(format!(", \"size\":{}", entry.size).as_bytes());
        }
        out.extend_from_slice(b" }");
    }
    out.extend_from_slice(b"\r\n]");
}

const fn kind_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Regular => "file",
        FileKind::Directory => "directory",
        FileKind::Other => "other",
    }
}

/// Whether this may be a JSONP callback's name: at most 128 letters, digits, `_` and `.`.
pub(crate) fn is_callback(name: &[u8]) -> bool {
    name.len() <= 128 && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
}

fn escape_html(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            byte => out.push(*byte),
        }
    }
}

/// Leaves only what RFC 3986 calls unreserved.
fn escape_component(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

fn escape_json(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..=0x1f => {
                out.extend_from_slice(format!("\\u{byte:04X}").as_bytes());
                continue;
            }
            byte => {
                out.push(*byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_as_nginx_does() {
        for (bytes, text) in [
            (0, "      0"),
            (9_999, "   9999"),
            (10_000, "    10K"),
            (10_240, "    10K"),
            (10_751, "    10K"),
            (10_752, "    11K"),
            (1_048_575, "  1024K"),
            (1_048_576, "     1M"),
            (1_572_863, "     1M"),
            (1_572_864, "     2M"),
            (1_073_741_823, "  1024M"),
            (1_073_741_824, "     1G"),
        ] {
            assert_eq!(rounded(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn callbacks_are_names() {
        assert!(is_callback(b"jQuery_1.done") && is_callback(b"") && is_callback(&[b'a'; 128]));
        assert!(!is_callback(&[b'a'; 129]) && !is_callback(b"a(b") && !is_callback(b"a%20"));
    }
}
