//! A name server that says what a test tells it: over UDP and TCP on one port, slow, failing, cut or lying.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// How a name server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    Honest,
    /// It says nothing.
    Silent,
    /// It answers with this RCODE.
    Failing(u8),
    /// Its datagrams are cut; by TCP it answers.
    Cut,
    /// In front of each answer go some that are not, all of which name this address.
    Lying(IpAddr),
}

/// A question that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name, with dots, as it was written.
    pub name: String,
    /// The record type.
    pub kind: u16,
    /// Whether it came by TCP.
    pub tcp: bool,
    /// The client's port.
    pub port: u16,
    /// The message's id.
    pub id: u16,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    ttl_s: u32,
    records: HashMap<String, Vec<String>>,
    asked: Vec<Asked>,
}

/// A running name server. Its threads end with the test process.
#[derive(Debug)]
pub struct NameServer {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl NameServer {
    /// Starts one that knows nothing.
    pub fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let port = udp.local_addr().unwrap().port();
        let state = State { mood: Mood::Honest, ttl_s: 300, records: HashMap::new(), asked: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let (for_udp, for_tcp) = (Arc::clone(&state), Arc::clone(&state));
        thread::spawn(move || datagrams(&udp, &for_udp));
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let state = Arc::clone(&for_tcp);
                thread::spawn(move || converse(stream, &state));
            }
        });
        Self { port, state }
    }

    /// From now on these are a name's records: `127.0.0.1`, `::1`, `CNAME other.test`, `SRV 10 5 8080 host.test`.
    pub fn set(&self, name: &str, records: &[&str]) {
        let records = records.iter().map(|record| (*record).to_owned()).collect();
        self.state.lock().unwrap().records.insert(name.to_owned(), records);
    }

    /// How long its records may be believed, in seconds; 300 at first.
    pub fn set_ttl(&self, ttl_s: u32) {
        self.state.lock().unwrap().ttl_s = ttl_s;
    }

    /// How it behaves from now on.
    pub fn set_mood(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// All questions so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }
}

fn datagrams(socket: &UdpSocket, state: &Mutex<State>) {
    let mut buf = [0; 4096];
    let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
    while let Ok((len, from)) = socket.recv_from(&mut buf) {
        let message = &buf[..len];
        let mood = state.lock().unwrap().mood;
        if let Mood::Lying(ip) = mood {
            for lie in lies(message, ip) {
                let _ = socket.send_to(&lie, from);
            }
            let forged = answer(message, &[ip.to_string()], 300);
            let _ = elsewhere.send_to(&forged, from);
        }
        if let Some(reply) = reply(message, state, false, from.port()) {
            let _ = socket.send_to(&reply, from);
        }
    }
}

fn converse(mut stream: TcpStream, state: &Mutex<State>) {
    let port = stream.peer_addr().map_or(0, |peer| peer.port());
    loop {
        let mut len = [0; 2];
        if stream.read_exact(&mut len).is_err() {
            return;
        }
        let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
        if stream.read_exact(&mut message).is_err() {
            return;
        }
        let Some(reply) = reply(&message, state, true, port) else { continue };
        let framed = [&u16::try_from(reply.len()).unwrap().to_be_bytes()[..], &reply].concat();
        // In two parts, so that a reader has to put them together.
        let (one, two) = framed.split_at(framed.len() / 2);
        if stream.write_all(one).and_then(|()| stream.write_all(two)).is_err() {
            return;
        }
    }
}

/// Where the question's name ends, and the name.
fn question(message: &[u8]) -> (usize, String) {
    let (mut at, mut labels) = (12, Vec::new());
    while message[at] != 0 {
        let end = at + 1 + usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..end]).into_owned());
        at = end;
    }
    (at + 1, labels.join("."))
}

fn reply(message: &[u8], state: &Mutex<State>, tcp: bool, port: u16) -> Option<Vec<u8>> {
    let mut state = state.lock().unwrap();
    let (end, name) = question(message);
    let kind = u16::from_be_bytes([message[end], message[end + 1]]);
    let id = u16::from_be_bytes([message[0], message[1]]);
    state.asked.push(Asked { name: name.clone(), kind, tcp, port, id });
    let known = state.records.get(&name);
    let of_kind = |record: &&String| type_of(record) == kind || type_of(record) == CNAME;
    let records: Vec<String> = known.into_iter().flatten().filter(of_kind).cloned().collect();
    let mut reply = answer(message, &records, state.ttl_s);
    match state.mood {
        Mood::Silent => return None,
        Mood::Failing(code) => {
            reply = answer(message, &[], 0);
            reply[3] |= code;
        }
        Mood::Cut if !tcp => {
            reply = answer(message, &[], 0);
            reply[2] |= 2;
        }
        Mood::Honest | Mood::Cut | Mood::Lying(_) => {
            if known.is_none() {
                reply[3] |= 3;
            }
        }
    }
    Some(reply)
}

/// Another id, another question, no answer, a name that nobody asked for, and half a message.
fn lies(message: &[u8], ip: IpAddr) -> Vec<Vec<u8>> {
    let lie = answer(message, &[ip.to_string()], 300);
    let changed = |at: usize, by: u8| {
        let mut changed = lie.clone();
        changed[at] ^= by;
        changed
    };
    vec![changed(0, 1), changed(1, 0x80), changed(13, 1), changed(2, 0x80), lie[..20].to_vec(), Vec::new()]
}

fn type_of(record: &str) -> u16 {
    match record.split(' ').next() {
        Some("CNAME") => CNAME,
        Some("SRV") => SRV,
        _ if record.contains(':') => AAAA,
        _ => A,
    }
}

/// The message that answers `message` with these records of the name that it asks for.
fn answer(message: &[u8], records: &[String], ttl_s: u32) -> Vec<u8> {
    let (end, _) = question(message);
    let mut out = message[..end + 4].to_vec();
    (out[2], out[3]) = (0x81, 0x80);
    out[6..12].fill(0);
    out[7] = u8::try_from(records.len()).unwrap();
    for record in records {
        let words: Vec<&str> = record.split(' ').collect();
        let data = match words[..] {
            ["CNAME", target] => name_bytes(target),
            ["SRV", priority, weight, port, target] => {
                let numbers =
                    [priority, weight, port].map(|number| number.parse::<u16>().unwrap().to_be_bytes());
                [numbers.concat(), name_bytes(target)].concat()
            }
            _ => match record.parse().unwrap() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            },
        };
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&type_of(record).to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&ttl_s.to_be_bytes());
        out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&data);
    }
    out
}

fn name_bytes(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}
