//! Durations, sizes, counts and words: from text and back.
//!
//! Parsers give `None` for anything else; the table says what would have been right. Printers give the
//! shortest text that parses to the same value.

use std::ops::RangeInclusive;
use std::time::Duration;

/// No setting is meant to last longer, and no sum of an instant and a setting can overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

const DURATION_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZE_UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("", 1),
];

/// Millionths in a whole.
const WHOLE: u32 = 1_000_000;

/// Digits only: no sign, no underscore, no space.
fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// `12ms` with `units` gives 12 of the unit whose suffix is `ms`, in the smallest unit.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (count, suffix) = text.split_at(end);
    let (_, scale) = units.iter().find(|(name, _)| *name == suffix)?;
    digits(count)?.checked_mul(*scale)
}

/// The largest unit that divides `value`; `units` end with the one whose scale is 1.
fn show_with_unit(value: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .find(|(_, scale)| value >= *scale && value.is_multiple_of(*scale))
        .map_or_else(
            || value.to_string(),
            |(name, scale)| format!("{}{name}", value / scale),
        )
}

/// `250ms`, `2s`, `1m`, `1h`; at most 24 hours.
pub(super) fn duration(text: &str) -> Option<Duration> {
    duration_of_at_most(text, LONGEST)
}

/// As [`duration`], with another limit.
pub(super) fn duration_of_at_most(text: &str, longest: Duration) -> Option<Duration> {
    let value = Duration::from_millis(with_unit(text, &DURATION_UNITS)?);
    (value <= longest).then_some(value)
}

/// As [`duration`], and not zero.
pub(super) fn duration_above_zero(text: &str) -> Option<Duration> {
    duration(text).filter(|value| !value.is_zero())
}

/// The text of a duration; parts of a millisecond are left out.
pub(super) fn show_duration(value: Duration) -> String {
    match u64::try_from(value.as_millis()).unwrap_or(u64::MAX) {
        0 => "0s".to_owned(),
        millis => show_with_unit(millis, &DURATION_UNITS),
    }
}

/// `64MiB`, `256KiB`, `1GiB` or plain bytes; not zero.
pub(super) fn size_above_zero(text: &str) -> Option<usize> {
    let bytes = with_unit(text, &SIZE_UNITS)?;
    usize::try_from(bytes).ok().filter(|bytes| *bytes > 0)
}

/// The text of a size in bytes.
pub(super) fn show_size(bytes: usize) -> String {
    show_with_unit(bytes as u64, &SIZE_UNITS)
}

/// A whole number within `range`.
pub(super) fn whole<T>(text: &str, range: RangeInclusive<T>) -> Option<T>
where
    T: TryFrom<u64> + PartialOrd,
{
    let value = T::try_from(digits(text)?).ok()?;
    range.contains(&value).then_some(value)
}

/// A share such as `0.1`, from 0 to 1, in millionths.
pub(super) fn share(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits_ok = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits_ok(whole) || !digits_ok(fraction) || fraction.len() > 6 {
        return None;
    }
    let whole: u32 = whole.parse().ok().filter(|whole| *whole <= 1)?;
    let fraction: u32 = format!("{fraction:0<6}").parse().ok()?;
    let millionths = whole * WHOLE + fraction;
    (millionths <= WHOLE).then_some(millionths)
}

/// As [`share`], and not zero.
pub(super) fn share_above_zero(text: &str) -> Option<u32> {
    share(text).filter(|millionths| *millionths > 0)
}

/// The text of a share in millionths.
pub(super) fn show_share(millionths: u32) -> String {
    let (whole, fraction) = (millionths / WHOLE, millionths % WHOLE);
    let text = format!("{whole}.{fraction:06}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The value that goes by the name `text`.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Option<T> {
    let (_, value) = words.iter().find(|(name, _)| *name == text)?;
    Some(*value)
}

/// The name of `value`, which `words` has.
pub(super) fn show_word<T: PartialEq>(value: &T, words: &[(&str, T)]) -> String {
    words
        .iter()
        .find_map(|(name, named)| (named == value).then(|| (*name).to_owned()))
        .expect("every value of a word's type is in its list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_and_print() {
        for (text, millis, shown) in [
            ("0s", 0, "0s"),
            ("0ms", 0, "0s"),
            ("250ms", 250, "250ms"),
            ("2s", 2_000, "2s"),
            ("1500ms", 1_500, "1500ms"),
            ("1m", 60_000, "1m"),
            ("90s", 90_000, "90s"),
            ("60s", 60_000, "1m"),
            ("24h", 86_400_000, "24h"),
        ] {
            let value = duration(text).unwrap();
            assert_eq!(value, Duration::from_millis(millis), "{text}");
            assert_eq!(show_duration(value), shown);
        }
        let wrong = [
            "",
            "2",
            "s",
            "2 s",
            "-1s",
            "+1s",
            "1.5s",
            "2S",
            "2sec",
            "1d",
            "25h",
            "1_000ms",
            "99999999999999999999s",
            "18446744073709551615h",
        ];
        for text in wrong {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(duration_above_zero("0s"), None);
        assert_eq!(duration_above_zero("1ms"), Some(Duration::from_millis(1)));
    }

    #[test]
    fn sizes_parse_and_print() {
        for (text, bytes, shown) in [
            ("1", 1, "1"),
            ("1000", 1000, "1000"),
            ("1024", 1024, "1KiB"),
            ("256KiB", 256 << 10, "256KiB"),
            ("64MiB", 64 << 20, "64MiB"),
            ("1GiB", 1 << 30, "1GiB"),
            ("2048MiB", 2 << 30, "2GiB"),
        ] {
            assert_eq!(size_above_zero(text), Some(bytes), "{text}");
            assert_eq!(show_size(bytes), shown);
        }
        for text in [
            "",
            "0",
            "0MiB",
            "64MB",
            "64mib",
            "64M",
            "1.5GiB",
            "-1",
            "18446744073709551615KiB",
        ] {
            assert_eq!(size_above_zero(text), None, "{text}");
        }
    }

    #[test]
    fn shares_parse_and_print() {
        for (text, millionths, shown) in [
            ("0", 0, "0"),
            ("0.0", 0, "0"),
            ("1", 1_000_000, "1"),
            ("1.0", 1_000_000, "1"),
            ("0.1", 100_000, "0.1"),
            ("0.25", 250_000, "0.25"),
            ("0.000001", 1, "0.000001"),
        ] {
            assert_eq!(share(text), Some(millionths), "{text}");
            assert_eq!(show_share(millionths), shown);
        }
        for text in [
            "",
            ".",
            ".5",
            "1.",
            "1.1",
            "2",
            "-0.1",
            "+0.1",
            "1e-1",
            "10%",
            "0.0000001",
            "nan",
        ] {
            assert_eq!(share(text), None, "{text}");
        }
        assert_eq!(share_above_zero("0.000"), None);
        assert_eq!(share_above_zero("0.000001"), Some(1));
    }

    #[test]
    fn whole_numbers_stay_in_their_range() {
        assert_eq!(whole("1", 1..=64_usize), Some(1));
        assert_eq!(whole("64", 1..=64_usize), Some(64));
        for text in [
            "0",
            "65",
            "-1",
            "+1",
            "1.0",
            "0x1",
            "two",
            "",
            "99999999999999999999",
        ] {
            assert_eq!(whole(text, 1..=64_usize), None, "{text}");
        }
        assert_eq!(whole("4294967296", 0..=u32::MAX), None);
    }
}
