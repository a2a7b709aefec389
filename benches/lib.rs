//! What the bench targets share: the traffic that they measure with.

/// The headers that Chrome sends beside `Host` and `Connection`, with a session cookie.
pub const BROWSER_HEADERS: [(&str, &str); 9] = [
    ("sec-ch-ua", "\"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\", \"Google Chrome\";v=\"128\""),
    ("sec-ch-ua-platform", "\"Linux\""),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
    ),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Referer", "http://bench.local/articles/2024/a-page-that-links-here"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("Cookie", "session=8c1f0a44c5d94d21b0f9b1a7a3c9e7d2; theme=dark; consent=1"),
];

/// What an application server says before the framing of its body: status line and five header lines.
pub const UPSTREAM_HEAD: &str = "HTTP/1.1 200 OK\r\nServer: upstream\r\nDate: Sat, 01 Jun 2024 12:00:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\nCache-Control: max-age=60\r\nETag: \"5f2a-18f4b\"\r\n";

/// The head of a browser's request to `bench.local`; `extra` is whole header lines.
#[must_use]
pub fn browser_request(method: &str, target: &str, extra: &str) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: bench.local\r\n{extra}");
    for (name, value) in BROWSER_HEADERS {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}
