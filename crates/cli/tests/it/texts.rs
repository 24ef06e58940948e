//! `docs/texts.md` tells where each documented text is said and which test hears it: it must be there. And whoever
//! reads of a deliberate difference in `docs/differences.md` is told why.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What stands in a text for what differs from case to case.
const DIFFERS: char = '…';
/// What a module of tests begins with.
const TESTS: &str = "#[cfg(test)]\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// A source file, as its texts read, in two parts: the program and its tests.
struct Source {
    says: String,
    hears: String,
}

impl Source {
    fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(root().join("crates").join(path));
        Self::of(path, &text.unwrap_or_else(|fault| panic!("{path}: {fault}")))
    }

    /// The part of a file that is not there is empty.
    fn of(path: &str, text: &str) -> Self {
        let (says, hears) = match text.split_once(TESTS) {
            _ if path.contains("/tests/") || path.ends_with("/tests.rs") => ("", text),
            Some((says, tests)) if tests.starts_with("mod tests {") => (says, tests),
            _ => (text, ""),
        };
        Self { says: filled(&joined(says)), hears: joined(hears) }
    }
}

/// On one line what goes on in the next, quotes as they are, and no comments.
fn joined(text: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let text: Vec<&str> = text.lines().filter(is_code).collect();
    let mut joined = String::new();
    for part in text.join("\n").split("\\\n") {
        joined.push_str(if joined.is_empty() { part } else { part.trim_start() });
    }
    joined.replace("\\\"", "\"")
}

/// With the file's own constants where a text names them, and quotes around what is told with `:?`.
fn filled(text: &str) -> String {
    let mut filled = String::new();
    for (index, part) in text.split('{').enumerate() {
        match part.split_once(":?}") {
            Some((name, after)) if !name.contains('}') => write!(filled, "\"{name}\"{after}").unwrap(),
            _ if index == 0 => filled.push_str(part),
            _ => write!(filled, "{{{part}").unwrap(),
        }
    }
    let constant = |line| str::split_once(line, "const ").filter(|(before, _)| VISIBLE.contains(before));
    for (_, line) in text.lines().filter_map(constant) {
        if let Some((name, value)) = line.split_once(": &str = \"") {
            filled = filled.replace(&format!("{{{name}}}"), value.trim_end_matches("\";"));
        }
    }
    filled
}

/// What a constant begins with, by who sees it.
const VISIBLE: [&str; 3] = ["", "pub(super) ", "pub(crate) "];
/// Letters by which a text is told from others.
const TELLING: usize = 8;
/// Those that have fewer. Who hears them was looked at: it hears more of the line.
const SHORT: [&str; 2] = ["Wrote … in …", "Removing …"];
/// What values can be, which the program puts into one text.
const KINDS: [&str; 3] = ["int", "bool", "duration"];

/// The text as the program has it, which puts the kind of a value into it.
fn of_any_kind(text: &str) -> String {
    let kind = KINDS.iter().find(|kind| text.starts_with(&format!("invalid {kind} \"")));
    kind.map_or_else(|| text.to_owned(), |kind| text.replacen(kind, "…", 1))
}

/// What of a text never differs. A cause is joined to what was being done by `: `.
fn pieces(text: &str) -> Vec<&str> {
    let pieces = text.split(DIFFERS).map(|piece| piece.trim().trim_end_matches(':'));
    let pieces: Vec<&str> = pieces.filter(|piece| piece.len() > 2).collect();
    assert!(!pieces.is_empty(), "{text:?} differs from case to case in all its parts");
    pieces
}

/// The cells of a table's row.
fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(row.split('|').map(str::trim).collect())
}

/// The cells of a row that begins with a text in backticks, without them.
fn texts(line: &str) -> Option<Vec<&str>> {
    let cells = cells(line).filter(|cells| cells[0].starts_with('`'))?;
    Some(cells.into_iter().map(|cell| cell.trim_matches('`')).collect())
}

#[test]
fn every_documented_text_is_said_and_heard_or_a_deliberate_difference() {
    let differences = page("differences.md");
    let (mut said, mut not_said) = (0, 0);
    for row in page("texts.md").lines().filter_map(texts) {
        match row.as_slice() {
            [text, by, heard] => {
                let (says, hears) = (Source::read(by).says, Source::read(heard).hears);
                let telling = pieces(text).iter().any(|piece| piece.len() > TELLING);
                assert!(telling || SHORT.contains(text), "a test hears anything as {text:?}");
                for piece in pieces(&of_any_kind(text)) {
                    assert!(says.contains(piece), "{by} no more says {piece:?} of {text:?}");
                }
                for piece in pieces(text) {
                    assert!(hears.contains(piece), "no test in {heard} hears {piece:?} of {text:?}");
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
    assert!(said > 65 && not_said > 10, "the tables can't be read any more: {said}, {not_said}");
}

/// Else a constant would be said and heard by itself.
#[test]
fn a_program_does_not_hear_itself() {
    let text = "pub(super) const WHO: &str = \"me\";\n// a note\nfn f() { g(\"it was {WHO} and {name:?}, \\\n    too\") }\n";
    let program = Source::of("cli/src/a.rs", text);
    assert!(program.says.contains("it was me and \"name\", too"), "{}", program.says);
    assert!(!program.says.contains("note"));
    assert_eq!(program.hears, "");
    let both = Source::of("cli/src/a.rs", &format!("{text}{TESTS}mod tests {{\n    \"heard\"\n}}\n"));
    assert!(both.hears.contains("heard") && !both.hears.contains("it was"), "{}", both.hears);
    assert!(!both.says.contains("heard"), "{}", both.says);
    for tests in ["cli/tests/it/a.rs", "cli/src/a/tests.rs"] {
        let source = Source::of(tests, text);
        assert!(source.says.is_empty() && source.hears.contains("it was"), "{tests}");
    }
}

/// What a reason says besides where more is told.
fn told(reason: &str) -> String {
    reason.split('[').map(|part| part.split_once(')').map_or(part, |(_, after)| after)).collect()
}

#[test]
fn every_deliberate_difference_has_its_reason() {
    assert_eq!(told("[a](b)"), "");
    assert_eq!(told("so it is; [a](b)"), "so it is; ");
    let mut rows = 0;
    for row in page("differences.md").lines().filter_map(cells) {
        let [what, _, ours, reason] = row.as_slice() else { panic!("{row:?}") };
        if *what == "what" || what.starts_with("--") {
            continue;
        }
        let words = told(reason).split_whitespace().count();
        assert!(
            !what.is_empty() && !ours.is_empty() && words > 1,
            "{what}: {ours}: its reason is {reason:?}"
        );
        rows += 1;
    }
    assert!(rows > 100, "the tables can't be read any more: {rows}");
}
