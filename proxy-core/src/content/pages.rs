//! The pages that are part of the program: nginx's little error pages, and `stub_status`.

use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::buf::Chunk;
use crate::config::ServerTokens;
use crate::http::Status;
use crate::shared::Counters;

/// The name and version that the Server field and the pages show.
pub(crate) const PRODUCT: &str = concat!("ringgate/", env!("CARGO_PKG_VERSION"));
/// The name alone (`server_tokens off`).
pub(crate) const PRODUCT_NAME: &str = "ringgate";

/// What `server_tokens` shows.
pub(crate) const fn product(tokens: Option<&ServerTokens>) -> &'static str {
    match tokens {
        Some(ServerTokens::Off) => PRODUCT_NAME,
        Some(ServerTokens::On) | None => PRODUCT,
    }
}

/// nginx's page for a status: a heading, a rule, the product. Empty for a status that has none.
pub(crate) fn page(status: Status, tokens: Option<&ServerTokens>) -> Chunk {
    let title = match status.0 {
        494 => "400 Request Header Or Cookie Too Large",
        497 => "400 The plain HTTP request was sent to HTTPS port",
        302 => "302 Found",
        _ => "",
    };
    if status.0 < 300 || (title.is_empty() && status.reason().is_empty()) {
        return Chunk::empty();
    }
    let heading = if title.is_empty() { format!("{} {}", status.0, status.reason()) } else { title.into() };
    let (head, body) = match status.0 {
        494 => ("400 Request Header Or Cookie Too Large", "400 Bad Request"),
        497 => ("400 The plain HTTP request was sent to HTTPS port", "400 Bad Request"),
        _ => (&*heading, &*heading),
    };
    let note = match status.0 {
        494 => "<center>Request Header Or Cookie Too Large</center>\r\n",
        497 => "<center>The plain HTTP request was sent to HTTPS port</center>\r\n",
        _ => "",
    };
    let product = product(tokens);
    Chunk::from_vec(
        format!(
            "<html>\r\n<head><title>{head}</title></head>\r\n<body>\r\n<center><h1>{body}</h1></center>\r\n\
             {note}<hr><center>{product}</center>\r\n</body>\r\n</html>\r\n"
        )
        .into_bytes(),
    )
}

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
