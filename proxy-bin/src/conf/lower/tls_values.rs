//! The values of `ssl_*` and `proxy_ssl_*`: versions, OpenSSL's language of ciphers, groups, session caches.

use proxy_core::config::ClientVerify;
use proxy_core::tls::build::Parameters;
use proxy_core::tls::names;

use super::context::Call;
use super::tls::{SessionCache, TlsLevel};
use crate::conf::diagnostic::Diagnostic;
use crate::conf::directive::store;
use crate::conf::value::{Field, Parsed, size};

/// The smallest shared cache: nginx wants eight pages.
const SHARED_BYTES_MIN: u64 = 8 * 4096;
/// What a built-in cache of so many sessions takes, in bytes for each.
const BUILTIN_SESSION_BYTES: u64 = 512;
/// OpenSSL's own number of sessions.
const BUILTIN_SESSIONS: u64 = 20 * 1024;

/// A cipher of TLS 1.2 that rustls has, with the words that select it.
struct Cipher {
    number: u16,
    name: &'static str,
    words: &'static [&'static str],
}

/// In OpenSSL's default order.
const CIPHERS12: [Cipher; 6] = [
    Cipher {
        number: 0xc02c,
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        words: &["aECDSA", "ECDSA", "AES", "AES256", "AESGCM", "SHA384"],
    },
    Cipher {
        number: 0xc030,
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        words: &["aRSA", "AES", "AES256", "AESGCM", "SHA384"],
    },
    Cipher { number: 0xcca9, name: "ECDHE-ECDSA-CHACHA20-POLY1305", words: &["aECDSA", "ECDSA", "CHACHA20"] },
    Cipher { number: 0xcca8, name: "ECDHE-RSA-CHACHA20-POLY1305", words: &["aRSA", "CHACHA20"] },
    Cipher {
        number: 0xc02b,
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        words: &["aECDSA", "ECDSA", "AES", "AES128", "AESGCM", "SHA256"],
    },
    Cipher {
        number: 0xc02f,
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        words: &["aRSA", "AES", "AES128", "AESGCM", "SHA256"],
    },
];

/// Words that every one of them answers to.
const COMMON: [&str; 12] = [
    "ALL",
    "HIGH",
    "DEFAULT",
    "ECDH",
    "ECDHE",
    "EECDH",
    "kECDHE",
    "kEECDH",
    "TLSv1.2",
    "FIPS",
    "COMPLEMENTOFALL?",
    "AEAD",
];
/// Words that select only what rustls does not have: nothing is lost where they are left out or excluded.
const ABSENT: [&str; 30] = [
    "aNULL", "eNULL", "NULL", "EXPORT", "EXP", "LOW", "MEDIUM", "DES", "3DES", "RC4", "RC2", "MD5", "SHA",
    "SHA1", "PSK", "SRP", "DSS", "aDSS", "aPSK", "CAMELLIA", "SEED", "IDEA", "ARIA", "AESCCM", "AESCCM8",
    "ADH", "AECDH", "kRSA", "SSLv3", "TLSv1",
];

/// What a list in OpenSSL's language selects.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// The ciphers of TLS 1.2 by number, best first.
    pub numbers: Vec<u16>,
    /// Ciphers that rustls does not have.
    pub missing: Vec<String>,
}

/// Reads a list of ciphers: words, `+`, `-`, `!`, `@STRENGTH` (ciphers(1)).
pub fn select(text: &str) -> Selected {
    let mut selected = Selected::default();
    let mut banned: Vec<u16> = Vec::new();
    for item in text.split([':', ',', ' ', ';']).filter(|item| !item.is_empty() && !item.starts_with('@')) {
        let (sign, word) = match item.chars().next() {
            Some(sign @ ('!' | '-' | '+')) => (sign, item.get(1..).unwrap_or_default()),
            _ => (' ', item),
        };
        let matching: Vec<u16> =
            CIPHERS12.iter().filter(|cipher| matches_all(cipher, word)).map(|cipher| cipher.number).collect();
        if matching.is_empty() && sign == ' ' && !ABSENT.contains(&word) && !word.starts_with("TLS_") {
            selected.missing.push(word.to_owned());
        }
        if sign == ' ' {
            let new = |number: &&u16| !selected.numbers.contains(number) && !banned.contains(number);
            let added: Vec<u16> = matching.iter().filter(new).copied().collect();
            selected.numbers.extend(added);
        } else {
            let moved: Vec<u16> =
                selected.numbers.iter().filter(|number| matching.contains(number)).copied().collect();
            selected.numbers.retain(|number| !matching.contains(number));
            match sign {
                '+' => selected.numbers.extend(moved),
                '!' => banned.extend(matching),
                _ => {}
            }
        }
    }
    selected
}

/// `A+B` is what answers to both.
fn matches_all(cipher: &Cipher, words: &str) -> bool {
    words.split('+').all(|word| cipher.name == word || COMMON.contains(&word) || cipher.words.contains(&word))
}

