//! Times in the words of C's `strftime`, in its own locale.

use alloc::vec::Vec;
use core::fmt::Write as _;

use super::date::Civil;

const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// How long a written time may be, in bytes.
const TIME_BYTES_MAX: usize = 256;

/// Writes `format` for the moment `unix_s` in a zone of this name so many seconds east of UTC.
pub fn write(out: &mut Vec<u8>, format: &[u8], unix_s: i64, offset_s: i32, zone: &str) {
    let local_s = unix_s.saturating_add(i64::from(offset_s));
    let civil = Civil::from_unix(local_s);
    let start = out.len();
    let mut bytes = format.iter();
    while let Some(byte) = bytes.next() {
        if out.len() - start > TIME_BYTES_MAX {
            return;
        }
        match byte {
            b'%' => match bytes.next() {
                Some(letter) => field(out, *letter, civil, local_s, offset_s, zone, unix_s),
                None => out.push(b'%'),
            },
            other => out.push(*other),
        }
    }
}

fn field(out: &mut Vec<u8>, letter: u8, civil: Civil, local_s: i64, offset_s: i32, zone: &str, unix_s: i64) {
    let again = |out: &mut Vec<u8>, format: &[u8]| write(out, format, unix_s, offset_s, zone);
    let days = local_s.div_euclid(86_400);
    // The first of January 1970 was a Thursday.
    let weekday = usize::try_from(days.rem_euclid(7)).unwrap_or(0);
    let day_name = DAYS.get(weekday).copied().unwrap_or_default();
    let month_name = MONTHS.get(usize::from(civil.month).wrapping_sub(1)).copied().unwrap_or_default();
    let first = Civil { month: 1, day: 1, ..civil };
    let day_of_year = days - first.to_unix().div_euclid(86_400) + 1;
    let hour12 = (civil.hour + 11) % 12 + 1;
    let sunday_based = (weekday + 4) % 7;
    let mut text = Text(out);
    let _ = match letter {
        b'a' => text.write_str(day_name.get(..3).unwrap_or_default()),
        b'A' => text.write_str(day_name),
        b'b' | b'h' => text.write_str(month_name.get(..3).unwrap_or_default()),
        b'B' => text.write_str(month_name),
        b'C' => write!(text, "{:02}", civil.year / 100),
        b'd' => write!(text, "{:02}", civil.day),
        b'e' => write!(text, "{:2}", civil.day),
        b'H' => write!(text, "{:02}", civil.hour),
        b'I' => write!(text, "{hour12:02}"),
        b'j' => write!(text, "{day_of_year:03}"),
        b'k' => write!(text, "{:2}", civil.hour),
        b'l' => write!(text, "{hour12:2}"),
        b'm' => write!(text, "{:02}", civil.month),
        b'M' => write!(text, "{:02}", civil.minute),
        b'n' => text.write_str("\n"),
        b'p' => text.write_str(if civil.hour < 12 { "AM" } else { "PM" }),
        b's' => write!(text, "{unix_s}"),
        b'S' => write!(text, "{:02}", civil.second),
        b't' => text.write_str("\t"),
        b'u' => write!(text, "{}", if sunday_based == 0 { 7 } else { sunday_based }),
        b'w' => write!(text, "{sunday_based}"),
        b'y' => write!(text, "{:02}", civil.year.rem_euclid(100)),
        b'Y' => write!(text, "{}", civil.year),
        b'z' => {
            let minutes = offset_s.unsigned_abs() / 60;
            write!(text, "{}{:02}{:02}", if offset_s < 0 { '-' } else { '+' }, minutes / 60, minutes % 60)
        }
        b'Z' => text.write_str(zone),
        b'%' => text.write_str("%"),
        b'c' => return again(out, b"%a %b %e %H:%M:%S %Y"),
        b'D' | b'x' => return again(out, b"%m/%d/%y"),
        b'F' => return again(out, b"%Y-%m-%d"),
        b'r' => return again(out, b"%I:%M:%S %p"),
        b'R' => return again(out, b"%H:%M"),
        b'T' | b'X' => return again(out, b"%H:%M:%S"),
        other => write!(text, "%{}", char::from(other)),
    };
}

/// A vector of bytes that takes text.
struct Text<'a>(&'a mut Vec<u8>);

impl core::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_c_does() {
        let table: &[(&str, i64, i32, &str)] = &[
            ("%A, %d-%b-%Y %H:%M:%S %Z", 784_111_777, 0, "Sunday, 06-Nov-1994 08:49:37 GMT"),
            (
                "%a %e %B %y, %I:%M %p, day %j, %u %w",
                784_111_777,
                0,
                "Sun  6 November 94, 08:49 AM, day 310, 7 0",
            ),
            ("%s %z %F %T", 784_111_777, -12_600, "784111777 -0330 1994-11-06 05:19:37"),
            ("%c|%D|%%|%", 951_782_400, 0, "Tue Feb 29 00:00:00 2000|02/29/00|%|%"),
        ];
        for (format, unix_s, offset_s, expected) in table {
            let mut out = Vec::new();
            write(&mut out, format.as_bytes(), *unix_s, *offset_s, "GMT");
            assert_eq!(core::str::from_utf8(&out).unwrap(), *expected, "{format}");
        }
    }
}
