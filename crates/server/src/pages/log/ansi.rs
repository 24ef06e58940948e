//! A line that a job printed, as text in colours.
//!
//! Of all that terminals understand, colours and weights are kept (SGR), as classes out of a closed set. Everything else is
//! left out: a line can't move, hide or change another one, whatever is in it. Each line begins without any.

use crate::pages::plain::{is_unseen, number};
use serde::Serialize;

/// Characters of a sequence at most: what is longer is none.
const LONGEST_SEQUENCE: usize = 64;

/// Text that looks alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Run(pub(super) String, pub(super) String);

/// How text looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    foreground: Option<u8>,
    background: Option<u8>,
    bold: bool,
    dim: bool,
    italic: bool,
    underlined: bool,
}

impl Look {
    /// Its classes, separated by spaces.
    fn classes(self) -> String {
        let colours = [("f", self.foreground), ("b", self.background)];
        let colours =
            colours.iter().filter_map(|(kind, colour)| colour.map(|colour| format!("{kind}{colour}")));
        let rest = [(self.bold, "bo"), (self.dim, "di"), (self.italic, "it"), (self.underlined, "un")];
        let rest = rest.iter().filter(|(is, _)| *is).map(|(_, class)| (*class).to_owned());
        colours.chain(rest).collect::<Vec<_>>().join(" ")
    }

    /// What the sequence with these parameters makes of it.
    fn set(&mut self, parameters: &str) {
        let mut codes = parameters.split([';', ':']).map(|code| match code {
            "" => Some(0),
            code => code.parse::<u16>().ok(),
        });
        while let Some(code) = codes.next() {
            match code {
                Some(0) => *self = Self::default(),
                Some(1) => self.bold = true,
                Some(2) => self.dim = true,
                Some(3) => self.italic = true,
                Some(4) => self.underlined = true,
                Some(22) => (self.bold, self.dim) = (false, false),
                Some(23) => self.italic = false,
                Some(24) => self.underlined = false,
                Some(code @ 30..=37) => self.foreground = Some(code as u8 - 30),
                Some(code @ 90..=97) => self.foreground = Some(code as u8 - 82),
                Some(code @ 40..=47) => self.background = Some(code as u8 - 40),
                Some(code @ 100..=107) => self.background = Some(code as u8 - 92),
                Some(39) => self.foreground = None,
                Some(49) => self.background = None,
                // Colours out of many: those that are among the sixteen.
                Some(kind @ (38 | 48)) => {
                    let one = match codes.next().flatten() {
                        Some(5) => codes.next().flatten().filter(|colour| *colour < 16),
                        Some(2) => {
                            codes.by_ref().take(3).for_each(drop);
                            None
                        }
                        _ => None,
                    };
                    let of = if kind == 38 { &mut self.foreground } else { &mut self.background };
                    *of = one.map(|colour| colour as u8);
                }
                _ => {}
            }
        }
    }
}

/// What is shown of a line; it has no line end.
pub(super) fn runs(line: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let (mut look, mut text) = (Look::default(), String::new());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                let before = look;
                sequence(&mut rest, &mut look);
                if before != look {
                    push(&mut runs, before, &mut text);
                }
            }
            // The same in one character, as some terminals take it.
            '\u{9b}' => {
                let before = look;
                control(&mut rest, &mut look);
                if before != look {
                    push(&mut runs, before, &mut text);
                }
            }
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => string(&mut rest),
            '\t' => text.push(c),
            c if c.is_control() => {}
            c if is_unseen(c) => number(c, &mut text),
            c => text.push(c),
        }
    }
    push(&mut runs, look, &mut text);
    runs
}

fn push(runs: &mut Vec<Run>, look: Look, text: &mut String) {
    if !text.is_empty() {
        runs.push(Run(look.classes(), std::mem::take(text)));
    }
}

