//! The demo's upstream: a small blocking server on threads of its own, on the loopback interface only.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::http::{Connection, Request};
use super::websocket;

/// So many connections are served at once; more are closed at once.
const CONNECTIONS_MAX: usize = 256;
/// A connection that neither asks nor reads for this long is closed.
const IDLE: Duration = Duration::from_secs(120);
/// `/slow` waits this long at most, in milliseconds.
const SLOW_MS_MAX: u64 = 60_000;
/// `/bytes` sends this much at most, in bytes.
const BYTES_MAX: u64 = 1 << 40;
/// Threads need little: no handler recurses.
const STACK_BYTES: usize = 128 * 1024;

const PAGE: &str = include_str!("page.html");
const TEXT: &str = "text/plain; charset=utf-8";

/// Starts the server on a port that the system chooses. It lives as long as the process.
///
/// # Errors
/// What the system says to a listener or a thread.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("demo-upstream".into()).spawn(move || accept(&listener))?;
    Ok(address)
}

fn accept(listener: &TcpListener) {
    let live = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors: one will be free soon.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        if live.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            live.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let leave = Leave(Arc::clone(&live));
        let thread = thread::Builder::new().name("demo-connection".into()).stack_size(STACK_BYTES);
        let _ = thread.spawn(move || {
            let _leave = leave;
            let _ = serve(stream);
        });
    }
}

/// Gives a connection's place back, however its thread ends.
struct Leave(Arc<AtomicUsize>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    let mut connection = Connection::new(stream);
    while let Some(request) = connection.next_request()? {
        if request.path == "/ws" {
            websocket::echo(connection, &request);
            return Ok(());
        }
        let body_bytes = connection.drain(&request)?;
        answer(&mut connection, &request, body_bytes)?;
        let close = request.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if close {
            return Ok(());
        }
    }
    Ok(())
}

fn answer(connection: &mut Connection, request: &Request, body_bytes: u64) -> io::Result<()> {
    match request.path.as_str() {
        "/" => connection.reply(request, "200 OK", "text/html; charset=utf-8", page(request).as_bytes()),
        "/headers" => connection.reply(request, "200 OK", TEXT, seen(request).as_bytes()),
        "/count" => connection.reply(request, "200 OK", TEXT, format!("{body_bytes} bytes\n").as_bytes()),
        "/events" => events(connection, request),
        "/slow" => {
            let ms = request.number("ms", 3000, SLOW_MS_MAX);
            thread::sleep(Duration::from_millis(ms));
            connection.reply(request, "200 OK", TEXT, format!("after {ms} ms\n").as_bytes())
        }
        "/bytes" => bytes(connection, request),
        _ => connection.reply(request, "404 Not Found", TEXT, b"Nothing here; / lists what there is.\n"),
    }
}

/// The request as it arrived here, behind the proxy.
fn seen(request: &Request) -> String {
    let mark = if request.query.is_empty() { "" } else { "?" };
    let mut text = format!("{} {}{mark}{}\n", request.method, request.path, request.query);
    for (name, value) in &request.fields {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text
}

fn page(request: &Request) -> String {
    let text = seen(request).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    PAGE.replace("@HEADERS@", &text)
}

/// One event a second until the client leaves.
fn events(connection: &mut Connection, request: &Request) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    connection.write(head.as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    for number in 1_u64.. {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let event = format!("id: {number}\ndata: {{\"number\":{number},\"sent_ms\":{now}}}\n\n");
        connection.write(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// As many bytes as asked for.
fn bytes(connection: &mut Connection, request: &Request) -> io::Result<()> {
    const BLOCK: [u8; 16 * 1024] = [b'.'; 16 * 1024];
    let mut left = request.number("n", 1024, BYTES_MAX);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {left}\r\n\
         Cache-Control: no-store\r\n\r\n"
    );
    connection.write(head.as_bytes())?;
    while left > 0 && request.method != "HEAD" {
        let count = left.min(BLOCK.len() as u64);
        let part = usize::try_from(count).ok().and_then(|count| BLOCK.get(..count)).unwrap_or_default();
        connection.write(part)?;
        left -= count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// Sends `request` in one piece and reads until the upstream closes.
    fn ask(request: &str) -> String {
        let mut stream = TcpStream::connect(start().unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    #[test]
    fn requests_follow_one_another() {
        let reply = ask("GET /headers?a=b HTTP/1.1\r\nHost: x\r\nX-Real-IP: 1.2.3.4\r\n\r\n\
                         PUT /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n\
                         HEAD /bytes?n=9 HTTP/1.1\r\nHost: x\r\n\r\n\
                         GET /bytes?n=3 HTTP/1.1\r\nHost: x\r\n\r\n\
                         GET /<none> HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let parts = [
            "GET /headers?a=b\nHost: x\nX-Real-IP: 1.2.3.4\n",
            "3 bytes\n",
            "Content-Length: 9\r\nCache-Control: no-store\r\n\r\nHTTP/1.1 200 OK\r\n",
            "\r\n\r\n...HTTP/1.1 404 Not Found\r\n",
        ];
        let mut from = 0;
        for part in parts {
            let at = reply[from..].find(part).unwrap_or_else(|| panic!("{part:?} is not in {reply}"));
            from += at + part.len();
        }
    }

    #[test]
    fn the_page_escapes_what_it_shows() {
        let reply = ask("GET / HTTP/1.1\r\nHost: <script>\r\nConnection: close\r\n\r\n");
        assert!(reply.contains("Host: &lt;script&gt;\n") && reply.contains("</html>"), "{reply}");
    }

    #[test]
    fn events_tick_and_websockets_echo() {
        let address = start().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut seen = String::new();
        while !seen.contains("\nid: 2\n") {
            let mut buffer = [0; 512];
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{seen}");
            seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        let stream = TcpStream::connect(address).unwrap();
        let (mut socket, _) = tungstenite::client(format!("ws://{address}/ws"), stream).unwrap();
        for text in ["hello", "", "ünïcode"] {
            socket.send(tungstenite::Message::text(text)).unwrap();
            assert_eq!(socket.read().unwrap().into_text().unwrap().as_str(), text);
        }
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
    }
}
