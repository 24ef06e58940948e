//! Sizes in bytes, with suffixes in powers of 1024.

/// `512M`, `12G`, `1.5T`, `20GB`, `20GiB`, `20Gi`, or plain bytes. The error says what is wrong.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (given, suffix) = (suffix.trim(), suffix.trim().to_ascii_uppercase());
    // Engines of the documented time and clusters write `Gi`.
    let letter = ["IB", "B", "I"].iter().find_map(|end| suffix.strip_suffix(end)).unwrap_or(&suffix);
    if letter.is_empty() && suffix.contains('I') {
        return Err(unknown(given));
    }
    let power = match letter {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        _ => return Err(unknown(given)),
    };
    let number: f64 =
        number.parse().map_err(|_| "it must be a number with a suffix, such as 12G".to_owned())?;
    let bytes = number * 1024_f64.powi(power);
    if bytes < 2_f64.powi(63) { Ok(bytes as u64) } else { Err("it is too large".to_owned()) }
}

/// Bytes for people, in powers of 1024: `12 GiB`.
pub fn shown_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (0..UNITS.len()).rev().find(|unit| bytes >> (10 * unit) > 0).unwrap_or_default();
    let value = bytes as f64 / (1_u64 << (10 * unit)) as f64;
    let digits = usize::from(unit > 0 && value < 10.0 && value.fract() > 0.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Two amounts that are compared: to the byte where they would look the same, or nearly so.
pub(crate) fn compared(one: u64, other: u64) -> (String, String) {
    const NEAR: u64 = 100;
    if one.abs_diff(other) < one.max(other) / NEAR && one != other {
        return (format!("{one} bytes"), format!("{other} bytes"));
    }
    (shown_size(one), shown_size(other))
}

fn unknown(suffix: &str) -> String {
    format!("unknown suffix {suffix:?}: use K, M, G, T or P")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1K", 1 << 10),
            ("512m", 512 << 20),
            ("12G", 12 << 30),
            ("20GB", 20 << 30),
            ("20GiB", 20 << 30),
            ("20Gi", 20 << 30),
            ("512mi", 512 << 20),
            ("12 g", 12 << 30),
            ("1.5T", 3 << 39),
            ("2p", 2 << 50),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "G", "12X", "12i", "12iB", "-1G", "1..2G", "99999999999T"] {
            assert!(parse_size(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(parse_size("4abc").unwrap_err(), "unknown suffix \"abc\": use K, M, G, T or P");
    }

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
            assert_eq!(shown_size(bytes), told);
        }
        assert_eq!(compared(8 << 30, 4 << 30), ("8 GiB".to_owned(), "4 GiB".to_owned()));
        assert_eq!(compared((8 << 30) - 1, 8 << 30).0, "8589934591 bytes");
    }
}
