//! Keys that are encrypted in the old way of PEM (RFC 1421, section 4.6; `openssl genrsa -aes256 -traditional`).
//!
//! The key comes from the passphrase by one round of MD5, which is no protection to speak of; `openssl pkcs8 -topk8` makes a
//! better file of it. It is read because sites have such files.

use aes::cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivateSec1KeyDer};

/// How many bytes of the initialisation vector salt the passphrase.
const SALT_BYTES: usize = 8;

/// Opens such a key with one of the passphrases.
///
/// # Errors
/// What is wrong with it, or that none of them opens it.
pub(crate) fn open(text: &[u8], passwords: &[Vec<u8>]) -> Result<PrivateKeyDer<'static>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is no PEM")?.replace("\r\n", "\n");
    let (is_rsa, body) = body(&text).ok_or("it is neither an RSA nor an EC key")?;
    let (fields, data) = body.split_once("\n\n").ok_or("it has no empty line behind its fields")?;
    let info = fields.lines().find_map(|line| line.strip_prefix("DEK-Info: ")).ok_or("it has no DEK-Info")?;
    let (cipher, iv) = info.trim().split_once(',').ok_or("its DEK-Info is broken")?;
    let iv = bytes_of_hex(iv).ok_or("its DEK-Info is broken")?;
    let data = STANDARD.decode(data.lines().map(str::trim).collect::<String>());
    let data = data.map_err(|error| error.to_string())?;
    if passwords.is_empty() {
        return Err("it is encrypted and there is no \"ssl_password_file\"".into());
    }
    for password in passwords {
        // A wrong passphrase may leave good padding by chance, but no key.
        match decrypt(cipher, password, &iv, &data)? {
            Some(der) if der.first() == Some(&0x30) => {
                return Ok(if is_rsa {
                    PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der))
                } else {
                    PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der))
                });
            }
            Some(_) | None => {}
        }
    }
    Err("none of the passphrases opens it".into())
}

/// What stands between the lines of a key, and whether it is an RSA key.
fn body(text: &str) -> Option<(bool, &str)> {
    [("RSA", true), ("EC", false)].into_iter().find_map(|(kind, is_rsa)| {
        let (_, rest) = text.split_once(&format!("-----BEGIN {kind} PRIVATE KEY-----\n"))?;
        let (body, _) = rest.split_once(&format!("-----END {kind} PRIVATE KEY-----"))?;
        Some((is_rsa, body))
    })
}

/// The plain key; none where the passphrase does not fit.
fn decrypt(cipher: &str, password: &[u8], iv: &[u8], data: &[u8]) -> Result<Option<Vec<u8>>, String> {
    macro_rules! with {
        ($cipher:ty, $key_bytes:expr) => {{
            let key = derive(password, iv, $key_bytes)?;
            let opener = cbc::Decryptor::<$cipher>::new_from_slices(&key, iv);
            let opener = opener.map_err(|_| "its DEK-Info is broken")?;
            Ok(opener.decrypt_padded_vec::<Pkcs7>(data).ok())
        }};
    }
    match cipher {
        "AES-128-CBC" => with!(aes::Aes128, 16),
        "AES-192-CBC" => with!(aes::Aes192, 24),
        "AES-256-CBC" => with!(aes::Aes256, 32),
        "DES-EDE3-CBC" => with!(des::TdesEde3, 24),
        other => Err(format!("its cipher {other} is not supported: convert it with `openssl pkcs8 -topk8`")),
    }
}