/// After an escape character.
fn sequence(rest: &mut std::str::Chars<'_>, look: &mut Look) {
    let mut ahead = rest.clone();
    match ahead.next() {
        Some('[') => {
            *rest = ahead;
            control(rest, look);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            *rest = ahead;
            string(rest);
        }
        // Others have some characters in between and one at the end.
        Some(c @ ' '..='~') => {
            *rest = ahead;
            let mut c = c;
            while (' '..='/').contains(&c) {
                match rest.clone().next() {
                    Some(next @ ' '..='~') => {
                        rest.next();
                        c = next;
                    }
                    _ => return,
                }
            }
        }
        _ => {}
    }
}

/// Parameters, and what is to be done with them.
fn control(rest: &mut std::str::Chars<'_>, look: &mut Look) {
    let mut parameters = String::new();
    loop {
        match rest.clone().next() {
            Some(c @ ' '..='?') => {
                rest.next();
                if parameters.len() <= LONGEST_SEQUENCE {
                    parameters.push(c);
                }
            }
            Some(c @ '@'..='~') => {
                rest.next();
                let plain = parameters.bytes().all(|b| b.is_ascii_digit() || b == b';' || b == b':');
                if c == 'm' && plain && parameters.len() <= LONGEST_SEQUENCE {
                    look.set(&parameters);
                }
                return;
            }
            _ => return,
        }
    }
}

/// Text for the terminal itself, up to its end or that of the line.
fn string(rest: &mut std::str::Chars<'_>) {
    while let Some(c) = rest.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' if rest.clone().next() == Some('\\') => {
                rest.next();
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let run =
            |Run(classes, text): Run| if classes.is_empty() { text } else { format!("[{classes}|{text}]") };
        runs(line).into_iter().map(run).collect()
    }

    #[test]
    fn colours_become_classes() {
        for (line, told) in [
            ("plain", "plain"),
            ("\u{1b}[31mred\u{1b}[0m off", "[f1|red] off"),
            ("\u{1b}[1;92mbold\u{1b}[22m thin\u{1b}[m off", "[f10 bo|bold][f10| thin] off"),
            ("\u{1b}[44mback\u{1b}[49m", "[b4|back]"),
            ("\u{1b}[38;5;9mone\u{1b}[38;5;200mmany\u{1b}[38;2;1;2;3mtrue", "[f9|one]manytrue"),
            ("\u{1b}[38:2:1:2:3;4mx", "[un|x]"),
            ("\u{1b}[2;3;4mall", "[di it un|all]"),
            ("\u{9b}32mgreen", "[f2|green]"),
        ] {
            assert_eq!(shown(line), told, "{line:?}");
        }
    }

    #[test]
    fn everything_else_is_left_out() {
        for (line, told) in [
            ("a\u{1b}[2Jb\u{1b}[10;10Hc\u{1b}[?25ld", "abcd"),
            ("a\u{1b}]0;title\u{7}b\u{1b}]8;;https://evil.example\u{1b}\\link\u{1b}]8;;\u{1b}\\c", "ablinkc"),
            ("a\u{1b}]52;c;aGk=\u{9c}b\u{90}dcs\u{9c}c", "abc"),
            ("a\u{1b}(0b\u{1b}7c\u{1b}=d", "abcd"),
            ("a\u{1b}]never ends", "a"),
            ("a\u{1b}[31", "a"),
            ("a\u{1b}", "a"),
            ("a\u{1b}[<31mb", "ab"),
            ("a\u{8}\u{0}\u{7f}b\tc", "ab\tc"),
            ("a\u{202e}b\u{2066}", "a«U+202E»b«U+2066»"),
            ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
            ("\u{1b}[31\u{1b}[0mx", "x"),
        ] {
            assert_eq!(shown(line), told, "{line:?}");
        }
        let long = format!("\u{1b}[{}mx", "1;".repeat(60));
        assert_eq!(shown(&long), "x");
    }

    #[test]
    fn no_class_is_anything_but_one_of_ours() {
        for code in 0..300 {
            for line in [
                format!("\u{1b}[{code}mx"),
                format!("\u{1b}[38;5;{code}mx"),
                format!("\u{1b}[48;5;{code};1mx"),
            ] {
                for Run(classes, _) in runs(&line) {
                    assert!(
                        classes.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b' '),
                        "{classes}"
                    );
                }
            }
        }
    }
}
