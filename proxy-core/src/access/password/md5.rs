//! crypt over MD5, by Poul-Henning Kamp: `$1$`, and `$apr1$` with that word in its place.

use md5::{Digest as _, Md5};

/// The order in which the hash's bytes are written.
pub(super) const ORDER: [u8; 16] = [12, 6, 0, 13, 7, 1, 14, 8, 2, 15, 9, 3, 5, 10, 4, 11];

const ROUNDS: u32 = 1000;

/// The hash.
pub(super) fn crypt(password: &[u8], magic: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut first = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    for chunk in password.chunks(16) {
        first.update(inner.get(..chunk.len()).unwrap_or_default());
    }
    // One byte for each bit of the length.
    let mut bits = password.len();
    while bits != 0 {
        first.update(if bits & 1 == 1 { &[0] } else { password.get(..1).unwrap_or_default() });
        bits >>= 1;
    }
    let mut hash: [u8; 16] = first.finalize().into();
    for round in 0..ROUNDS {
        let odd = round & 1 == 1;
        let mut digest = Md5::new();
        digest.update(if odd { password } else { &hash });
        if round % 3 != 0 {
            digest.update(salt);
        }
        if round % 7 != 0 {
            digest.update(password);
        }
        digest.update(if odd { &hash } else { password });
        hash = digest.finalize().into();
    }
    hash
}
