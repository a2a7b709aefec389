//! Two sessions, a client's and a server's, that exchange bytes cut anywhere.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::pki_types::ServerName;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{ClientConfig, RootCertStore};

use super::build::{self, Certificate, Parameters, ServerSettings};
use super::session::{Session, Stage};
use super::verify::Trust;
use crate::buf::{Chain, Chunk, Pool};
use crate::config::{ClientVerify, TlsServer};

const CA: &[u8] = include_bytes!("../../../tests/e2e/tls/ca.crt");
const CHAIN: &[u8] = include_bytes!("../../../tests/e2e/tls/ec.crt");
const KEY: &[u8] = include_bytes!("../../../tests/e2e/tls/ec.key");

fn server(parameters: Parameters) -> TlsServer {
    let key = build::private_key(KEY).unwrap();
    build::server(ServerSettings {
        certificates: [Certificate::new(CHAIN, key, None).unwrap()].into(),
        computed: None,
        parameters,
        prefer_server_ciphers: false,
        tickets: None,
        store: None,
        session_timeout_s: 300,
        early_data: false,
        verify: ClientVerify::Off,
        trust: Trust::default(),
        announced: Trust::default(),
        reject: false,
        record_bytes_max: 16 * 1024,
        time: Arc::new(DefaultTimeProvider),
    })
    .unwrap()
}

fn client(parameters: &Parameters) -> Session {
    let mut roots = RootCertStore::empty();
    roots.add(build::certificates(CA).unwrap().remove(0)).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(parameters.provider().unwrap()))
        .with_protocol_versions(&parameters.versions())
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    Session::connecting(&Arc::new(config), ServerName::try_from("a.example").unwrap())
}

/// Hands everything that `from` wants to send to `to`, in pieces; gives the text that comes out.
fn carry(from: &mut Session, to: &mut Session, piece: usize, pool: &Pool) -> Vec<u8> {
    let bytes = core::mem::take(from.outgoing()).to_vec();
    from.take_sealed();
    let mut text = Vec::new();
    for part in bytes.chunks(piece) {
        let mut buf = pool.take();
        assert!(buf.try_extend(part));
        text.extend_from_slice(&to.receive(buf));
    }
    text
}

fn open(parameters: Parameters, piece: usize, pool: &Pool) -> (Session, Session) {
    let (mut client, mut server_side) = (client(&parameters), Session::accepting());
    let server = server(parameters);
    assert_eq!(carry(&mut client, &mut server_side, piece, pool), b"");
    assert!(
        matches!(server_side.opening(), super::hello::Opening::Hello(hello) if hello.server_name == b"a.example")
    );
    server_side.accept(&server.config, server.record_bytes_max);
    server_side.advance(&mut Vec::new());
    for _ in 0..4 {
        carry(&mut server_side, &mut client, piece, pool);
        carry(&mut client, &mut server_side, piece, pool);
    }
    assert_eq!((client.stage(), server_side.stage()), (&Stage::Open, &Stage::Open));
    (client, server_side)
}

fn versions() -> [Parameters; 4] {
    let only = |tls12, ciphers12: Option<Vec<u16>>, ciphers13: Option<Vec<u16>>| Parameters {
        tls12,
        tls13: !tls12,
        ciphers12,
        ciphers13,
        groups: None,
    };
    [
        only(false, None, None),
        only(false, None, Some([0x1303].into())),
        only(true, None, None),
        only(true, Some([0xcca9].into()), None),
    ]
}

#[test]
fn text_arrives_however_its_records_are_cut() {
    let pool = Pool::new(64 * 1024, 4);
    let long: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    for parameters in versions() {
        for piece in [1, 7, 1000, 16_405, 60_000] {
            let (mut client, mut server) = open(parameters.clone(), piece, &pool);
            for text in [&b"GET / HTTP/1.1\r\n\r\n"[..], &long] {
                let mut chain = Chain::from(Chunk::from_vec(text[..9].to_vec()));
                chain.push(Chunk::from_vec(text[9..].to_vec()));
                client.seal(&chain);
                assert_eq!(client.sealed_bytes(), text.len());
                assert_eq!(carry(&mut client, &mut server, piece, &pool), text);
                server.seal(&chain);
                assert_eq!(carry(&mut server, &mut client, piece, &pool), text);
            }
            server.seal_end();
            assert_eq!(carry(&mut server, &mut client, piece, &pool), b"");
            assert_eq!(client.stage(), &Stage::Closed);
        }
    }
}

#[test]
fn a_changed_byte_ends_it_and_never_panics() {
    let pool = Pool::new(64 * 1024, 4);
    for parameters in versions() {
        let (mut client, mut server) = open(parameters, 60_000, &pool);
        client.seal(&Chain::from(Chunk::from_static(b"hello")));
        let mut bytes = core::mem::take(client.outgoing()).to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let mut buf = pool.take();
        assert!(buf.try_extend(&bytes));
        assert_eq!(server.receive(buf).as_slice(), b"");
        assert!(matches!(server.stage(), Stage::Failed(_)), "{:?}", server.stage());
        // The alert is for the peer, which takes it as the end.
        carry(&mut server, &mut client, 1, &pool);
        assert!(matches!(client.stage(), Stage::Failed(_)), "{:?}", client.stage());
    }
}

#[test]
fn bytes_that_are_no_tls_fail_in_any_stage() {
    let pool = Pool::new(4096, 4);
    let server = server(Parameters::default());
    for bytes in
        [&b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x09"[..], &[0x80; 300], &[22, 3, 3, 0xff, 0xff, 1, 0, 0, 4]]
    {
        let mut session = Session::accepting();
        let mut buf = pool.take();
        assert!(buf.try_extend(bytes));
        session.receive(buf);
        session.accept(&server.config, 16 * 1024);
        session.advance(&mut Vec::new());
        assert!(matches!(session.stage(), Stage::Failed(_)), "{bytes:?}: {:?}", session.stage());
    }
}
