//! The HTTP/2 module's values.

use super::context::Call;
use crate::conf::value::Parsed;

/// The largest window, in bytes.
const WINDOW_MAX: u64 = (1 << 31) - 1;

/// The largest frame that we send, in bytes: clients that take larger ones gain nothing.
const FRAME_BYTES_MAX: usize = 16 * 1024;

/// `http2_body_preread_size size;`
///
/// # Errors
/// As nginx's.
pub fn preread_size(call: &mut Call<'_, '_>) -> Parsed<u32> {
    let bytes = call.first().size()?;
    match u32::try_from(bytes) {
        Ok(bytes) if u64::from(bytes) <= WINDOW_MAX => Ok(bytes),
        _ => Err(call.first().error(format!("the maximum body preread buffer size is {WINDOW_MAX}"))),
    }
}

/// `http2_chunk_size size;`
///
/// # Errors
/// As nginx's.
pub fn chunk_size(call: &mut Call<'_, '_>) -> Parsed<usize> {
    match call.first().bytes()? {
        0 => Err(call.first().error("the http2 chunk size cannot be zero")),
        bytes => Ok(bytes.min(FRAME_BYTES_MAX)),
    }
}

/// Directives that nginx only warns about any more.
///
/// # Errors
/// None.
pub fn obsolete(call: &mut Call<'_, '_>) -> Parsed<()> {
    let name = call.directive.name.text().into_owned();
    let heir = match &*name {
        "http2_max_requests" => "keepalive_requests",
        "http2_max_field_size" | "http2_max_header_size" => "large_client_header_buffers",
        "http2_recv_timeout" => "client_header_timeout",
        "http2_idle_timeout" => "keepalive_timeout",
        _ => {
            call.warn(format!("the \"{name}\" directive is obsolete, ignored"));
            return Ok(());
        }
    };
    call.warn(format!("the \"{name}\" directive is obsolete, use the \"{heir}\" directive instead"));
    Ok(())
}
