//! Who visits: how old browsers are, and cookies that tell clients apart.

use super::store;
use super::{Arity as A, Contexts as C, Entry};
use crate::conf::lower::visitor::{self as lower, Enable};

/// The table.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "modern_browser",
        C::HSL,
        A::ONE_TWO,
        "The first version of a family that $modern_browser is set for; `unlisted`: also for unknown ones.",
    )
    .vetting(lower::modern_browser)
    .repeats(),
    Entry::new("ancient_browser", C::HSL, A::MORE1, "What stands in the User-Agent of old ones.")
        .vetting(lower::ancient_browser)
        .repeats(),
    Entry::new("modern_browser_value", C::HSL, A::ONE, "What $modern_browser is. Default: 1.")
        .vetting(|level, call| store(&mut level.browsers.modern_value, lower::bytes(call))),
    Entry::new("ancient_browser_value", C::HSL, A::ONE, "What $ancient_browser is. Default: 1.")
        .vetting(|level, call| store(&mut level.browsers.ancient_value, lower::bytes(call))),
    Entry::new(
        "userid",
        C::HSL,
        A::ONE,
        "Whether a cookie that tells clients apart is set (on, v1), only read (log), or neither (off). Default: off.",
    )
    .vetting(|level, call| {
        let choices = [("off", Enable::Off), ("log", Enable::Log), ("v1", Enable::V1), ("on", Enable::On)];
        store(&mut level.user_id.enable, call.first().choice(&choices))
    }),
    Entry::new("userid_service", C::HSL, A::ONE, "What it begins with. Default: this server's address.")
        .vetting(|level, call| store(&mut level.user_id.service, call.first().number_u32())),
    Entry::new("userid_name", C::HSL, A::ONE, "Its name. Default: uid.")
        .vetting(|level, call| store(&mut level.user_id.name, lower::bytes(call))),
    Entry::new("userid_domain", C::HSL, A::ONE, "Its domain, or `none`. Default: none.")
        .vetting(|level, call| store(&mut level.user_id.domain, lower::bytes_or_none(call))),
    Entry::new("userid_path", C::HSL, A::ONE, "Its path. Default: /.")
        .vetting(|level, call| store(&mut level.user_id.path, lower::bytes(call))),
    Entry::new(
        "userid_expires",
        C::HSL,
        A::ONE,
        "How long browsers keep it: a time, `max`, or `off` for as long as they run. Default: off.",
    )
    .vetting(|level, call| store(&mut level.user_id.expires, lower::userid_expires(call))),
    Entry::new("userid_flags", C::HSL, A::ONE_TO_THREE, "Its flags, or `off`. Default: off.")
        .vetting(|level, call| store(&mut level.user_id.flags, lower::userid_flags(call))),
    Entry::new("userid_p3p", C::HSL, A::ONE, "A P3P field to go with it, or `none`. Default: none.")
        .vetting(|level, call| store(&mut level.user_id.p3p, lower::bytes_or_none(call))),
    Entry::new(
        "userid_mark",
        C::HSL,
        A::ONE,
        "A character that cookies end with; those without it are set anew. Default: off.",
    )
    .vetting(|level, call| store(&mut level.user_id.mark, lower::userid_mark(call))),
];
