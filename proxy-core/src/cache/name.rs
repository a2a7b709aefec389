//! Names: a key's MD5, a variant's, and the file that either is kept in.

use alloc::sync::Arc;
use alloc::vec::Vec;

use md5::{Digest as _, Md5};

use crate::config::CacheZone;
use crate::http::RequestHead;
use crate::shared::cache::CacheHash;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The name of a key.
pub(crate) fn of_key(key: &[u8]) -> CacheHash {
    Md5::digest(key).into()
}

/// The name of the variant of `main` that a request asks for: the fields that `vary` names, with blanks and commas
/// between their parts evened out.
pub(crate) fn of_variant(main: &CacheHash, vary: &[u8], request: &RequestHead) -> CacheHash {
    let mut md5 = Md5::new();
    md5.update(main);
    let vary = vary.to_ascii_lowercase();
    for name in parts(&vary) {
        md5.update(name);
        md5.update(b":");
        let mut first = true;
        for field in &request.fields {
            let (own, value) = request.pair(field);
            if !own.eq_ignore_ascii_case(name) {
                continue;
            }
            for part in parts(value) {
                if !core::mem::take(&mut first) {
                    md5.update(b",");
                }
                md5.update(part);
            }
        }
        md5.update(b"\r\n");
    }
    md5.finalize().into()
}

fn parts(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| matches!(byte, b' ' | b',')).filter(|part| !part.is_empty())
}

/// The file that an entry is kept in: `levels=1:2` takes the last digit and the two before it as directories.
pub(crate) fn file(zone: &CacheZone, hash: &CacheHash) -> Arc<[u8]> {
    let mut hex = [0; 32];
    for (pair, byte) in hex.as_chunks_mut::<2>().0.iter_mut().zip(hash) {
        let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    let mut path = Vec::with_capacity(zone.path.len() + 32 + 10);
    path.extend_from_slice(&zone.path);
    let mut end = hex.len();
    for level in zone.levels {
        let start = end - usize::from(level);
        if start < end {
            path.push(b'/');
            path.extend_from_slice(hex.get(start..end).unwrap_or_default());
        }
        end = start;
    }
    path.push(b'/');
    path.extend_from_slice(&hex);
    path.into()
}

/// The name that a file of a cache stands for; none for what is not one's.
pub(crate) fn of_file(name: &[u8]) -> Option<CacheHash> {
    let (pairs, []) = name.as_chunks::<2>() else { return None };
    let mut hash = CacheHash::default();
    if pairs.len() != hash.len() {
        return None;
    }
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CacheBatch;
    use crate::time::Millis;

    #[test]
    fn a_file_is_named_as_nginx_names_it() {
        let batch = CacheBatch { files: 1, sleep: Millis(1) };
        let mut zone = CacheZone {
            name: "one".into(),
            path: b"/data/nginx/cache".as_slice().into(),
            levels: [1, 2, 0],
            bytes: 1 << 20,
            inactive: Millis(1),
            bytes_max: None,
            free_bytes_min: 0,
            use_temp_path: true,
            manager: batch,
            loader: batch,
        };
        // The example of nginx's documentation.
        let hash = of_file(b"b7f54b2df7773722d382f4809d65029c").unwrap();
        assert_eq!(&*file(&zone, &hash), b"/data/nginx/cache/c/29/b7f54b2df7773722d382f4809d65029c");
        zone.levels = [0; 3];
        assert_eq!(&*file(&zone, &hash), b"/data/nginx/cache/b7f54b2df7773722d382f4809d65029c");
        assert_eq!(of_file(b"b7f54b2df7773722d382f4809d65029"), None);
        assert_eq!(of_file(b"x7f54b2df7773722d382f4809d65029c"), None);
        assert_eq!(of_file(b"b7f54b2df7773722d382f4809d65029c.0000000001"), None);
        assert_eq!(of_file(&of_key(b"").map(|_| b'a').repeat(2)), Some([0xaa; 16]));
    }
}
