//! Variables of TLS towards the client: `$ssl_*`.

use alloc::vec::Vec;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{NamedGroup, ProtocolVersion};

use super::{Answer, Env, always, number, text, unless_empty};
use crate::config::{ClientVerify, Variable};
use crate::exchange::Facts;
use crate::exchange::facts::TlsFacts;
use crate::tls::certificate;
use crate::tls::hello::Greeting;
use crate::tls::names;

impl Facts {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other families have the rest")]
    pub(super) fn tls_value(&self, variable: &Variable, env: &Env<'_>, out: &mut Vec<u8>) -> Answer {
        let tls = self.conn.tls.as_deref();
        let agreed = tls.and_then(|tls| tls.agreed.as_ref());
        Some(match variable {
            Variable::SslProtocol => text(agreed.and_then(|agreed| protocol(agreed.version)), out),
            Variable::SslCipher => {
                let suite = agreed.and_then(|agreed| agreed.suite);
                suite.is_some_and(|suite| names::write_cipher(u16::from(suite.suite()), out))
            }
            Variable::SslCurve => {
                let group = agreed.and_then(|agreed| agreed.group);
                group.is_some_and(|group: NamedGroup| names::write_group(u16::from(group), out))
            }
            Variable::SslCiphers => tls.is_some_and(|tls| list(&tls.hello.ciphers, names::write_cipher, out)),
            Variable::SslCurves => tls.is_some_and(|tls| list(&tls.hello.groups, names::write_group, out)),
            Variable::SslServerName => unless_empty(tls.map_or(&[], |tls| &*tls.server_name), out),
            Variable::SslAlpnProtocol => unless_empty(tls.map_or(&[], |tls| &*tls.protocol), out),
            Variable::SslSessionId => {
                agreed.is_some_and(|agreed| session_id(agreed.version, agreed.greeting.as_deref(), out))
            }
            // As nginx with an OpenSSL before 3.5, or before 4: rustls does not tell, and has no ECH.
            Variable::SslSigalg
            | Variable::SslClientSigalg
            | Variable::SslEchStatus
            | Variable::SslEchOuterServerName => false,
            Variable::SslSessionReused => {
                text(agreed.map(|agreed| if agreed.resumed { &b"r"[..] } else { b"." }), out)
            }
            Variable::SslEarlyData => text(tls.filter(|tls| tls.early).map(|_| &b"1"[..]), out),
            Variable::SslClientVerify => self.verify_value(tls, env, out),
            _ => return self.certificate_value(variable, tls, env, out),
        })
    }

    /// `$ssl_client_verify`
    fn verify_value(&self, tls: Option<&TlsFacts>, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let Some(tls) = tls else { return false };
        let server = env.config.tls_of(self.server, self.conn.listener);
        match server.filter(|server| server.verify != ClientVerify::Off).and_then(|server| tls.weigh(server))
        {
            None => always(b"NONE", out),
            Some(Ok(())) => always(b"SUCCESS", out),
            Some(Err(verdict)) => always(b"FAILED:", out) && always(verdict.1.as_bytes(), out),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other families have the rest")]
    fn certificate_value(
        &self,
        variable: &Variable,
        tls: Option<&TlsFacts>,
        env: &Env<'_>,
        out: &mut Vec<u8>,
    ) -> Answer {
        let der = tls.and_then(|tls| tls.peer_chain().first()).map_or(&[][..], |der| der.as_ref());
        let seconds = env.now.unix_ms / 1000;
        let validity = || certificate::validity(der);
        let value = match variable {
            Variable::SslClientSDn => certificate::subject(der).map(Vec::from),
            Variable::SslClientIDn => certificate::issuer(der).map(Vec::from),
            Variable::SslClientSDnLegacy => certificate::subject_legacy(der).map(Vec::from),
            Variable::SslClientIDnLegacy => certificate::issuer_legacy(der).map(Vec::from),
            Variable::SslClientSerial => certificate::serial(der).map(Vec::from),
            Variable::SslClientFingerprint => {
                (!der.is_empty()).then(|| certificate::fingerprint(der).into_bytes())
            }
            Variable::SslClientVStart => validity().map(|(from, _)| certificate::date(from).into_bytes()),
            Variable::SslClientVEnd => validity().map(|(_, until)| certificate::date(until).into_bytes()),
            Variable::SslClientVRemain => {
                let days = validity().map(|(_, until)| certificate::days_left(until, seconds));
                return Some(days.is_some_and(|days| number(days, out)));
            }
            Variable::SslClientRawCert => (!der.is_empty()).then(|| certificate::pem(der)),
            Variable::SslClientCert => (!der.is_empty()).then(|| certificate::pem_for_a_field(der)),
            Variable::SslClientEscapedCert => (!der.is_empty()).then(|| certificate::pem_escaped(der)),
            _ => return None,
        };
        Some(text(value.as_deref(), out))
    }
}

/// In lower-case hex. TLS 1.3 has none (RFC 8446, section 4.1.3): as with OpenSSL it is a number of the connection's own.
fn session_id(version: Option<ProtocolVersion>, greeting: Option<&Greeting>, out: &mut Vec<u8>) -> bool {
    let Some(greeting) = greeting else { return false };
    let made;
    let id = if version == Some(ProtocolVersion::TLSv1_3) {
        made = digest(&SHA256, &greeting.random);
        made.as_ref()
    } else {
        &greeting.session_id
    };
    for byte in id {
        out.extend(alloc::format!("{byte:02x}").bytes());
    }
    !id.is_empty()
}

fn protocol(version: Option<ProtocolVersion>) -> Option<&'static [u8]> {
    match version {
        Some(ProtocolVersion::TLSv1_3) => Some(b"TLSv1.3"),
        Some(ProtocolVersion::TLSv1_2) => Some(b"TLSv1.2"),
        Some(_) | None => None,
    }
}

/// Names with colons between them.
fn list(numbers: &[u16], write: impl Fn(u16, &mut Vec<u8>) -> bool, out: &mut Vec<u8>) -> bool {
    for (place, number) in numbers.iter().enumerate() {
        if place > 0 {
            out.push(b':');
        }
        write(*number, out);
    }
    !numbers.is_empty()
}
