//! What may be shown of what was seen.

use crate::env::without_credentials;
use crate::terminal::Sanitizer;
use jobs::redact::Redactor;

/// Characters of one text. Strangers' words are among them.
const LONGEST: usize = 500;
/// A secret that is shorter can't be told from other words.
const SHORTEST_SECRET: usize = 6;

/// Takes secrets out of texts.
pub(super) struct Discretion(Redactor);

impl Discretion {
    /// Nothing of `secrets` is shown, in whatever form.
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let secrets = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST_SECRET);
        Self(Redactor::new(secrets.map(|secret| (secret, "…"))))
    }

    /// One line that may be shown.
    pub(super) fn shown(&self, text: &str) -> String {
        let text = without_credentials(&self.0.redact(text));
        let words: Vec<&str> = text.split_whitespace().collect();
        let line = Sanitizer::default().clean(&words.join(" "));
        if line.chars().count() <= LONGEST {
            return line;
        }
        line.chars().take(LONGEST).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_credentials_and_control_characters_are_not_shown() {
        let discretion = Discretion::new(["correct horse", "abc"]);
        for (text, shown) in [
            ("it said: correct horse!", "it said: …!"),
            ("correct%20horse", "…"),
            ("abc is no secret", "abc is no secret"),
            ("to https://jane:hunter2@a.test/x and http://u@b", "to https://…@a.test/x and http://…@b"),
            ("two\n\tlines\u{1b}[2J\u{7}", "two lines"),
        ] {
            assert_eq!(discretion.shown(text), shown);
        }
        assert_eq!(discretion.shown(&"long ".repeat(1000)).chars().count(), LONGEST + 1);
    }
}
