//! Units of time and the floor arithmetic of panes.

/// Microseconds in a millisecond.
pub const MILLI_US: i64 = 1_000;
/// Microseconds in a second.
pub const SECOND_US: i64 = 1_000_000;
/// Microseconds in a minute.
pub const MINUTE_US: i64 = 60 * SECOND_US;
/// Microseconds in an hour.
pub const HOUR_US: i64 = 60 * MINUTE_US;

/// The start of the pane of `width` that holds `at`; both in the same unit. Right for times before 1970 too.
pub fn floor_to(at: i64, width: i64) -> i64 {
    at - at.rem_euclid(width)
}

/// The second that holds `at_us`, in seconds since 1970.
pub fn second_of(at_us: i64) -> i64 {
    at_us.div_euclid(SECOND_US)
}

/// RFC 3339 in UTC with six digits, the form of every timestamp Plimsoll writes.
pub fn rfc3339(at_us: i64) -> String {
    match jiff::Timestamp::from_microsecond(at_us) {
        Ok(at) => format!("{at:.6}"),
        // Outside the years -9999..9999 there is no RFC 3339; decode lets no such time in.
        Err(_) => format!("{at_us}us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_towards_the_past() {
        assert_eq!(floor_to(7_199, 3_600), 3_600);
        assert_eq!(floor_to(-1, 3_600), -3_600);
        assert_eq!(second_of(-1), -1);
    }

    #[test]
    fn writes_six_digits() {
        assert_eq!(rfc3339(1_761_876_000_000_000), "2025-10-31T02:00:00.000000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999999Z");
    }
}
