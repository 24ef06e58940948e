//! The table, for people and for programs: `executor run --help-env` and
//! `docs/reference/environment.md`.

mod json;
mod markdown;
mod text;

pub(crate) use json::json;
pub(crate) use markdown::markdown;
pub(crate) use text::text;

use super::RuntimeName;
use super::variable::{Effect, Variable};

/// What a value changes, in a few words.
fn effect(row: &Variable) -> String {
    match row.effect {
        Effect::Always => "always".to_owned(),
        Effect::With(runtimes) => RuntimeName::list(runtimes),
        Effect::NotYet([]) => "parsed, no effect yet".to_owned(),
        Effect::NotYet(runtimes) => format!("parsed, no effect yet ({})", RuntimeName::list(runtimes)),
        Effect::Nothing(why) => format!("parsed, no effect: {why}"),
    }
}

/// A value as it may be shown: without the credentials of a URL, or of several.
fn shown(value: &str) -> String {
    value.split(',').map(without_credentials).collect::<Vec<_>>().join(",")
}

fn without_credentials(value: &str) -> String {
    let masked = value.split_once("://").and_then(|(scheme, rest)| {
        let host = rest.find(['/', '?']).unwrap_or(rest.len());
        let at = rest[..host].rfind('@')?;
        Some(format!("{scheme}://…{}", &rest[at..]))
    });
    masked.unwrap_or_else(|| value.to_owned())
}

/// The kind, and what else there is to say of a value's form.
fn form(row: &Variable) -> String {
    let mut form = row.kind.name().to_owned();
    for (is_so, told) in [(row.required, "not empty"), (row.secret, "secret")] {
        if is_so {
            form.push_str(", ");
            form.push_str(told);
        }
    }
    form
}

#[cfg(test)]
mod tests {
    #[test]
    fn urls_are_shown_without_their_credentials() {
        for (value, shown) in [
            ("https://me:hunter2@a.example/x@y,http://hunter2@b", "https://…@a.example/x@y,http://…@b"),
            ("https://a.example/x@y", "https://a.example/x@y"),
            ("k=v,k@x", "k=v,k@x"),
        ] {
            assert_eq!(super::shown(value), shown);
        }
    }
}
