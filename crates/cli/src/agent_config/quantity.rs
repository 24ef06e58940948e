//! Kubernetes quantities: `500m`, `12Gi`, `1e3`.

const SUFFIXES: [&str; 16] =
    ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// Whether `text` is a quantity that is not negative.
pub(super) fn check(text: &str) -> Result<(), String> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned.starts_with('-') {
        return Err("it may not be negative".to_owned());
    }
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let is_number = number.bytes().any(|byte| byte.is_ascii_digit())
        && number.bytes().filter(|byte| *byte == b'.').count() <= 1;
    if !is_number {
        return Err("it must be a Kubernetes quantity, such as 500m or 12Gi".to_owned());
    }
    if SUFFIXES.contains(&suffix) || is_exponent(suffix) {
        return Ok(());
    }
    Err(format!("unknown suffix {suffix:?}: a Kubernetes quantity is such as 500m or 12Gi"))
}

fn is_exponent(suffix: &str) -> bool {
    let Some(exponent) = suffix.strip_prefix(['e', 'E']) else { return false };
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_numbers_with_known_suffixes() {
        for good in ["0", "1", "500m", "0.5", ".5", "5.", "12Gi", "12G", "1e3", "1E-2", "2E", "3Ei", "+4k"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "-1", "Gi", "12GiB", "12 Gi", "1.2.3", "12gi", "many", "1e", "0x1", "12K"] {
            assert!(check(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
