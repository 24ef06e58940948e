//! For executors that look for the text they were told and for nothing else.

use super::forms::{COMPONENT, SHORTEST_FRAGMENT};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::percent_encode;
use std::collections::BTreeSet;

/// The texts that stand for a secret in a log, as far as few of them can: as it is, percent-encoded, and quoted for JSON,
/// the same for each of its lines, since a log puts something before each and whoever replaces the first in a text must
/// find the others, and in base64 at each alignment. Empty for an empty secret.
pub fn spelled_out(secret: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    if !secret.is_empty() {
        forms.insert(secret.to_owned());
    }
    if secret.len() < SHORTEST_FRAGMENT {
        return forms;
    }
    let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_FRAGMENT);
    for text in lines.chain([secret]) {
        let quoted = serde_json::Value::from(text).to_string();
        forms.insert(quoted[1..quoted.len() - 1].to_owned());
        forms.insert(percent_encode(text.as_bytes(), COMPONENT).to_string());
        forms.insert(text.to_owned());
    }
    for before in 0..3_usize {
        let text = [&[0; 3][..before], secret.as_bytes()].concat();
        let (first, last) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
        let encoded = STANDARD_NO_PAD.encode(&text);
        forms.extend((last >= first + SHORTEST_FRAGMENT).then(|| encoded[first..last].to_owned()));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_replaces_these_leaves_nothing_of_the_secret() {
        let secret = "first & line\nsecond \"line\"";
        let forms = spelled_out(secret);
        let replaced = |text: String, form: &String| text.replace(form.as_str(), "***");
        let base64 = |text: &str| STANDARD_NO_PAD.encode(text);
        for text in [
            secret,
            "stdout: first & line\nstdout: second \"line\"\n",
            &base64(secret),
            &base64(&format!("u:{secret}")),
            &base64(&format!("us:{secret}\n")),
            "first%20%26%20line%0Asecond%20%22line%22",
            r#"{"key":"first & line\nsecond \"line\""}"#,
        ] {
            // Of two that begin at one place, either may be the one that is found.
            let (shortest_first, longest_first) = (forms.iter(), forms.iter().rev());
            let ways = [
                shortest_first.fold(text.to_owned(), replaced),
                longest_first.fold(text.to_owned(), replaced),
            ];
            for shown in ways {
                let left = shown.contains("line") || shown.contains("Zmlyc3Q") || shown.contains("c2Vjb25k");
                assert!(shown.contains("***") && !left, "{shown}");
            }
        }
        assert_eq!(spelled_out("short").len(), 1);
        assert!(spelled_out("").is_empty());
    }
}