/// OpenSSL's `EVP_BytesToKey` with MD5 and one round.
fn derive(password: &[u8], iv: &[u8], key_bytes: usize) -> Result<Vec<u8>, String> {
    let salt = iv.get(..SALT_BYTES).ok_or("its DEK-Info is broken")?;
    let mut key: Vec<u8> = Vec::new();
    let mut last: Vec<u8> = Vec::new();
    while key.len() < key_bytes {
        last = Md5::new().chain_update(&last).chain_update(password).chain_update(salt).finalize().to_vec();
        key.extend_from_slice(&last);
    }
    key.truncate(key_bytes);
    Ok(key)
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One key in four wrappings, by `openssl ec -aes128` and so on.
    const KEYS: [&str; 4] = [
        "-----BEGIN EC PRIVATE KEY-----\n\
         Proc-Type: 4,ENCRYPTED\n\
         DEK-Info: AES-128-CBC,DBAF0A9AEFF89F74E4D70C3DCB486D92\n\
         \n\
         CfrBXBEVmRuzjCFl1m4aESzrxvXceYdCteQpNpyytEn2w0L7SEACiY0SIQM44pDZ\n\
         sjCNIQOzulj3WrMfUGRMPk8yJ1s+yz0Zf7HSTY4eKlYLMQ3V/f4s3bsfUSXAooU7\n\
         9U+Ycv+XBKrPZOtQKLJuEnvPjYBRbXOv21V6OJJYpuE=\n\
         -----END EC PRIVATE KEY-----\n\n",
        "-----BEGIN EC PRIVATE KEY-----\n\
         Proc-Type: 4,ENCRYPTED\n\
         DEK-Info: AES-192-CBC,7973958E47314C1E834C80FB62401A93\n\
         \n\
         BmxnyEduBkSdirBr1LXfT0kgtAwg6A6N/lQz1hC2XqMOBQVWCUqfPFOcoQ8u9XMe\n\
         DbJsW3F9cAgaMp1ba7Uyu1TK980GL/jFE7YmDG/3h8BtNOqpaYbTZOtckeVPTFTi\n\
         v+07Adc3F/Wf4UzwbHNyLXNWvgagB+aGDTesg7/UmSI=\n\
         -----END EC PRIVATE KEY-----\n\n",
        "-----BEGIN EC PRIVATE KEY-----\n\
         Proc-Type: 4,ENCRYPTED\n\
         DEK-Info: AES-256-CBC,AEFF2D0422474736EE56339748942316\n\
         \n\
         HsIPOa+rc/nattz540OOvuDSPT3FxadhDDzY2M7UDkiWZ3cCPwou72rCXVXurNVE\n\
         LeLV5N7yONbwfF2w5LG4OIB+4YRMSFKWfgkUlv6VmIVZRHUx08Ea8BghiYhQLsft\n\
         CfvJVbAIBalA2LNULyq661fUHnvSs8xj2QKWRUkMofA=\n\
         -----END EC PRIVATE KEY-----\n\n",
        "-----BEGIN EC PRIVATE KEY-----\n\
         Proc-Type: 4,ENCRYPTED\n\
         DEK-Info: DES-EDE3-CBC,32F9C9F46D3CD303\n\
         \n\
         pofIRaimfyqT1Z5qy9+bPfAFzPvMW/F/216bHaaJo98+cf97kks8ZP+ICIUnyr3b\n\
         0vQ4Ebi9d+77mZc7CSSvtLo6uH8zPcpDs5YlbrYDh/FP62ea/lVHRw4B7/bHUlkG\n\
         kWvQ2Z+cPML1s6N9Oykm9md8YCj++OKABtiAUP0icjU=\n\
         -----END EC PRIVATE KEY-----\n\n",
    ];

    #[test]
    fn every_cipher_opens_and_only_with_its_passphrase() {
        let passwords =
            |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let opened = KEYS.map(|key| open(key.as_bytes(), &passwords(&["wrong", "open sesame"])).unwrap());
        assert!(opened.iter().all(|key| key.secret_der() == opened[0].secret_der()));
        let chain = include_bytes!("../../tests/e2e/tls/ec.crt");
        let [first, ..] = opened;
        assert!(proxy_core::tls::build::Certificate::new(chain, first, None).is_ok());
        for key in KEYS {
            assert!(open(key.as_bytes(), &passwords(&["wrong", ""])).is_err());
            assert!(open(key.replace('\n', "\r\n").as_bytes(), &passwords(&["open sesame"])).is_ok());
            assert!(open(key.get(..90).unwrap().as_bytes(), &passwords(&["open sesame"])).is_err());
            let other = key.replace("CBC", "CFB");
            assert!(
                open(other.as_bytes(), &passwords(&["open sesame"])).unwrap_err().contains("not supported")
            );
        }
    }
}
