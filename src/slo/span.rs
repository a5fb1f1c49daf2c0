//! Seconds and sizes as people read them.

use crate::decode::number::written;

const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];

/// The two largest units that matter: `45 s`, `4 min 20 s`, `6 h`, `1 d 2 h`. Never rounded up.
pub fn span(seconds: i64) -> String {
    let mut left = seconds.max(0);
    let mut parts = Vec::new();
    for (length, unit) in UNITS {
        let count = left / length;
        left %= length;
        if count > 0 {
            parts.push(format!("{count} {unit}"));
        }
    }
    match parts.is_empty() {
        true => "0 s".into(),
        false => parts[..parts.len().min(2)].join(" "),
    }
}

/// 1 KB is 1024 bytes.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KB", bytes / 1_024),
        1_048_576..10_737_418_240 => format!("{} MB", bytes / 1_048_576),
        _ => format!("{} GB", bytes / 1_073_741_824),
    }
}

/// Billionths of one as a decimal: `14.4`, `0.05`.
pub fn decimal(billionths: i64) -> String {
    written(billionths, 9)
}

/// Billionths of one as a share: `5 %`, `0.1 %`.
pub fn percent(billionths: i64) -> String {
    format!("{} %", written(billionths, 7))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        let spans = [0, 45, 260, 21_600, 93_600, 259_200, 88_000].map(span);
        assert_eq!(spans, ["0 s", "45 s", "4 min 20 s", "6 h", "1 d 2 h", "3 d", "1 d 26 min"]);
        assert_eq!([decimal(14_400_000_000), decimal(10_000_000_000)], ["14.4", "10"]);
        assert_eq!(
            [percent(1_000_000), percent(50_000_000), percent(999_000_000)],
            ["0.1 %", "5 %", "99.9 %"]
        );
        assert_eq!([size(900), size(200_000), size(100 << 20)], ["900 B", "195 KB", "100 MB"]);
    }
}
