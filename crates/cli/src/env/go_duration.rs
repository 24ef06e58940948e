//! Durations as Go writes them, and days.

use std::time::Duration;

const UNITS: [(&str, f64); 9] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3_600.0),
    // Go has none of these, and people count in them.
    ("d", 86_400.0),
];

/// What fits into 64 bits of nanoseconds: 292 years.
const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);

/// `300ms`, `1.5h`, `2h45m`, `7d`, or plain `0`. A unit is needed otherwise. None may be negative.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() || rest.starts_with('-') {
        return Err("it must be a duration such as 300ms, 1.5h, 2h45m or 7d, and not negative".to_owned());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let number: f64 = number.parse().map_err(|_| format!("{number:?} is not a number"))?;
        let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| scale);
        let scale = scale.ok_or_else(|| match unit {
            "" => "a unit is missing: use ns, us, ms, s, m, h or d".to_owned(),
            _ => format!("unknown unit {unit:?}: use ns, us, ms, s, m, h or d"),
        })?;
        seconds += number * scale;
        rest = next;
    }
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= LONGEST);
    duration.ok_or_else(|| "it is longer than 2562047h, which is 292 years: name less".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("300ms", 300),
            ("1.5h", 5_400_000),
            ("2h45m", 9_900_000),
            ("7d", 604_800_000),
            ("1d12h", 129_600_000),
            ("1m0.5s", 60_500),
            ("+1.s", 1_000),
            (".5m", 30_000),
            ("2500us", 2),
            ("2500µs", 2),
        ] {
            assert_eq!(parse(text).map(|duration| duration.as_millis()), Ok(millis), "{text}");
        }
        for bad in ["", "5", "s", "1x", "-1s", "1.2.3s", "1 s", ".s", "1h2", "s5", "292471y", "2600000h"] {
            assert!(parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
