/// 9999-12-31T23:59:59.999999Z: four digits end there.
const LATEST_MICROS: u64 = 253_402_300_799_999_999;
const MICROS: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;
/// From the first day of the year 0 (proleptic Gregorian) to that of 1970.
const EPOCH_DAYS: i64 = 719_528;

/// Microseconds since the Unix epoch of an RFC 3339 date; `None` for what is none. Dates before the
/// epoch are taken for it: Go's programs write 0001-01-01T00:00:00Z where they have none.
pub fn date_micros(text: &str) -> Option<u64> {
    let (text, rest) = text.split_at_checked(19)?;
    let field = |from, to| number(text.get(from..to)?);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let has = |place: usize, signs: &[u8]| {
        text.as_bytes()
            .get(place)
            .is_some_and(|byte| signs.contains(byte))
    };
    let is_date = has(4, b"-")
        && has(7, b"-")
        && has(10, b"Tt ")
        && has(13, b":")
        && has(16, b":")
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        // A leap second.
        && second <= 60;
    if !is_date {
        return None;
    }
    let (micros, zone) = fraction_micros(rest)?;
    let days = days_before(year, month) + day - 1 - EPOCH_DAYS;
    let seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second - zone_seconds(zone)?;
    u64::try_from((seconds * MICROS + micros).max(0)).ok()
}

/// Why a text is not a date of a query.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DateError {
    /// It is a date, or a date and a time, that could be that of any time zone.
    #[error(
        "has no time zone; write it in full, as 2025-08-07T13:15:04Z or 2025-08-07T13:15:04+02:00"
    )]
    NoZone,
    /// It is none.
    #[error("is not an RFC 3339 date such as 2025-08-07T13:15:04Z")]
    NoDate,
}

/// Reads an RFC 3339 date from the query of a URL, in microseconds since the Unix epoch. A plus that is
/// not percent-encoded arrives there as a space.
pub fn query_date(text: &str) -> Result<u64, DateError> {
    const SECONDS_END: usize = 19;
    let with_plus = match text.rsplit_once(' ') {
        Some((date, zone)) if date.len() >= SECONDS_END => Some(format!("{date}+{zone}")),
        _ => None,
    };
    date_micros(with_plus.as_deref().unwrap_or(text)).ok_or_else(|| {
        let has_no_zone = ["Z", ":00Z", "T00:00:00Z"]
            .iter()
            .any(|rest| date_micros(&format!("{text}{rest}")).is_some());
        if has_no_zone {
            DateError::NoZone
        } else {
            DateError::NoDate
        }
    })
}

/// The microsecond at which a day of UTC begins, and the one at which the next does, since the Unix epoch; `None` for
/// what is not written like 2026-11-01.
pub fn day_micros(text: &str) -> Option<(u64, u64)> {
    let at = |time: &str| {
        (text.len() == 10)
            .then(|| date_micros(&format!("{text}T{time}Z")))
            .flatten()
    };
    Some((at("00:00:00")?, at("23:59:59.999999")? + 1))
}

