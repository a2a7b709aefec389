//! Dates as HTTP writes and reads them (RFC 9110, section 5.6.7), and as nginx's logs do.
//!
//! The calendar is the proleptic Gregorian one; days are counted from 1 January 1970. Years begin in March here, so
//! that the leap day is a year's last: then months have a regular length and one formula does for all of them.

use alloc::vec::Vec;

use crate::h1::encode;
use crate::time::Now;

const SECONDS_PER_DAY: i64 = 86_400;

/// From 1 March of the year 0 to 1 January 1970.
const DAYS_BEFORE_EPOCH: i64 = 719_468;

/// The Gregorian calendar repeats itself after 400 years.
const DAYS_PER_ERA: i64 = 146_097;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// A moment on the calendar and the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year.
    pub year: i64,
    /// The month, from 1.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute.
    pub minute: u8,
    /// The second.
    pub second: u8,
}

impl Civil {
    /// The moment `unix_s` seconds after the epoch.
    #[must_use]
    pub const fn from_unix(unix_s: i64) -> Self {
        let clock = unix_s.rem_euclid(SECONDS_PER_DAY);
        let days = unix_s.div_euclid(SECONDS_PER_DAY) + DAYS_BEFORE_EPOCH;
        let era = days.div_euclid(DAYS_PER_ERA);
        let day_of_era = days.rem_euclid(DAYS_PER_ERA);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: year_of_era + era * 400 + (month <= 2) as i64,
            month: month as u8,
            day: (day_of_year - (153 * march_month + 2) / 5 + 1) as u8,
            hour: (clock / 3600) as u8,
            minute: (clock / 60 % 60) as u8,
            second: (clock % 60) as u8,
        }
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn to_unix(self) -> i64 {
        let (year, month) = (self.year - (self.month <= 2) as i64, self.month as i64);
        let march_month = if month > 2 { month - 3 } else { month + 9 };
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * march_month + 2) / 5 + self.day as i64 - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = year.div_euclid(400) * DAYS_PER_ERA + day_of_era - DAYS_BEFORE_EPOCH;
        days * SECONDS_PER_DAY + self.hour as i64 * 3600 + self.minute as i64 * 60 + self.second as i64
    }

    /// Whether the calendar has this day and the clock this time. A leap second counts as the next one's first.
    fn exists(self) -> bool {
        let date = Self { second: 0, ..self };
        Self::from_unix(date.to_unix()) == date && self.second <= 60
    }
}

/// The date field's text, made once a second.
#[derive(Debug, Default)]
pub struct DateCache {
    unix_s: u64,
    text: Vec<u8>,
}