/// `ssl_protocols version …;`
///
/// # Errors
/// nginx's `invalid value`.
pub fn protocols(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    store(&mut level.protocols, versions(call))
}

/// The versions that a directive names: TLS 1.2, TLS 1.3.
///
/// # Errors
/// nginx's `invalid value`; none is left.
pub fn versions(call: &mut Call<'_, '_>) -> Parsed<(bool, bool)> {
    let mut found = (false, false);
    let mut old = Vec::new();
    for n in 0..call.args().len() {
        match &*call.text(n) {
            "TLSv1.2" => found.0 = true,
            "TLSv1.3" => found.1 = true,
            version @ ("SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1") => old.push(version.to_owned()),
            other => return Err(call.arg(n).error(format!("invalid value \"{other}\""))),
        }
    }
    if found == (false, false) {
        return Err(call.first().error("no version of TLS is left: rustls speaks TLSv1.2 and TLSv1.3"));
    }
    if !old.is_empty() {
        call.notice(format!("{} is not spoken by rustls and left out", old.join(", ")));
    }
    Ok(found)
}

/// `ssl_ciphers list;`
///
/// # Errors
/// None is left.
pub fn ciphers(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    store(&mut level.ciphers, cipher_list(call, 0))
}

/// The ciphers that argument `n` selects.
///
/// # Errors
/// None is left.
pub fn cipher_list(call: &mut Call<'_, '_>, n: usize) -> Parsed<Vec<u16>> {
    let text = call.text(n).into_owned();
    let selected = select(&text);
    if selected.numbers.is_empty() {
        let mut error = call.arg(n).error(format!("no cipher of \"{text}\" is left"));
        error.help("rustls has ECDHE with AES-GCM or ChaCha20-Poly1305 for TLS 1.2");
        return Err(error);
    }
    if !selected.missing.is_empty() {
        call.notice(format!(
            "ciphers that rustls does not have are left out: {}",
            selected.missing.join(", ")
        ));
    }
    Ok(selected.numbers)
}

/// `ssl_ecdh_curve list;`
///
/// # Errors
/// A name that nobody knows; none is left.
pub fn curves(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let field = call.first();
    let groups = groups(call, field)?;
    level.curves = groups.or_else(|| level.curves.take());
    Ok(())
}

/// Groups with colons between them; none for `auto`.
fn groups(call: &mut Call<'_, '_>, field: Field<'_>) -> Parsed<Option<Vec<u16>>> {
    let text = field.arg.text();
    if text == "auto" {
        return Ok(None);
    }
    let mut numbers = Vec::new();
    let mut missing = Vec::new();
    for name in text.split([':', '/']) {
        let name = name.trim_start_matches(['?', '*']);
        match names::group(name) {
            Some(number) if Parameters::has_group(number) => numbers.push(number),
            Some(_) => missing.push(name.to_owned()),
            None => return Err(field.error(format!("unknown group \"{name}\" in \"{text}\""))),
        }
    }
    if numbers.is_empty() {
        return Err(field.error(format!("rustls has none of the groups \"{text}\"")));
    }
    if !missing.is_empty() {
        call.notice(format!("groups that rustls does not have are left out: {}", missing.join(", ")));
    }
    Ok(Some(numbers))
}

/// `ssl_conf_command name value;`
///
/// # Errors
/// A value that cannot be honoured.
pub fn conf_command(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let value = call.text(1).into_owned();
    match &*call.text(0).to_ascii_lowercase() {
        "ciphersuites" => store(&mut level.ciphersuites, ciphersuites(call, 1)),
        "cipherstring" => store(&mut level.ciphers, cipher_list(call, 1)),
        "groups" | "curves" => {
            let field = call.arg(1);
            level.curves = groups(call, field)?;
            Ok(())
        }
        "options" => {
            for option in value.split(',') {
                match option.trim() {
                    "ServerPreference" | "PrioritizeChaCha" => level.prefer_server_ciphers = Some(true),
                    "-ServerPreference" => level.prefer_server_ciphers = Some(false),
                    "-SessionTicket" => level.session_tickets = Some(false),
                    "SessionTicket" => level.session_tickets = Some(true),
                    other => call.notice(format!("the option {other} has no effect in ringgate")),
                }
            }
            Ok(())
        }
        "minprotocol" if value == "TLSv1.3" => {
            level.protocols = Some((false, true));
            Ok(())
        }
        "maxprotocol" if value == "TLSv1.2" => {
            level.protocols = Some((true, false));
            Ok(())
        }
        "minprotocol" | "maxprotocol" if value.starts_with("TLSv1") => Ok(()),
        other => {
            call.notice(format!("the command {other} has no effect in ringgate"));
            Ok(())
        }
    }
}

