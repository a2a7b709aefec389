//! What a certificate says of itself, in the words of nginx's `$ssl_client_*` variables.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::Write as _;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::name::Name;
use x509_cert::time::Time;

use crate::http::date::Civil;

/// How many characters a line of PEM has.
const PEM_LINE: usize = 64;
const SECONDS_PER_DAY: u64 = 86_400;

/// The times between which it is valid, in seconds since the Unix epoch.
pub(crate) fn validity(der: &[u8]) -> Option<(u64, u64)> {
    let certificate = Certificate::from_der(der).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let seconds = |time: &Time| time.to_unix_duration().as_secs();
    Some((seconds(&validity.not_before), seconds(&validity.not_after)))
}

/// Whether subject and issuer are the same.
pub(crate) fn is_self_issued(der: &[u8]) -> bool {
    Certificate::from_der(der).is_ok_and(|certificate| {
        certificate.tbs_certificate().subject() == certificate.tbs_certificate().issuer()
    })
}

/// `$ssl_client_s_dn`: the subject as RFC 2253 writes it.
pub(crate) fn subject(der: &[u8]) -> Option<String> {
    Some(Certificate::from_der(der).ok()?.tbs_certificate().subject().to_string())
}

/// The subject's common name.
pub(crate) fn common_name(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    let name = certificate.tbs_certificate().subject().common_name().ok()??;
    Some(name.value().into_owned())
}

/// `$ssl_client_i_dn`: the issuer as RFC 2253 writes it.
pub(crate) fn issuer(der: &[u8]) -> Option<String> {
    Some(Certificate::from_der(der).ok()?.tbs_certificate().issuer().to_string())
}

/// `$ssl_client_s_dn_legacy`: the subject as `/C=US/CN=name`.
pub(crate) fn subject_legacy(der: &[u8]) -> Option<String> {
    Some(legacy(Certificate::from_der(der).ok()?.tbs_certificate().subject()))
}

/// `$ssl_client_i_dn_legacy`: the issuer as `/C=US/CN=name`.
pub(crate) fn issuer_legacy(der: &[u8]) -> Option<String> {
    Some(legacy(Certificate::from_der(der).ok()?.tbs_certificate().issuer()))
}

fn legacy(name: &Name) -> String {
    let mut out = String::new();
    for part in name.iter_rdn() {
        for attribute in part.iter() {
            // Each is `TYPE=value`.
            let _ = write!(out, "/{attribute}");
        }
    }
    out
}

/// `$ssl_client_serial`: the serial number in hexadecimal.
pub(crate) fn serial(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    let bytes = certificate.tbs_certificate().serial_number().as_bytes();
    let bytes = bytes.iter().position(|byte| *byte != 0).and_then(|first| bytes.get(first..)).unwrap_or(&[0]);
    Some(bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02X}");
        out
    }))
}

/// `$ssl_client_fingerprint`: the SHA-1 digest in hexadecimal.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// `$ssl_client_v_start` and `$ssl_client_v_end`: `Nov 21 11:24:45 2026 GMT`.
pub(crate) fn date(unix_s: u64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Civil { year, month, day, hour, minute, second, .. } = Civil::from_unix(unix_s.cast_signed());
    let month = MONTHS.get(usize::from(month).saturating_sub(1)).copied().unwrap_or_default();
    alloc::format!("{month} {day:>2} {hour:02}:{minute:02}:{second:02} {year} GMT")
}

/// `$ssl_client_v_remain`: whole days until it expires; 0 once it has.
pub(crate) fn days_left(until_s: u64, now_s: u64) -> u64 {
    until_s.saturating_sub(now_s) / SECONDS_PER_DAY
}

/// `$ssl_client_cert`: PEM whose further lines begin with a tab, for a field of a request.
pub(crate) fn pem_for_a_field(der: &[u8]) -> Vec<u8> {
    let mut pem = pem(der);
    pem.pop();
    let lines = pem.split(|byte| *byte == b'\n').collect::<Vec<_>>();
    lines.join(&b"\n\t"[..])
}

/// `$ssl_client_escaped_cert`: PEM, escaped as a URI's component.
pub(crate) fn pem_escaped(der: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in pem(der) {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            out.extend_from_slice(alloc::format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

/// `$ssl_client_raw_cert`: PEM.
pub(crate) fn pem(der: &[u8]) -> Vec<u8> {
    let mut out = b"-----BEGIN CERTIFICATE-----\n".to_vec();
    for line in STANDARD.encode(der).as_bytes().chunks(PEM_LINE) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(b"-----END CERTIFICATE-----\n");
    out
}
