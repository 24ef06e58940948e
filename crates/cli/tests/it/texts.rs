//! `docs/texts.md` tells where each documented text is said and which test hears it: it must be there.

use std::path::{Path, PathBuf};

/// What stands in a text for what differs from case to case.
const DIFFERS: char = '…';

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A source file as its texts read: on one line, quotes as they are.
fn source(path: &str) -> String {
    let text = std::fs::read_to_string(root().join("crates").join(path));
    let text = text.unwrap_or_else(|fault| panic!("{path}: {fault}"));
    let mut joined = String::new();
    for part in text.split("\\\n") {
        joined.push_str(if joined.is_empty() { part } else { part.trim_start() });
    }
    joined.replace("\\\"", "\"")
}

/// What of a text never differs. A cause is joined to what was being done by `: `.
fn pieces(text: &str) -> Vec<&str> {
    let pieces = text.split(DIFFERS).map(|piece| piece.trim().trim_end_matches(':'));
    let pieces: Vec<&str> = pieces.filter(|piece| piece.len() > 2).collect();
    assert!(!pieces.is_empty(), "{text:?} differs from case to case in all its parts");
    pieces
}

/// The cells of a table's row that begins with a text in backticks, without them.
fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.strip_prefix("| ").filter(|row| row.starts_with('`'))?;
    Some(row.trim_end_matches(" |").split(" | ").map(|cell| cell.trim_matches('`')).collect())
}

#[test]
fn every_documented_text_is_said_and_heard_or_a_deliberate_difference() {
    let page = std::fs::read_to_string(root().join("docs/texts.md")).unwrap();
    let differences = std::fs::read_to_string(root().join("docs/differences.md")).unwrap();
    let (mut said, mut not_said) = (0, 0);
    for row in page.lines().filter_map(cells) {
        match row.as_slice() {
            [text, by, heard] => {
                for (path, what) in [(by, "says"), (heard, "hears")] {
                    let source = source(path);
                    for piece in pieces(text) {
                        assert!(source.contains(piece), "{path} no more {what} {piece:?} of {text:?}");
                    }
                }
                said += 1;
            }
            [text, _] => {
                assert!(differences.contains(&format!("`{text}`")), "no reason is given for {text:?}");
                not_said += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(said > 50 && not_said > 5, "the tables can't be read any more: {said}, {not_said}");
}
