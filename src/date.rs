//! Points in time as text (pure).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second that can be formatted: `humantime` panics after it.
const END_OF_9999: Duration = Duration::from_secs(253_402_300_799);

/// Formats a time to the second in UTC, as in RFC 3339. Returns `None` before 1970 and after the
/// year 9999.
pub(crate) fn rfc3339(time: SystemTime) -> Option<String> {
    let is_date = time.duration_since(UNIX_EPOCH).is_ok_and(|since| since <= END_OF_9999);
    is_date.then(|| humantime::format_rfc3339_seconds(time).to_string())
}

/// Formats a time like [`rfc3339`], but to the millisecond.
pub(crate) fn rfc3339_millis(time: SystemTime) -> Option<String> {
    rfc3339(time).map(|_| humantime::format_rfc3339_millis(time).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_date_before_1970_and_after_the_year_9999() {
        let after = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let date = |time: Option<SystemTime>| time.and_then(rfc3339);
        assert_eq!(date(after(0)).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(date(after(253_402_300_799)).as_deref(), Some("9999-12-31T23:59:59Z"));
        for seconds in [253_402_300_800, 300_000_000_000, i64::MAX as u64, u64::MAX] {
            assert_eq!(date(after(seconds)), None, "{seconds}");
        }
        assert_eq!(date(UNIX_EPOCH.checked_sub(Duration::from_secs(1))), None);
    }
}
