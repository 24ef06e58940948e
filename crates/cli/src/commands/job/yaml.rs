//! What is wrong with a job file, in our own words: the YAML library speaks to programmers.

use serde_saphyr::Error;

/// The fault and its place, in one line.
pub(super) fn fault(error: &Error) -> String {
    let error = error.without_snippet();
    let place = error
        .location()
        .map_or_else(String::new, |at| format!("line {} column {}: ", at.line(), at.column()));
    // A name may have been made of anything.
    format!("{place}{}", what(error)).replace(char::is_control, " ")
}

fn what(error: &Error) -> String {
    match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key {key:?} is there twice: keep one")
        }
        Error::DuplicateMappingKey { .. } => "a key is there twice: keep one".to_owned(),
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("there is no key {field:?} here: use one of {}", expected.join(", "))
        }
        Error::SerdeMissingField { field, .. } => format!("the key {field} is missing: add it"),
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("{unexpected} can't be here: write {expected}")
        }
        Error::Eof { .. } => "the file ends before it is complete: close what is open".to_owned(),
        Error::MultipleDocuments { .. } => "the file holds several documents: keep one".to_owned(),
        Error::UnknownAnchor { .. } => {
            "an alias (*name) names no anchor (&name): name one that is above it".to_owned()
        }
        Error::NullIntoString { .. } => "a text is missing here: write one, \"\" for an empty one".to_owned(),
        Error::Unexpected { expected, .. } => {
            format!("something else must be here: {}", in_plain_words(expected))
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. } => {
            "the file is too large, too deep or expands too far: make it simpler".to_owned()
        }
        _ => "this is no YAML that a job file can hold: see the indentation and the quotes around here"
            .to_owned(),
    }
}

/// What a parser wants, as those say it who write such files.
fn in_plain_words(wanted: &str) -> &str {
    match wanted {
        "string scalar" | "scalar" | "value" => "one text, in quotes if it begins with a sign such as [ or {",
        "sequence start" => "a list, each item after a dash",
        "mapping start" => "keys with their values, `key: value`",
        other => other,
    }
}
