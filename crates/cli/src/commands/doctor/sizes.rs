//! Numbers for people.

/// Bytes, in powers of 1024.
pub(super) fn told(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (0..UNITS.len()).rev().find(|unit| bytes >> (10 * unit) > 0).unwrap_or_default();
    let value = bytes as f64 / (1_u64 << (10 * unit)) as f64;
    let digits = usize::from(unit > 0 && value < 10.0 && value.fract() > 0.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A number of things.
pub(super) fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// What follows a number for each of several; nothing for one.
pub(super) fn each(number: u64) -> &'static str {
    if number == 1 { "" } else { " each" }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_short() {
        for (bytes, told) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (12 << 30, "12 GiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(super::told(bytes), told);
        }
    }
}
