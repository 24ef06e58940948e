//! Text that others chose, so that it can't make other text look different.
//!
//! HTML is nothing to it: all text is escaped. What is left are control characters, and those that turn the direction
//! of text or take no room: each is shown as its number.

use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character changes how others are shown, or is not seen itself.
pub(crate) fn is_unseen(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    turns || matches!(c, '\u{ad}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text as it may be shown; lines and tabs stay.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let stays = |c: char| c == '\n' || c == '\t' || !(c.is_control() || is_unseen(c));
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if stays(c) { shown.push(c) } else { number(c, &mut shown) }
    }
    Cow::Owned(shown)
}

/// A character's number in place of it.
pub(super) fn number(c: char, out: &mut String) {
    // A String takes whatever is written.
    let _ = write!(out, "\u{ab}U+{:04X}\u{bb}", u32::from(c));
}

/// The same of every string in it.
pub(super) fn plain_value(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(shown) = plain(text) {
                *text = shown;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain_value),
        Value::Object(fields) => fields.values_mut().for_each(plain_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_shown_and_all_else_stays() {
        for same in ["plain", "two\nlines\tand a tab", "ännchen 漢字 עברית 🎉", "<b>&amp;</b>"] {
            assert_eq!(plain(same), same);
        }
        for (text, shown) in [
            ("a\u{202e}b", "a«U+202E»b"),
            ("\u{2066}\u{2069}\u{200f}\u{61c}", "«U+2066»«U+2069»«U+200F»«U+061C»"),
            ("zero\u{200b}width\u{feff}", "zero«U+200B»width«U+FEFF»"),
            ("\u{1b}]0;title\u{7}", "«U+001B»]0;title«U+0007»"),
            ("\r\u{0}\u{9b}", "«U+000D»«U+0000»«U+009B»"),
            ("\u{2028}", "«U+2028»"),
            ("tag\u{e0041}", "tag«U+E0041»"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }

    #[test]
    fn every_string_of_a_value_is_made_plain() {
        let mut value = serde_json::json!({"a": ["x\u{202e}", {"b": "\u{1b}"}], "n": 1, "z": null});
        plain_value(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["x«U+202E»", {"b": "«U+001B»"}], "n": 1, "z": null}));
    }
}