impl DateCache {
    /// An IMF-fixdate of this moment: `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn imf(&mut self, now: Now) -> &[u8] {
        let unix_s = now.unix_ms / 1000;
        if self.text.is_empty() || self.unix_s != unix_s {
            self.text.clear();
            self.unix_s = unix_s;
            write_imf(&mut self.text, unix_s.cast_signed());
        }
        &self.text
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (IMF-fixdate).
pub fn write_imf(out: &mut Vec<u8>, unix_s: i64) {
    let civil = Civil::from_unix(unix_s);
    let weekday = usize::try_from(unix_s.div_euclid(SECONDS_PER_DAY).rem_euclid(7)).unwrap_or(0);
    out.extend_from_slice(DAYS.get(weekday).map_or(b"", |day| day.as_slice()));
    out.extend_from_slice(b", ");
    two(out, civil.day);
    out.push(b' ');
    month_name(out, civil.month);
    out.push(b' ');
    four(out, civil.year);
    out.push(b' ');
    clock(out, civil);
    out.extend_from_slice(b" GMT");
}

/// `Sun, 06-Nov-94 08:49:37 GMT`, as nginx writes times in cookies; with four digits of the year after 2037.
pub fn write_cookie_time(out: &mut Vec<u8>, unix_s: i64) {
    let civil = Civil::from_unix(unix_s);
    let weekday = usize::try_from(unix_s.div_euclid(SECONDS_PER_DAY).rem_euclid(7)).unwrap_or(0);
    out.extend_from_slice(DAYS.get(weekday).map_or(b"", |day| day.as_slice()));
    out.extend_from_slice(b", ");
    two(out, civil.day);
    out.push(b'-');
    month_name(out, civil.month);
    out.push(b'-');
    if civil.year > 2037 {
        four(out, civil.year);
    } else {
        two(out, u8::try_from(civil.year.rem_euclid(100)).unwrap_or(0));
    }
    out.push(b' ');
    clock(out, civil);
    out.extend_from_slice(b" GMT");
}

/// `21/Nov/2026:04:45:00 +0000` (`$time_local`).
pub fn write_log_time(out: &mut Vec<u8>, now: Now) {
    let civil = local(now);
    two(out, civil.day);
    out.push(b'/');
    month_name(out, civil.month);
    out.push(b'/');
    four(out, civil.year);
    out.push(b':');
    clock(out, civil);
    out.push(b' ');
    zone(out, now, b"");
}

/// `2026-11-21T04:45:00+00:00` (`$time_iso8601`).
pub fn write_iso8601(out: &mut Vec<u8>, now: Now) {
    let civil = local(now);
    four(out, civil.year);
    out.push(b'-');
    two(out, civil.month);
    out.push(b'-');
    two(out, civil.day);
    out.push(b'T');
    clock(out, civil);
    zone(out, now, b":");
}

fn local(now: Now) -> Civil {
    Civil::from_unix((now.unix_ms / 1000).cast_signed().saturating_add(i64::from(now.utc_offset_s)))
}

/// The offset from UTC in hours and minutes.
fn zone(out: &mut Vec<u8>, now: Now, between: &[u8]) {
    let minutes = now.utc_offset_s.unsigned_abs() / 60;
    out.push(if now.utc_offset_s < 0 { b'-' } else { b'+' });
    two(out, (minutes / 60 % 100) as u8);
    out.extend_from_slice(between);
    two(out, (minutes % 60) as u8);
}

fn clock(out: &mut Vec<u8>, civil: Civil) {
    two(out, civil.hour);
    out.push(b':');
    two(out, civil.minute);
    out.push(b':');
    two(out, civil.second);
}

/// `Jan` … `Dec`, of a month from 1.
pub(crate) fn month_name(out: &mut Vec<u8>, month: u8) {
    let name = MONTHS.get(usize::from(month).wrapping_sub(1));
    out.extend_from_slice(name.map_or(b"", |name| name.as_slice()));
}

fn two(out: &mut Vec<u8>, number: u8) {
    out.extend_from_slice(&[b'0' + number / 10 % 10, b'0' + number % 10]);
}

fn four(out: &mut Vec<u8>, year: i64) {
    let year = u64::try_from(year).unwrap_or(0);
    for bound in [1000, 100, 10] {
        if year < bound {
            out.push(b'0');
        }
    }
    encode::decimal(out, year);
}

/// Reads an HTTP date in any of its three forms, as seconds since the epoch; none if it is no date.
///
/// The day of the week is not looked at: it says nothing new.
#[must_use]
pub fn parse(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    let civil = match text.iter().position(|byte| *byte == b',') {
        Some(comma) => {
            let rest = text.get(comma + 1..)?.trim_ascii_start();
            if rest.get(2) == Some(&b'-') { rfc850(rest)? } else { imf_fixdate(rest)? }
        }
        None => asctime(text)?,
    };
    civil.exists().then(|| civil.to_unix())
}

/// `06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<Civil> {
    let [d, day, b' ', m0, m1, m2, b' ', rest @ ..] = text else { return None };
    let (year, rest) = rest.split_at_checked(4)?;
    let (clock, zone) = rest.strip_prefix(b" ")?.split_at_checked(8)?;
    (zone == b" GMT").then_some(())?;
    civil(number(year)?, month(&[*m0, *m1, *m2])?, number(&[*d, *day])?, clock)
}

