//! OpenSSL's names of ciphers and groups, which nginx's variables and directives use.

use alloc::vec::Vec;

/// Cipher suites by number: those that rustls has, and others that clients offer.
const CIPHERS: &[(u16, &str)] = &[
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
    (0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (0xc02f, "ECDHE-RSA-AES128-GCM-SHA256"),
    (0xc030, "ECDHE-RSA-AES256-GCM-SHA384"),
    (0xcca8, "ECDHE-RSA-CHACHA20-POLY1305"),
    (0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (0xccaa, "DHE-RSA-CHACHA20-POLY1305"),
    (0x009e, "DHE-RSA-AES128-GCM-SHA256"),
    (0x009f, "DHE-RSA-AES256-GCM-SHA384"),
    (0xc023, "ECDHE-ECDSA-AES128-SHA256"),
    (0xc024, "ECDHE-ECDSA-AES256-SHA384"),
    (0xc027, "ECDHE-RSA-AES128-SHA256"),
    (0xc028, "ECDHE-RSA-AES256-SHA384"),
    (0xc009, "ECDHE-ECDSA-AES128-SHA"),
    (0xc00a, "ECDHE-ECDSA-AES256-SHA"),
    (0xc013, "ECDHE-RSA-AES128-SHA"),
    (0xc014, "ECDHE-RSA-AES256-SHA"),
    (0x0067, "DHE-RSA-AES128-SHA256"),
    (0x006b, "DHE-RSA-AES256-SHA256"),
    (0x0033, "DHE-RSA-AES128-SHA"),
    (0x0039, "DHE-RSA-AES256-SHA"),
    (0x009c, "AES128-GCM-SHA256"),
    (0x009d, "AES256-GCM-SHA384"),
    (0x003c, "AES128-SHA256"),
    (0x003d, "AES256-SHA256"),
    (0x002f, "AES128-SHA"),
    (0x0035, "AES256-SHA"),
    (0x000a, "DES-CBC3-SHA"),
    (0x00ff, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV"),
    (0x5600, "TLS_FALLBACK_SCSV"),
];

/// Groups by number.
const GROUPS: &[(u16, &str)] = &[
    (0x11ec, "X25519MLKEM768"),
    (0x11eb, "SecP256r1MLKEM768"),
    (0x11ed, "SecP384r1MLKEM1024"),
    (0x001d, "X25519"),
    (0x001e, "X448"),
    (0x0017, "prime256v1"),
    (0x0018, "secp384r1"),
    (0x0019, "secp521r1"),
    (0x0201, "MLKEM768"),
    (0x0202, "MLKEM1024"),
    (0x0100, "ffdhe2048"),
    (0x0101, "ffdhe3072"),
    (0x0102, "ffdhe4096"),
    (0x0103, "ffdhe6144"),
    (0x0104, "ffdhe8192"),
];

/// Other names of groups.
const GROUP_ALIASES: &[(&str, u16)] =
    &[("P-256", 0x17), ("P-384", 0x18), ("P-521", 0x19), ("secp256r1", 0x17)];

/// Writes a cipher's name, or its number where it has none here.
pub(crate) fn write_cipher(number: u16, out: &mut Vec<u8>) -> bool {
    write(CIPHERS, number, out)
}

/// Writes a group's name, or its number where it has none here.
pub(crate) fn write_group(number: u16, out: &mut Vec<u8>) -> bool {
    write(GROUPS, number, out)
}

fn write(table: &[(u16, &str)], number: u16, out: &mut Vec<u8>) -> bool {
    match table.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => out.extend_from_slice(name.as_bytes()),
        None => out.extend_from_slice(alloc::format!("0x{number:04x}").as_bytes()),
    }
    true
}

/// The number of a group that OpenSSL has under this name.
#[must_use]
pub fn group(name: &str) -> Option<u16> {
    let by_name =
        GROUPS.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(number, _)| *number);
    by_name
        .or_else(|| GROUP_ALIASES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, n)| *n))
}

/// The number of a cipher suite that OpenSSL has under this name.
#[must_use]
pub fn cipher(name: &str) -> Option<u16> {
    CIPHERS.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}
