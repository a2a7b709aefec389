//! Is this the password? The formats that `auth_basic_user_file` may hold.
//!
//! | it begins with | it is | who computes it |
//! | --- | --- | --- |
//! | `$apr1$`, `$1$` | Apache's and the original crypt over MD5 | [`md5`] |
//! | `$5$`, `$6$` | crypt over SHA-256 and SHA-512 | sha-crypt |
//! | `$2a$`, `$2b$`, `$2x$`, `$2y$` | bcrypt | bcrypt |
//! | `{SHA}`, `{SSHA}`, `{PLAIN}` | RFC 2307 | here |
//! | anything else | the traditional crypt over DES | [`des`] |
//!
//! As in nginx a password ends at its first zero byte.

mod des;
mod md5;

use base64::alphabet::{BCRYPT, STANDARD};
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest as _, Sha1};
use smallvec::SmallVec;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_BCRYPT: GeneralPurpose = GeneralPurpose::new(&BCRYPT, LENIENT);

/// More than these is not computed but counts as another password: each is some seconds of work.
const BCRYPT_COST_MAX: u32 = 16;
const SHA_ROUNDS_MAX: u32 = 10_000_000;

/// The longest salts, in bytes. The schemes cut longer ones, and what comes out is another string then.
const MD5_SALT_BYTES_MAX: usize = 8;
const SHA_SALT_BYTES_MAX: usize = 16;

/// Whether comparing with this takes so long (from a tenth of a millisecond on) that a helper thread is worth it.
#[must_use]
pub fn is_slow(stored: &[u8]) -> bool {
    stored.starts_with(b"$")
}

/// Whether `password` is the one that `stored` was made of.
#[must_use]
pub fn matches(password: &[u8], stored: &[u8]) -> bool {
    let password = until(password, 0);
    if let Some(rest) = stored.strip_prefix(b"$apr1$") {
        return md5_crypt(password, b"$apr1$", rest);
    }
    if let Some(rest) = stored.strip_prefix(b"{PLAIN}") {
        return same(password, rest);
    }
    if let Some(rest) = stored.strip_prefix(b"{SSHA}") {
        return salted_sha(password, rest);
    }
    if let Some(rest) = stored.strip_prefix(b"{SHA}") {
        return decoded::<32>(&BASE64, rest).is_some_and(|hash| same(&hash, &Sha1::digest(password)));
    }
    match stored {
        [b'$', b'1', b'$', rest @ ..] => md5_crypt(password, b"$1$", rest),
        [b'$', b'5', b'$', rest @ ..] => sha_crypt(password, rest, Sha::Sha256),
        [b'$', b'6', b'$', rest @ ..] => sha_crypt(password, rest, Sha::Sha512),
        [b'$', b'2', b'a' | b'b' | b'x' | b'y', b'$', rest @ ..] => bcrypt(password, rest).unwrap_or(false),
        _ => des::crypt(password, stored).is_some_and(|hash| same(&hash, stored)),
    }
}

/// How long the comparison takes says nothing about where the two differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

fn until(bytes: &[u8], end: u8) -> &[u8] {
    bytes.split(|byte| *byte == end).next().unwrap_or_default()
}

fn decoded<const ROOM: usize>(engine: &GeneralPurpose, text: &[u8]) -> Option<SmallVec<[u8; ROOM]>> {
    let mut out = SmallVec::from_elem(0, text.len().div_ceil(4) * 3);
    let len = engine.decode_slice(text, &mut out).ok()?;
    out.truncate(len);
    Some(out)
}

/// SHA-1 over password and salt, and the salt behind it.
fn salted_sha(password: &[u8], stored: &[u8]) -> bool {
    let Some(decoded) = decoded::<64>(&BASE64, stored) else { return false };
    let Some((hash, salt)) = decoded.split_at_checked(20) else { return false };
    same(hash, &Sha1::new().chain_update(password).chain_update(salt).finalize())
}

/// `salt$hash`
fn md5_crypt(password: &[u8], magic: &[u8], rest: &[u8]) -> bool {
    let Some((salt, hash)) = salt_and_hash(rest) else { return false };
    salt.len() <= MD5_SALT_BYTES_MAX && same(&encoded(&md5::crypt(password, magic, salt), &md5::ORDER), hash)
}