/// `06-Nov-94 08:49:37 GMT`. Two digits of a year mean 1970 to 2069, as nginx has it.
fn rfc850(text: &[u8]) -> Option<Civil> {
    let [d, day, b'-', m0, m1, m2, b'-', y, year, b' ', rest @ ..] = text else { return None };
    let (clock, zone) = rest.split_at_checked(8)?;
    (zone == b" GMT").then_some(())?;
    let short = number(&[*y, *year])?;
    let year = if short < 70 { short + 2000 } else { short + 1900 };
    civil(year, month(&[*m0, *m1, *m2])?, number(&[*d, *day])?, clock)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<Civil> {
    let [_, _, _, b' ', m0, m1, m2, b' ', d, day, b' ', rest @ ..] = text else { return None };
    let (clock, year) = rest.split_at_checked(8)?;
    let tens = if *d == b' ' { b'0' } else { *d };
    civil(number(year.strip_prefix(b" ")?)?, month(&[*m0, *m1, *m2])?, number(&[tens, *day])?, clock)
}

fn civil(year: i64, month: u8, day: i64, clock: &[u8]) -> Option<Civil> {
    let [h, hour, b':', m, minute, b':', s, second] = clock else { return None };
    let two = |tens: &u8, ones: &u8| u8::try_from(number(&[*tens, *ones])?).ok();
    Some(Civil {
        year,
        month,
        day: u8::try_from(day).ok()?,
        hour: two(h, hour)?,
        minute: two(m, minute)?,
        second: two(s, second)?,
    })
}

fn month(name: &[u8; 3]) -> Option<u8> {
    let place = MONTHS.iter().position(|month| *month == name)?;
    u8::try_from(place + 1).ok()
}

fn number(digits: &[u8]) -> Option<i64> {
    let is_number = (1..=4).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// Made with `date -u -d @N`.
    const MOMENTS: &[(i64, &str)] = &[
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (1_795_236_300, "Sat, 21 Nov 2026 04:45:00 GMT"),
        (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
    ];

    #[test]
    fn dates_are_written_and_read() {
        for (unix_s, text) in MOMENTS {
            assert_eq!(written(|out| write_imf(out, *unix_s)), *text);
            assert_eq!(parse(text.as_bytes()), Some(*unix_s));
        }
    }

    #[test]
    fn every_day_of_the_calendar_comes_back() {
        for day in -800_000..800_000 {
            let unix_s = day * SECONDS_PER_DAY + 86_399;
            assert_eq!(Civil::from_unix(unix_s).to_unix(), unix_s);
        }
    }

    #[test]
    fn all_three_forms_are_read_and_nothing_else() {
        for (text, expected) in [
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("  Sun, 06 Nov 1994 08:49:37 GMT ", Some(784_111_777)),
            ("Fri, 30 Feb 2024 00:00:00 GMT", None),
            ("Fri, 03 Feb 2024 24:00:00 GMT", None),
            ("Fri, 03 feb 2024 00:00:00 GMT", None),
            ("Fri, 03 Feb 2024 00:00:00", None),
            ("Fri, 03 Feb 2024 00:00:00 EST", None),
            ("Fri, 00 Feb 2024 00:00:00 GMT", None),
            ("Sun Nov 6 08:49:37 1994", None),
            ("784111777", None),
            (",", None),
            ("", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn logs_have_local_time() {
        let at = |utc_offset_s| Now { unix_ms: 1_795_236_300_999, utc_offset_s, ..Now::default() };
        for (offset, log, iso) in [
            (0, "21/Nov/2026:04:45:00 +0000", "2026-11-21T04:45:00+00:00"),
            (-18_000, "20/Nov/2026:23:45:00 -0500", "2026-11-20T23:45:00-05:00"),
            (20_700, "21/Nov/2026:10:30:00 +0545", "2026-11-21T10:30:00+05:45"),
        ] {
            assert_eq!(written(|out| write_log_time(out, at(offset))), log);
            assert_eq!(written(|out| write_iso8601(out, at(offset))), iso);
        }
    }

    #[test]
    fn the_cache_follows_the_clock() {
        let mut cache = DateCache::default();
        for unix_s in [0, 1, 784_111_777] {
            let now = Now { unix_ms: unix_s * 1000 + 500, ..Now::default() };
            assert_eq!(cache.imf(now), written(|out| write_imf(out, unix_s.cast_signed())).as_bytes());
        }
    }
}