/// Cipher suites of TLS 1.3 with colons between them.
///
/// # Errors
/// A name that nobody knows; none is left.
pub fn ciphersuites(call: &mut Call<'_, '_>, n: usize) -> Parsed<Vec<u16>> {
    let field = call.arg(n);
    let text = field.arg.text();
    let mut numbers = Vec::new();
    for name in text.split(':') {
        match names::cipher(name) {
            Some(number @ 0x1301..=0x1303) => numbers.push(number),
            Some(0x1304) => call.notice(format!("the cipher {name} is not in rustls and left out")),
            _ => return Err(field.error(format!("unknown cipher suite \"{name}\""))),
        }
    }
    if numbers.is_empty() {
        Err(field.error(format!("no cipher of \"{text}\" is left")))
    } else {
        Ok(numbers)
    }
}

/// `ssl_dhparam file;`
///
/// # Errors
/// None.
pub fn dhparam(_: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    call.notice("\"ssl_dhparam\" has no effect: rustls has no DHE ciphers, and ECDHE takes their place");
    Ok(())
}

/// `ssl_session_cache off|none|[builtin[:size]] [shared:name:size];`
///
/// # Errors
/// nginx's `invalid session cache`.
pub fn session_cache(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let mut cache = SessionCache::None;
    for n in 0..call.args().len() {
        let text = call.text(n).into_owned();
        let invalid = || call.arg(n).error(format!("invalid session cache \"{text}\""));
        let parts: Vec<&str> = text.split(':').collect();
        match *parts.as_slice() {
            ["off" | "none"] => cache = SessionCache::None,
            ["builtin"] => cache = cache.or_builtin(BUILTIN_SESSIONS * BUILTIN_SESSION_BYTES),
            ["builtin", sessions] => {
                let sessions = sessions.parse::<u64>().map_err(|_| invalid())?;
                cache = cache.or_builtin(sessions.saturating_mul(BUILTIN_SESSION_BYTES));
            }
            ["shared", name, bytes] if !name.is_empty() => {
                let bytes = size(bytes).ok_or_else(invalid)?;
                if bytes < SHARED_BYTES_MIN {
                    return Err(call.arg(n).error(format!("session cache \"{name}\" is too small")));
                }
                cache = SessionCache::Shared(name.to_owned(), bytes);
            }
            ["shared", name] if !name.is_empty() => cache = SessionCache::Shared(name.to_owned(), 0),
            _ => return Err(invalid()),
        }
    }
    level.session_cache = Some(cache);
    Ok(())
}

/// `ssl_session_timeout time;`
///
/// # Errors
/// nginx's `invalid value`.
pub fn session_timeout(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let seconds = crate::conf::value::seconds(&call.text(0));
    level.session_timeout = Some(seconds.ok_or_else(|| call.first().invalid("a time is `5m`, `1h`, `1d`"))?);
    Ok(())
}

/// `ssl_verify_client on|off|optional|optional_no_ca;`
///
/// # Errors
/// nginx's `invalid value`.
pub fn verify_client(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    level.verify_client = Some(match &*call.text(0) {
        "off" => ClientVerify::Off,
        "on" => ClientVerify::On,
        "optional" => ClientVerify::Optional,
        "optional_no_ca" => ClientVerify::OptionalNoCa,
        other => {
            let name = call.directive.name.text();
            return Err(call.first().error(format!("invalid value \"{other}\" in \"{name}\" directive")));
        }
    });
    Ok(())
}

/// `ssl_verify_depth number;`
///
/// # Errors
/// nginx's `invalid number`.
pub fn verify_depth(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let depth = call.first().number()?;
    level.verify_depth = Some(usize::try_from(depth).unwrap_or(usize::MAX));
    Ok(())
}

/// A message about a place that a directive named.
pub(super) fn emerg(span: crate::conf::span::Span, message: String) -> Diagnostic {
    Diagnostic::emerg(span, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(text: &str) -> Vec<&'static str> {
        let selected = select(text).numbers;
        selected
            .iter()
            .map(|number| CIPHERS12.iter().find(|c| c.number == *number).map_or("?", |c| c.name))
            .collect()
    }

    #[test]
    fn openssl_strings_select() {
        assert_eq!(select("HIGH:!aNULL:!MD5").numbers.len(), 6);
        assert_eq!(select("HIGH:!aNULL:!MD5").missing, Vec::<String>::new());
        assert_eq!(names_of("ECDHE-RSA-AES128-GCM-SHA256"), ["ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(
            names_of("EECDH+AESGCM:EDH+AESGCM:!AES128"),
            ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"]
        );
        assert_eq!(names_of("ECDHE+aRSA+CHACHA20"), ["ECDHE-RSA-CHACHA20-POLY1305"]);
        assert_eq!(names_of("ALL:-AES:+CHACHA20").len(), 2);
        assert_eq!(names_of("!ECDSA:ALL").len(), 3);
        let certbot = select(
            "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
             ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
             DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384",
        );
        assert_eq!(certbot.numbers, [0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8]);
        assert_eq!(certbot.missing, ["DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384"]);
        assert!(select("AES128-SHA:RC4").numbers.is_empty());
    }
}