#[derive(Clone, Copy)]
enum Sha {
    Sha256,
    Sha512,
}

/// `[rounds=N$]salt$hash`
fn sha_crypt(password: &[u8], rest: &[u8], which: Sha) -> bool {
    let (rounds, rest) = match rest.strip_prefix(b"rounds=") {
        None => (5000, rest),
        Some(rest) => match salt_and_hash(rest).map(|(number, rest)| (core::str::from_utf8(number), rest)) {
            Some((Ok(number), rest)) => (number.parse().unwrap_or(0), rest),
            Some((Err(_), _)) | None => return false,
        },
    };
    let params = Some(rounds).filter(|rounds| *rounds <= SHA_ROUNDS_MAX);
    let Some(params) = params.and_then(|rounds| sha_crypt::Params::new(rounds).ok()) else { return false };
    let Some((salt, hash)) = salt_and_hash(rest) else { return false };
    if salt.len() > SHA_SALT_BYTES_MAX {
        return false;
    }
    match which {
        Sha::Sha256 => same(&encoded(&sha_crypt::sha256_crypt(password, salt, params), &SHA256_ORDER), hash),
        Sha::Sha512 => same(&encoded(&sha_crypt::sha512_crypt(password, salt, params), &SHA512_ORDER), hash),
    }
}

/// `NN$`, 22 letters of salt, 31 of hash.
fn bcrypt(password: &[u8], rest: &[u8]) -> Option<bool> {
    let (cost, rest) = salt_and_hash(rest)?;
    let cost: u32 = core::str::from_utf8(cost).ok()?.parse().ok()?;
    if !(4..=BCRYPT_COST_MAX).contains(&cost) || rest.len() != 53 {
        return None;
    }
    let (salt, hash) = rest.split_at_checked(22)?;
    let salt: [u8; 16] = decoded::<24>(&BASE64_BCRYPT, salt)?.as_slice().try_into().ok()?;
    let hash = decoded::<24>(&BASE64_BCRYPT, hash)?;
    // The zero byte at its end belongs to the key; of all that, 72 bytes count.
    let mut key: SmallVec<[u8; 72]> = password.into();
    key.push(0);
    key.truncate(72);
    Some(bcrypt::bcrypt(cost, salt, &key).get(..23).is_some_and(|computed| same(computed, &hash)))
}

fn salt_and_hash(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'$', rest)?;
    rest.split_at_checked(end).map(|(salt, hash)| (salt, hash.get(1..).unwrap_or_default()))
}

/// crypt's own base 64 of the bytes in this order: three at a time, the lowest six bits first.
fn encoded(bytes: &[u8], order: &[u8]) -> SmallVec<[u8; 88]> {
    let mut out = SmallVec::new();
    for places in order.chunks(3) {
        let byte = |place: &u8| u32::from(bytes.get(usize::from(*place)).copied().unwrap_or_default());
        let mut value = places.iter().rev().fold(0, |value, place| value << 8 | byte(place));
        for _ in 0..=places.len() {
            out.push(letter(value));
            value >>= 6;
        }
    }
    out
}

/// The letter of six bits.
fn letter(value: u32) -> u8 {
    match (value & 0x3f) as u8 {
        n @ 0..12 => b'.' + n,
        n @ 12..38 => b'A' + n - 12,
        n => b'a' + n - 38,
    }
}

const SHA256_ORDER: [u8; 32] = [
    20, 10, 0, 11, 1, 21, 2, 22, 12, 23, 13, 3, 14, 4, 24, 5, 25, 15, 26, 16, 6, 17, 7, 27, 8, 28, 18, 29,
    19, 9, 30, 31,
];

const SHA512_ORDER: [u8; 64] = [
    42, 21, 0, 1, 43, 22, 23, 2, 44, 45, 24, 3, 4, 46, 25, 26, 5, 47, 48, 27, 6, 7, 49, 28, 29, 8, 50, 51,
    30, 9, 10, 52, 31, 32, 11, 53, 54, 33, 12, 13, 55, 34, 35, 14, 56, 57, 36, 15, 16, 58, 37, 38, 17, 59,
    60, 39, 18, 19, 61, 40, 41, 20, 62, 63,
];

#[cfg(test)]
mod tests;
