//! The demo's WebSocket: what comes in goes out again (RFC 6455, by tungstenite).

use std::io::Write;

use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

use super::http::{Connection, Request};

/// The largest message that is echoed, in bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Answers the handshake and echoes until either side closes. Errors end the connection and nobody else cares.
pub(super) fn echo(mut connection: Connection, request: &Request) {
    let wants = request.field("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    let Some(key) = request.field("Sec-WebSocket-Key").filter(|_| wants) else {
        let kind = "text/plain; charset=utf-8";
        let _ = connection.reply(
            request,
            "426 Upgrade Required",
            kind,
            b"This is a WebSocket: connect with one.\n",
        );
        return;
    };
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    let early = connection.stream.buffer().to_vec();
    let mut stream = connection.stream.into_inner();
    if stream.write_all(head.as_bytes()).is_err() || stream.set_read_timeout(None).is_err() {
        return;
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let mut socket = WebSocket::from_partially_read(stream, early, Role::Server, Some(config));
    while let Ok(message) = socket.read() {
        let is_data = message.is_text() || message.is_binary();
        if is_data && socket.send(message).is_err() {
            return;
        }
    }
}
