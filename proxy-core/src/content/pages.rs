//! The pages that are part of the program: nginx's little error pages, and `stub_status`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::buf::Chunk;
use crate::http::Status;
use crate::shared::Counters;

/// The name and version that the Server field and the pages show.
pub(crate) const PRODUCT: &str = concat!("ringgate/", env!("CARGO_PKG_VERSION"));
/// The name alone (`server_tokens off`).
pub(crate) const PRODUCT_NAME: &str = "ringgate";

/// `empty_gif`: one transparent pixel, as small as the format (GIF89a) allows.
pub(crate) const EMPTY_GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\x01\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\x01\0,\0\0\0\0\x01\0\x01\0\0\x02\x02L\x01\0;";
/// When it was made, by its Last-Modified: 28 September 1970.
pub(crate) const EMPTY_GIF_TIME_S: i64 = 23_349_600;

/// nginx's page for a status: a heading, a rule, the product; `padded` makes an error's long enough for browsers that
/// show their own instead of short ones. Empty for a status that has none.
pub(crate) fn page(status: Status, product: &[u8], padded: bool) -> Chunk {
    let bad_request = "400 Bad Request";
    let own = format!("{} {}", status.0, status.reason());
    let (title, heading, note) = match status.0 {
        302 => ("302 Found", "302 Found", ""),
        401 => ("401 Authorization Required", "401 Authorization Required", ""),
        494 => ("400 Request Header Or Cookie Too Large", bad_request, "Request Header Or Cookie Too Large"),
        495 => ("400 The SSL certificate error", bad_request, "The SSL certificate error"),
        496 => {
            ("400 No required SSL certificate was sent", bad_request, "No required SSL certificate was sent")
        }
        497 => {
            let note = "The plain HTTP request was sent to HTTPS port";
            ("400 The plain HTTP request was sent to HTTPS port", bad_request, note)
        }
        300.. if !status.reason().is_empty() && status != Status::NOT_MODIFIED => (&*own, &*own, ""),
        _ => return Chunk::empty(),
    };
    let note = if note.is_empty() { String::new() } else { format!("<center>{note}</center>\r\n") };
    let product = String::from_utf8_lossy(product);
    let padding = if padded && status.0 >= 400 { PADDING.repeat(6) } else { String::new() };
    Chunk::from_vec(
        format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{heading}</h1></center>\r\n\
             {note}<hr><center>{product}</center>\r\n</body>\r\n</html>\r\n{padding}"
        )
        .into_bytes(),
    )
}

/// One of the lines of `msie_padding`.
const PADDING: &str = "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n";

/// `stub_status`, byte for byte.
pub(crate) fn stub_status(counters: &Counters) -> Vec<u8> {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    format!(
        "Active connections: {} \nserver accepts handled requests\n {} {} {} \nReading: {} Writing: {} Waiting: {} \n",
        get(&counters.active),
        get(&counters.accepted),
        get(&counters.handled),
        get(&counters.requests),
        get(&counters.reading),
        get(&counters.writing),
        get(&counters.waiting),
    )
    .into_bytes()
}
