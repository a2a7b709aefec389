//! Where log lines go besides plain files: syslog servers, compressed files. nginx writes the same there.

use std::io::Read as _;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::harness::proxy::{Directory, Nginx, Proxy, Ringgate};
use crate::harness::{Client, eventually};

/// How long a datagram may take.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn syslog_gets_datagrams() {
    for start in [|conf: &str| Some(Ringgate::start(conf)), Nginx::start] {
        let directory = Directory::new();
        let path = directory.path().join("log.sock");
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let unix = UnixDatagram::bind(&path).unwrap();
        udp.set_read_timeout(Some(PATIENCE)).unwrap();
        unix.set_read_timeout(Some(PATIENCE)).unwrap();
        let (port, path) = (udp.local_addr().unwrap().port(), path.display());
        let conf = format!(
            "events {{}}\nerror_log @DIR@/error.log;\nhttp {{\nlog_format f '$status $uri';\n\
             access_log syslog:server=127.0.0.1:{port},facility=local3,tag=web,severity=notice,nohostname f;\n\
             access_log syslog:server=unix:{path} f;\n\
             server {{ listen 127.0.0.1:@PORT0@; root @DIR@;\n\
             location / {{ return 200; }}\n\
             location /err/ {{ access_log off; error_log syslog:server=unix:{path},tag=errors info; }} }} }}\n"
        );
        let Some(proxy) = start(&conf) else { continue };
        get(&proxy, "/a");
        assert_eq!(timeless(&receive(|bytes| udp.recv(bytes))), "<157>@ web: 200 /a");
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_ascii_lowercase();
        assert_eq!(timeless(&receive(|bytes| unix.recv(bytes))), format!("<190>@ {host} nginx: 200 /a"));
        get(&proxy, "/err/none");
        let line = timeless(&receive(|bytes| unix.recv(bytes)));
        assert!(line.starts_with(&format!("<187>@ {host} errors: ")), "{line}");
        assert!(line.contains(" [error] ") && line.contains("/err/none\" failed (2: No such"), "{line}");
    }
}

#[test]
fn access_logs_are_compressed() {
    for start in [|conf: &str| Some(Ringgate::start(conf)), Nginx::start] {
        let conf = "events {}\nerror_log @DIR@/error.log;\nhttp {\nlog_format f '$uri';\n\
                    access_log @DIR@/access.gz f gzip=6 buffer=4k flush=10ms;\n\
                    server { listen 127.0.0.1:@PORT0@; location / { return 200; } } }\n";
        let Some(proxy) = start(conf) else { continue };
        let mut expected = String::new();
        for n in 0..3 {
            get(&proxy, &format!("/{n}"));
            expected += &format!("/{n}\n");
            eventually("the line is written", || (unpacked(&proxy) == expected).then_some(()));
        }
    }
}

fn get(proxy: &Proxy, path: &str) {
    let mut client = Client::connect(proxy.port(0));
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
    client.rest();
}

fn receive(recv: impl Fn(&mut [u8]) -> std::io::Result<usize>) -> String {
    let mut bytes = [0; 4096];
    let count = recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..count].to_vec()).unwrap()
}

/// The message with `@` for its time: `Nov  1 08:05:09`.
fn timeless(message: &str) -> String {
    let (priority, rest) = message.split_once('>').unwrap();
    let (time, rest) = rest.split_at("Nov  1 08:05:09".len());
    let colons: Vec<usize> = time.match_indices(':').map(|(at, _)| at).collect();
    assert!(colons == [9, 12] && time.as_bytes()[3] == b' ' && time.as_bytes()[6] == b' ', "{message}");
    format!("{priority}>@{rest}")
}

fn unpacked(proxy: &Proxy) -> String {
    let mut text = String::new();
    let packed = std::fs::read(proxy.file("access.gz")).unwrap_or_default();
    // A member that is half written is not there yet.
    let _ = flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_string(&mut text);
    text
}