/// The date as registries show it: RFC 3339 in UTC, to the microsecond, without zeros at the end of
/// a fraction, so that the date of a mirrored version reads as it does upstream.
pub fn format_date(micros: u64) -> String {
    let micros = i64::try_from(micros.min(LATEST_MICROS)).unwrap_or_default();
    let (seconds, fraction) = (micros / MICROS, micros % MICROS);
    let days = seconds / DAY_SECONDS + EPOCH_DAYS;
    // By the average year, less one: late in a leap year the average has come to the next already.
    let mut year = days * 400 / 146_097 - 1;
    while days_before(year + 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days_before(year, month + 1) <= days {
        month += 1;
    }
    let day = days - days_before(year, month) + 1;
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let text =
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}");
    format!("{}Z", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Takes the fraction of a second off; digits beyond microseconds don't count.
fn fraction_micros(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let zone = rest.trim_start_matches(|char: char| char.is_ascii_digit());
    let digits = rest
        .strip_suffix(zone)
        .filter(|digits| !digits.is_empty())?;
    let micros: String = digits.chars().chain("00000".chars()).take(6).collect();
    Some((number(&micros)?, zone))
}

fn zone_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let seconds = (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)?;
    match zone.get(..1)? {
        "+" => Some(seconds),
        "-" => Some(-seconds),
        _ => None,
    }
}

fn number(digits: &str) -> Option<i64> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok())?
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the first of the year 0 to the first of a month.
fn days_before(year: i64, month: i64) -> i64 {
    // The year 0 is a leap year.
    let leap_days = (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    let months: i64 = (1..month).map(|month| days_of_month(year, month)).sum();
    year * 365 + leap_days + months
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, SecondsFormat};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_read_in_any_zone() {
        for text in [
            "1970-01-01T00:00:01Z",
            "1970-01-01T01:00:01.000+01:00",
            "1970-01-01t00:00:01z",
            "1969-12-31T23:00:01-01:00",
        ] {
            assert_eq!(date_micros(text), Some(1_000_000), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "1970-01-01",
            "1970-01-01T00:00:01",
            "1970-01-01T00:00:01.Z",
            "1970-01-01T00:00:01.5",
            "1970-01-01T00:00:01+0100",
            "1970-01-01T00:00:01 01:00",
            "1970-01-01T00:00:01Zz",
            "1970-13-01T00:00:01Z",
            "1970-02-29T00:00:01Z",
            "1970-01-01T24:00:01Z",
            "+970-01-01T00:00:01Z",
            "1970-01-01T00:00:0\u{661}Z",
        ] {
            assert_eq!(date_micros(text), None, "{text}");
        }
        for text in [
            "1970-01-01T00:00:00Z",
            "1970-01-01T00:00:00+01:00",
            "1969-12-31T23:59:59.5Z",
            "0001-01-01T00:00:00Z",
            "0000-01-01T00:00:00+23:59",
        ] {
            assert_eq!(date_micros(text), Some(0), "{text}");
        }
    }

    #[test]
    fn a_plus_may_arrive_in_a_query_as_a_space() {
        let noon = date_micros("2025-08-07T13:15:04+00:00");
        for text in [
            "2025-08-07T13:15:04 00:00",
            "2025-08-07T13:15:04+00:00",
            "2025-08-07 13:15:04 00:00",
            "2025-08-07T15:15:04.000000 02:00",
            "2025-08-07T11:15:04-02:00",
            "2025-08-07T13:15:04Z",
        ] {
            assert_eq!(query_date(text).ok(), noon, "{text}");
        }
        for text in [
            "2025-08-07",
            "2025-08-07T13:15",
            "2025-08-07T13:15:04",
            "2025-08-07 13:15:04",
            "2025-08-07T13:15:04.28",
        ] {
            assert_eq!(query_date(text), Err(DateError::NoZone), "{text}");
        }
        for text in [
            "",
            " ",
            "yesterday",
            "2025-13-07",
            "2025-08-07T13:15:04 ",
            "2025-08-07T13:15:04 Z",
            "2025-08-07T13:15:04  00:00",
            "2025-08-07T13:15:04 0000",
        ] {
            assert_eq!(query_date(text), Err(DateError::NoDate), "{text:?}");
        }
    }

    #[test]
    fn a_day_begins_and_ends_in_utc() {
        let begins = date_micros("2026-11-01T00:00:00Z").unwrap();
        let ends = date_micros("2026-11-02T00:00:00Z").unwrap();
        assert_eq!(day_micros("2026-11-01"), Some((begins, ends)));
        for text in [
            "",
            "2026-11-1",
            "2026-11-31",
            "2026-11-01T",
            "2026-11-01Z",
            "2026/11/01",
            "20261101  ",
            "2026-11-0\u{661}",
        ] {
            assert_eq!(day_micros(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_shown_without_zeros_at_the_end() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_764_780_312_148_830, "2025-12-03T16:45:12.14883Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            // More leap years were before it than there are on the average.
            (2_240_524_800_000_000, "2040-12-31T00:00:00Z"),
            (u64::MAX, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(format_date(micros), text);
        }
    }

    proptest! {
        #[test]
        fn shown_dates_are_those_of_the_calendar(micros in 0..=LATEST_MICROS) {
            let text = format_date(micros);
            let date = DateTime::parse_from_rfc3339(&text).unwrap();
            prop_assert_eq!(u64::try_from(date.timestamp_micros()).unwrap(), micros);
            prop_assert_eq!(date_micros(&text), Some(micros));
        }

        #[test]
        fn dates_are_read_as_others_read_them(
            micros in 0..=LATEST_MICROS / 2,
            zone in -86_340..86_340_i32,
            format in prop_oneof![
                Just(SecondsFormat::Secs), Just(SecondsFormat::Millis), Just(SecondsFormat::Nanos)
            ],
        ) {
            let zone = chrono::FixedOffset::east_opt(zone / 60 * 60).unwrap();
            let date = DateTime::from_timestamp_micros(i64::try_from(micros).unwrap()).unwrap();
            let text = date.with_timezone(&zone).to_rfc3339_opts(format, false);
            let read = DateTime::parse_from_rfc3339(&text).unwrap();
            prop_assert_eq!(date_micros(&text), u64::try_from(read.timestamp_micros()).ok());
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,40}|[0-9:.TZ+-]{0,40}") {
            let _ = date_micros(&text);
        }
    }
}
