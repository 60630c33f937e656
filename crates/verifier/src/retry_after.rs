//! How long somebody who answers wants to be left alone (RFC 9110, section 10.2.3).

use std::time::{Duration, UNIX_EPOCH};

use http::{
    HeaderMap, HeaderName,
    header::{DATE, RETRY_AFTER},
};

/// Reads `Retry-After`: seconds, or a date. A date is compared with that of the same answer, which is
/// by the same clock, and with `now`, a time since the Unix epoch, if there is none.
pub(crate) fn retry_after(headers: &HeaderMap, now: Duration) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = date_of(headers, &RETRY_AFTER)?;
    let from = date_of(headers, &DATE).unwrap_or(now.as_secs());
    Some(Duration::from_secs(until.saturating_sub(from)))
}

/// Reads a header that holds a date, in each of the three forms that HTTP knows (RFC 9110, section
/// 5.6.7), in seconds since the Unix epoch.
pub(crate) fn date_of(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT
    const NOW: u64 = 784_111_777;

    #[test]
    fn seconds_and_dates_are_read() {
        for (retry_after, date, seconds) in [
            ("0", None, Some(0)),
            ("120", None, Some(120)),
            (" 120 ", None, Some(120)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", None, Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", None, Some(60)),
            ("Sun Nov  6 08:50:37 1994", None, Some(60)),
            ("Sun, 06 Nov 1994 08:40:00 GMT", None, Some(0)),
            // By the clock of who answers: this machine's is an hour slow.
            (
                "Sun, 06 Nov 1994 09:49:47 GMT",
                Some("Sun, 06 Nov 1994 09:49:37 GMT"),
                Some(10),
            ),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some("yesterday"), Some(60)),
            ("-1", None, None),
            ("1.5", None, None),
            ("soon", None, None),
            ("", None, None),
            ("99999999999999999999999", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            assert_eq!(
                super::retry_after(&headers, Duration::from_secs(NOW)),
                seconds.map(Duration::from_secs),
                "{retry_after:?}, {date:?}"
            );
        }
        assert_eq!(super::retry_after(&HeaderMap::new(), Duration::ZERO), None);
    }
}
