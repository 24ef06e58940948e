//! Text from a job, made safe for a terminal; and what is asked for at one without being shown.

use crate::exit::Failure;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead, Stdin, Write, stderr, stdin};

/// Asks for a line that the terminal does not show.
pub(crate) fn ask_secretly(question: &str) -> Result<String, Failure> {
    let can_not =
        |fault: &dyn std::fmt::Display| Failure::usage(format!("the terminal can't be asked: {fault}"));
    let input = stdin();
    let before = tcgetattr(&input).map_err(|fault| can_not(&fault))?;
    // Standard output may be a file.
    let _ = stderr().write_all(question.as_bytes());
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&input, OptionalActions::Flush, &hidden).map_err(|fault| can_not(&fault))?;
    let _shown = Shown { input: &input, before };
    let mut line = String::new();
    let read = input.lock().read_line(&mut line);
    let _ = stderr().write_all(b"\n");
    read.map_err(|fault| can_not(&fault))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// The terminal shows again what is typed when this is dropped.
struct Shown<'a> {
    input: &'a Stdin,
    before: Termios,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.input, OptionalActions::Flush, &self.before);
    }
}

/// Removes every control sequence but colours: a job's output must not move the cursor, set the
/// window's title or reach the clipboard. Whatever a line begins ends with it: colours that hide text,
/// and sequences without an end, must not reach what others say.
#[derive(Debug, Default)]
pub(crate) struct Sanitizer {
    state: State,
    sequence: String,
    /// Whether a colour was set and not taken back.
    coloured: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// Inside `ESC [`.
    Csi,
    /// Inside `ESC ]` and the like, which end with BEL or `ESC \`.
    String,
    /// Inside such a string, after ESC.
    StringEscape,
}

/// A colour sequence longer than this is none.
const LONGEST_SEQUENCE: usize = 64;
/// Takes every colour back.
const RESET: &str = "\u{1b}[0m";

impl Sanitizer {
    /// What of `text` may be shown. Sequences may be split over calls.
    pub(crate) fn clean(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            self.state = self.step(c, &mut out);
        }
        out
    }

    fn step(&mut self, c: char, out: &mut String) -> State {
        match (self.state, c) {
            (_, '\n') => {
                if std::mem::take(&mut self.coloured) {
                    out.push_str(RESET);
                }
                out.push(c);
                State::Text
            }
            (State::Text | State::Escape, '\u{1b}') => State::Escape,
            (State::Text, '\t') => {
                out.push(c);
                State::Text
            }
            (State::Text, c) if c.is_control() || is_direction(c) => State::Text,
            (State::Text, c) => {
                out.push(c);
                State::Text
            }
            (State::Escape, '[') => {
                self.sequence.clear();
                State::Csi
            }
            (State::Escape, ']' | 'P' | 'X' | '^' | '_') => State::String,
            (State::Csi, 'm') => {
                out.push_str("\u{1b}[");
                out.push_str(&self.sequence);
                out.push('m');
                self.coloured = !matches!(self.sequence.as_str(), "" | "0");
                State::Text
            }
            (State::Csi, '0'..='9' | ';' | ':') if self.sequence.len() < LONGEST_SEQUENCE => {
                self.sequence.push(c);
                State::Csi
            }
            (State::Csi, '\u{20}'..='\u{3f}') => State::Csi,
            (State::String | State::StringEscape, '\u{1b}') => State::StringEscape,
            (State::Escape | State::Csi, _) | (State::String, '\u{7}') | (State::StringEscape, '\\') => {
                State::Text
            }
            (State::String | State::StringEscape, _) => State::String,
        }
    }
}

/// Characters that change the direction of text and so make it look like other text.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_everything_else_goes() {
        for (text, shown) in [
            ("plain ä\n\tx", "plain ä\n\tx"),
            ("\u{1b}[1;31mred\u{1b}[0m", "\u{1b}[1;31mred\u{1b}[0m"),
            ("a\u{1b}[2Jb\u{1b}[10;10Hc", "abc"),
            ("a\u{1b}]0;title\u{7}b", "ab"),
            ("a\u{1b}]52;c;Zm9v\u{1b}\\b", "ab"),
            ("a\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\b", "alinkb"),
            ("over\rwritten\u{8}\u{7}", "overwritten"),
            ("user\u{202e}txt.exe", "usertxt.exe"),
            ("\u{1b}[?25lhidden", "hidden"),
            ("\u{1b}cgone", "gone"),
            ("a\u{1b}]no end\nb", "a\nb"),
            ("a\u{1b}[3\nb", "a\nb"),
            ("\u{1b}[8mhidden\nb\n", "\u{1b}[8mhidden\u{1b}[0m\nb\n"),
            ("\u{1b}[31mred\u{1b}[0m\nb", "\u{1b}[31mred\u{1b}[0m\nb"),
        ] {
            assert_eq!(Sanitizer::default().clean(text), shown, "{text:?}");
            let mut pieces = Sanitizer::default();
            let by_char: String = text.chars().map(|c| pieces.clean(&c.to_string())).collect();
            assert_eq!(by_char, shown, "{text:?} in pieces");
        }
    }
}
