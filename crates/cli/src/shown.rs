//! Text of others, as people are shown it: none of it moves their cursor, turns letters around, or passes for a line of ours.

use jobs::name::as_shown;
use std::borrow::Cow;

/// A text that may have lines, of which each begins where it is; nothing else that a terminal would obey is left.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    let plain = |line: &str| matches!(as_shown(line), Cow::Borrowed(_));
    if text.split(['\n', '\t']).all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(clean(text, "\n", "\t"))
}

/// All of it in one line.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    match as_shown(text) {
        Cow::Borrowed(text) => Cow::Borrowed(text),
        Cow::Owned(_) => Cow::Owned(clean(text, " ", " ")),
    }
}

/// The same with its lines, of which all but the first begin after `indent` blanks.
pub(crate) fn paragraph(text: &str, indent: usize) -> String {
    clean(text.trim_end(), &format!("\n{:indent$}", ""), " ")
}

/// JSON that means the same, without characters that would hide or turn around what stands beside them on a terminal. Beyond
/// ASCII there is nothing but in strings.
pub(crate) fn json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if (c.is_ascii() && c != '\u{7f}') || matches!(as_shown(c.encode_utf8(&mut [0; 4])), Cow::Borrowed(_))
        {
            shown.push(c);
        } else {
            let mut units = [0; 2];
            let units: Vec<String> =
                c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect();
            shown.push_str(&units.concat());
        }
    }
    shown
}

/// With `end` for the end of a line and `tab` for a tab; whatever else would not be seen is told by its number.
fn clean(text: &str, end: &str, tab: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let pieces = text.split_inclusive(['\n', '\t']).map(|piece| match piece.as_bytes().last() {
        Some(b'\n') => (&piece[..piece.len() - 1], end),
        Some(b'\t') => (&piece[..piece.len() - 1], tab),
        _ => (piece, ""),
    });
    pieces.flat_map(|(piece, after)| [as_shown(piece), Cow::Borrowed(after)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clears the screen, sets the title, writes to the clipboard, turns text around, and passes for a line of ours.
    const EVIL: &str =
        "a\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}1m\u{202e}b\r\nstate       completed\tü\u{2028}\u{200b}c\n";

    #[test]
    fn nothing_of_others_is_obeyed_or_passes_for_ours() {
        let hidden = r"a\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}1m\u{202e}b";
        let second = r"state       completed";
        let last = r"ü\u{2028}\u{200b}c";
        assert_eq!(line(EVIL), format!("{hidden} {second} {last} "));
        assert_eq!(lines(EVIL), format!("{hidden}\n{second}\t{last}\n"));
        assert_eq!(paragraph(EVIL, 3), format!("{hidden}\n   {second} {last}"));
    }

    #[test]
    fn what_is_plain_stays_as_it_is() {
        for text in ["", "plain ü", "主机 مضيف", "two\nlines", "a\tb"] {
            assert!(matches!(lines(text), Cow::Borrowed(shown) if shown == text), "{text:?}");
        }
        assert_eq!(line("plain ü"), "plain ü");
        assert_eq!(paragraph("one\ntwo\n\n", 2), "one\n  two");
    }

    #[test]
    fn json_turns_no_terminal_around_and_means_the_same() {
        let names = ["plain ü", "a\u{202e}b", "\u{e0001}"];
        let shown = json(&serde_json::to_string(&names).unwrap());
        assert_eq!(shown, r#"["plain ü","a\u202eb","\udb40\udc01"]"#);
        assert_eq!(serde_json::from_str::<[String; 3]>(&shown).unwrap(), names);
    }
}
