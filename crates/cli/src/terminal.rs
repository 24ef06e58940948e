//! Text from a job, made safe for a terminal.

/// Removes every control sequence but colours: a job's output must not move the cursor, set the
/// window's title or reach the clipboard.
#[derive(Debug, Default)]
pub(crate) struct Sanitizer {
    state: State,
    sequence: String,
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
            (State::Text | State::Escape, '\u{1b}') => State::Escape,
            (State::Text, '\n' | '\t') => {
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
        ] {
            assert_eq!(Sanitizer::default().clean(text), shown, "{text:?}");
            let mut pieces = Sanitizer::default();
            let by_char: String = text.chars().map(|c| pieces.clean(&c.to_string())).collect();
            assert_eq!(by_char, shown, "{text:?} in pieces");
        }
    }
}
