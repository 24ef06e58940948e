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
        Effect::Missed { acts: [], remedy, .. } => format!("parsed, no effect yet: {remedy}"),
        Effect::Missed { acts, .. } => RuntimeName::list(acts),
        Effect::Nothing(why) => format!("parsed, no effect: {why}"),
    }
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
