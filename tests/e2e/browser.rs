//! A real browser: Chromium, headless, over TLS 1.3 and HTTP/2, with a WebSocket on a stream of the same connection.
//! Where it is not installed, or cannot run, the test skips itself.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use crate::harness::Ringgate;
use crate::harness::proxy::Directory;

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/tls");

/// The page tells by itself what happened: over which protocols it came, what it could fetch, what the WebSocket said.
const PAGE: &str = "<p>$server_protocol $http2 $ssl_protocol $ssl_curve</p><p id=f></p><p id=w></p><script>\
    const say=(id,text)=>document.getElementById(id).textContent=text;\
    fetch(`/f`,{method:`POST`,body:`x`.repeat(100000)}).then(r=>r.text()).then(t=>say(`f`,`fetched `+t));\
    const w=new WebSocket(`wss://a.example:@PORT0@/ws/`);\
    w.onopen=()=>w.send(`hello`);w.onmessage=e=>say(`w`,`echoed `+e.data);w.onerror=()=>say(`w`,`refused`);\
    </script>";

fn site(echo: &TcpListener) -> String {
    format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log @DIR@/access.log; http2 on; \
         default_type text/html; client_body_temp_path @DIR@/body; server {{ listen 127.0.0.1:@PORT0@ ssl; \
         ssl_certificate {FILES}/ec.crt; ssl_certificate_key {FILES}/ec.key; location / {{ return 200 '{PAGE}'; }} \
         location /f {{ proxy_pass http://127.0.0.1:@PORT1@; }} location /ws/ {{ proxy_pass http://{}; }} }} \
         server {{ listen 127.0.0.1:@PORT1@; return 200 \"$content_length\"; }} }}",
        echo.local_addr().unwrap()
    )
}

/// Accepts each WebSocket and sends its first message back, in capitals.
fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    stream.write_all(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")?;
    let mut start = [0; 6];
    stream.read_exact(&mut start)?;
    let mut text = vec![0; usize::from(start[1] & 0x7f)];
    stream.read_exact(&mut text)?;
    text.iter_mut().zip(start[2..].iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    text.make_ascii_uppercase();
    stream.write_all(&[&[0x81, u8::try_from(text.len()).unwrap()], &*text].concat())?;
    stream.read_to_end(&mut text).map(|_| ())
}

#[test]
fn chromium_speaks_http2_and_a_websocket_over_it() {
    let profile = Directory::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ringgate = Ringgate::start(&site(&listener));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || echo(stream));
        }
    });
    let run = Command::new("timeout")
        .args([
            "60",
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--ignore-certificate-errors",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--host-resolver-rules=MAP a.example 127.0.0.1", "--virtual-time-budget=4000", "--dump-dom"])
        .arg(format!("https://a.example:{}/", ringgate.port(0)))
        .stdin(Stdio::null())
        .output();
    let Some(output) = run.ok().filter(|output| output.status.success()) else {
        return eprintln!("Chromium is not installed, or cannot run here: skipped");
    };
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = || ringgate.read("error.log");
    assert!(page.contains("HTTP/2.0 h2 TLSv1.3 X25519MLKEM768"), "{page}\n{}", log());
    assert!(page.contains("fetched 100000"), "{page}\n{}", log());
    assert!(page.contains("echoed HELLO"), "{page}\n{}", log());
    ringgate.wait_for("access.log", "\"CONNECT /ws/ HTTP/2.0\" 200", 1);
}
