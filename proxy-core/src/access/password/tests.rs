//! What libxcrypt's crypt(3) and openssl say.

use super::*;

const LONG: &str =
    "a password that is rather longer than sixteen bytes, and than sixty-four, and than seventy-two";

const TABLE: &[(&str, &str)] = &[
    ("secret", "abNANd1rDfiNc"),
    ("secret", "zZ5x4y8hS4SZE"),
    ("secret", "./17m29LFAflg"),
    ("secret", "9xfVMXbcoTt8."),
    ("", "abmF1QH4PEr.E"),
    ("", "./Una9Fi.seRo"),
    ("a", "9xWu2XhNsg0eM"),
    ("longer than eight bytes", "abKuvfXyuH4Fw"),
    ("longer t", "zZb64kacvY9KA"),
    ("ünïcödé", "zZLE/Vv3b1Vfk"),
    ("ünïcödé", "9xlNmdP/rwvwc"),
    ("secret", "$1$saltsalt$9xy1btjgzLYfb7hivXtC//"),
    ("", "$1$saltsalt$5Jhcit4zN9UlGiA0txPkO0"),
    ("ünïcödé", "$1$saltsalt$rEzICx7LnPJz1.hPs1q6I1"),
    (LONG, "$1$saltsalt$48QE5qmqsPnVlGTTL8ByX."),
    ("secret", "$apr1$r31xxxxx$AswNZMkqbUUcZ6XGkXMTN."),
    ("", "$apr1$r31xxxxx$yVo4h8REJf1yXNWlFrsE1."),
    ("a password that is rather longer than sixteen bytes", "$apr1$r31xxxxx$04jJ/.VPLpOe3eHsN8Bdy/"),
    ("secret", "$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi."),
    ("", "$5$saltstring$FdNfA4gXqvCeO6iZs7G/.wwwoywYZqo0l1pwmfWaBA7"),
    (LONG, "$5$rounds=1400$anotherlongsalts$L/kHlPIvMC7ubBnzDtxh.5mXXBIQEVzahzyiZFnEHzB"),
    (
        "secret",
        "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
    ),
    (
        LONG,
        "$6$rounds=1000$x$J5VewuYmL4FEoxQnkMI2dPqtk7U5.M900NEd2oSck2POReF6fYhuHK6KynY6R.2LvkVknXxNnQcvjhJLtNwxR/",
    ),
    ("secret", "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"),
    ("", "$2b$04$......................w74bL5gU7LSJClZClCa.Pkz14aTv/XO"),
    ("ünïcödé", "$2a$04$......................C2oV.KDLGYVSSl0YZu5ElkXiaZs0JQa"),
    (LONG, "$2b$04$......................w2rcgSd8biVShnKgwuz1aigsogiSjua"),
    ("secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="),
    ("secret", "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0"),
    ("secret", "{PLAIN}secret"),
    ("", "{PLAIN}"),
];

#[test]
fn the_right_password_matches_and_no_other() {
    for (password, stored) in TABLE {
        let (password, stored) = (password.as_bytes(), stored.as_bytes());
        assert!(matches(password, stored), "{}", stored.escape_ascii());
        assert!(!matches(b"wrong", stored), "{}", stored.escape_ascii());
        // The zero byte ends it, as it ends a string of C.
        assert!(matches(&[password, b"\0x"].concat(), stored), "{}", stored.escape_ascii());
        for end in 0..stored.len() {
            let cut = &stored[..end];
            assert!(!cut.starts_with(b"$") || !matches(password, cut), "{}", cut.escape_ascii());
        }
    }
}

#[test]
fn what_is_no_hash_matches_nothing() {
    for stored in [
        "",
        "s",
        "secret",
        "*",
        "!!",
        "x:y",
        "$",
        "$1$",
        "$apr1$",
        "$5$",
        "$5$rounds=",
        "$5$rounds=999$saltstring$x",
        "$5$rounds=4294967296$saltstring$x",
        "$6$rounds=99999999$saltstring$x",
        // A salt that is too long is cut, and the string is another one then.
        "$5$rounds=1400$anotherlongsaltstring$hA9phAhHgeqcKTycY/LRKamQM18d5P2uD0VRrWGWMX6",
        "$2y$",
        "$2y$31$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "$2y$03$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "$2y$05$abcdefghijklmnopqrstu",
        "$7$",
        "{SHA}",
        "{SHA}!",
        "{SSHA}",
        "{SSHA}c2hvcnQ=",
        "{sha}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    ] {
        assert!(!matches(b"secret", stored.as_bytes()), "{stored}");
        assert!(!matches(b"", stored.as_bytes()), "{stored}");
    }
}
