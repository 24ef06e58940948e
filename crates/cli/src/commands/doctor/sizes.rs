//! Numbers for people.

pub(super) use jobs::shown_size as told;

/// A number of things.
pub(super) fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// What follows a number for each of several; nothing for one.
pub(super) fn each(number: u64) -> &'static str {
    if number == 1 { "" } else { " each" }
}
