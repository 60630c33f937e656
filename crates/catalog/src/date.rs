use chrono::DateTime;

/// Microseconds since the Unix epoch of an RFC 3339 date; `None` for what is none, and for dates
/// before the epoch.
pub fn date_micros(text: &str) -> Option<u64> {
    let date = DateTime::parse_from_rfc3339(text).ok()?;
    u64::try_from(date.timestamp_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_any_zone() {
        for text in ["1970-01-01T00:00:01Z", "1970-01-01T01:00:01.000+01:00"] {
            assert_eq!(date_micros(text), Some(1_000_000), "{text}");
        }
        for text in ["", "yesterday", "1970-01-01", "1969-12-31T23:59:59Z"] {
            assert_eq!(date_micros(text), None, "{text}");
        }
    }
}
