//! JSON by hand into a reused buffer: a benchmark's feed must not be what it waits for.

use super::bad::Fault;

/// One JSON object, written field by field. A fault replaces or leaves out the field it names.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    fault: Option<Fault>,
    spaced: bool,
    first: bool,
}

impl<'a> Object<'a> {
    pub fn begin(out: &'a mut Vec<u8>, fault: Option<Fault>, spaced: bool) -> Object<'a> {
        out.push(b'{');
        Object { out, fault, spaced, first: true }
    }

    pub fn text(&mut self, name: &'static str, value: &str) {
        self.field(name, |out| {
            out.push(b'"');
            out.extend_from_slice(value.as_bytes());
            out.push(b'"');
        });
    }

    /// `units` x 10^-`digits`.
    pub fn decimal(&mut self, name: &'static str, units: i64, digits: usize) {
        self.field(name, |out| decimal(out, units, digits));
    }

    /// Writes a whole number, as `200.0` when `pointed`.
    pub fn integer(&mut self, name: &'static str, value: i64, pointed: bool) {
        self.field(name, |out| {
            decimal(out, value, 0);
            if pointed {
                out.extend_from_slice(b".0");
            }
        });
    }

    pub fn raw(&mut self, name: &'static str, value: &str) {
        self.field(name, |out| out.extend_from_slice(value.as_bytes()));
    }

    /// 128 bits as 32 hexadecimal digits.
    pub fn trace_id(&mut self, name: &'static str, bits: [u64; 2]) {
        self.field(name, |out| {
            out.push(b'"');
            for half in bits {
                for nibble in (0..16).rev() {
                    out.push(b"0123456789abcdef"[(half >> (nibble * 4)) as usize & 15]);
                }
            }
            out.push(b'"');
        });
    }

    pub fn field(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        match self.fault.take_if(|fault| fault.field == name) {
            None => {
                self.name(name);
                write(self.out);
            }
            Some(Fault { instead: Some(value), .. }) => {
                self.name(name);
                self.out.extend_from_slice(value.as_bytes());
            }
            Some(Fault { instead: None, .. }) => {}
        }
    }

    /// Closes the object; an optional field that a fault should replace, and that was absent, is added.
    pub fn end(mut self) {
        if let Some(Fault { field, instead: Some(value) }) = self.fault.take() {
            self.name(field);
            self.out.extend_from_slice(value.as_bytes());
        }
        self.out.push(b'}');
    }

    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
            if self.spaced {
                self.out.push(b' ');
            }
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        if self.spaced {
            self.out.push(b' ');
        }
    }
}

fn decimal(out: &mut Vec<u8>, units: i64, digits: usize) {
    if units < 0 {
        out.push(b'-');
    }
    let ten = 10u64.pow(digits as u32);
    whole(out, units.unsigned_abs() / ten, 1);
    if digits > 0 {
        out.push(b'.');
        whole(out, units.unsigned_abs() % ten, digits);
    }
}

/// Writes `value` with at least `width` digits (20 at most).
pub fn whole(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut text = [b'0'; 20];
    let mut start = text.len();
    while value > 0 {
        start -= 1;
        text[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&text[start.min(text.len() - width)..]);
}

/// RFC 3339 with quotes. `digits` behind the second (0 to 9), `nanos` those beyond the microsecond; UTC without an
/// offset is `Z`.
pub fn timestamp(out: &mut Vec<u8>, at_us: i64, nanos: u32, digits: usize, offset_minutes: Option<i64>) {
    let local_us = at_us + offset_minutes.unwrap_or(0) * 60_000_000;
    let (day, of_day_us) = (local_us.div_euclid(86_400_000_000), local_us.rem_euclid(86_400_000_000) as u64);
    let (year, month, day_of_month) = civil(day);
    out.push(b'"');
    let seconds = of_day_us / 1_000_000;
    let parts = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day_of_month, 2, b'T'),
        (seconds / 3600, 2, b':'),
        (seconds / 60 % 60, 2, b':'),
    ];
    for (part, width, behind) in parts {
        whole(out, part, width);
        out.push(behind);
    }
    whole(out, seconds % 60, 2);
    if digits > 0 {
        let fraction = of_day_us % 1_000_000 * 1_000 + u64::from(nanos);
        out.push(b'.');
        whole(out, fraction / 10u64.pow(9 - digits as u32), digits);
    }
    match offset_minutes {
        None => out.push(b'Z'),
        Some(minutes) => {
            out.push(if minutes < 0 { b'-' } else { b'+' });
            whole(out, minutes.unsigned_abs() / 60, 2);
            out.push(b':');
            whole(out, minutes.unsigned_abs() % 60, 2);
        }
    }
    out.push(b'"');
}

/// Year, month and day of a day since 1970, from 1970 on (Howard Hinnant's algorithm, years from March).
fn civil(day: i64) -> (u64, u64, u64) {
    let shifted = (day + 719_468).max(0) as u64;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + shifted / 146_097 * 400 + u64::from(month <= 2);
    (year, month, of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_read_back_as_they_were() {
        for at_us in [0, 951_826_154_999_999, 1_761_876_000_000_001, 4_070_908_799_999_999] {
            for offset in [None, Some(0), Some(120), Some(-300), Some(330)] {
                for digits in [6, 7, 9] {
                    let mut out = Vec::new();
                    timestamp(&mut out, at_us, 987, digits, offset);
                    let text = std::str::from_utf8(&out).unwrap().trim_matches('"');
                    let read: jiff::Timestamp = text.parse().unwrap();
                    assert_eq!(read.as_nanosecond().div_euclid(1_000), i128::from(at_us), "{text}");
                }
            }
        }
    }

    #[test]
    fn decimals_keep_their_digits() {
        let write = |units, digits| {
            let mut out = Vec::new();
            decimal(&mut out, units, digits);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            [write(5, 3), write(-1_250, 2), write(0, 0), write(1_000, 3)],
            ["0.005", "-12.50", "0", "1.000"]
        );
    }
}
