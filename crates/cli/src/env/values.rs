//! Whole numbers and truth values.

/// Base 10, 64 bits.
pub(super) fn parse_int(text: &str) -> Result<i64, String> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.parse::<i64>().map_err(|fault| match fault.kind() {
        PosOverflow | NegOverflow => "it does not fit into 64 bits".to_owned(),
        _ => "it must be a whole number, such as 4".to_owned(),
    })
}

pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("it must be true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_of_base_10_and_64_bits() {
        for (text, value) in [("0", 0), ("-1", -1), ("+4", 4), ("007", 7), ("9223372036854775807", i64::MAX)]
        {
            assert_eq!(parse_int(text), Ok(value), "{text}");
        }
        for bad in ["", " 4", "4 ", "4.0", "0x10", "1_000", "many", "--1"] {
            assert_eq!(parse_int(bad).unwrap_err(), "it must be a whole number, such as 4", "{bad:?}");
        }
        for bad in ["9223372036854775808", "-9223372036854775809"] {
            assert_eq!(parse_int(bad).unwrap_err(), "it does not fit into 64 bits", "{bad}");
        }
    }

    #[test]
    fn twelve_words_are_truth_values_and_no_other() {
        for (words, value) in [
            (["1", "t", "T", "TRUE", "true", "True"], true),
            (["0", "f", "F", "FALSE", "false", "False"], false),
        ] {
            for word in words {
                assert_eq!(parse_bool(word), Ok(value), "{word}");
            }
        }
        for bad in ["", "yes", "no", "on", "tRUE", "2", " true"] {
            assert!(parse_bool(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
