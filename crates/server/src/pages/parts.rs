//! What pages have in common: states, times, sizes, lists.

use jiff::Timestamp;
use jobs::State;
use maud::{Markup, html};

/// Characters that a column of a table always has room for.
const SHORT: usize = 24;

/// A state: a shape and a word, beside the colour.
pub(super) fn state(state: State) -> Markup {
    badge(state.name(), state.name())
}

/// Something like a state: what it looks like, and its word.
pub(super) fn badge(kind: &str, word: &str) -> Markup {
    let path = match kind {
        "completed" | "good" => "M2 6.4 4.8 9 10 3.2",
        "failed" | "bad" => "M2.6 2.6 9.4 9.4M9.4 2.6 2.6 9.4",
        "canceled" => "M6 1.4a4.6 4.6 0 1 0 .01 0M2.8 9.2 9.2 2.8",
        "processing" => "M3.4 1.8v8.4L10 6z",
        "errored" => "M9.8 3.4A4.6 4.6 0 1 0 10.6 6M10.4 1v2.8H7.6",
        "paused" => "M3.8 2v8M8.2 2v8",
        "warning" => "M6 1.6 11 10.4H1zM6 4.8v2.6M6 8.8v.4",
        _ => "M6 1.4a4.6 4.6 0 1 0 .01 0",
    };
    html! {
        span class={ "state s-" (kind) } {
            svg viewBox="0 0 12 12" aria-hidden="true" { path d=(path) {} }
            (word)
        }
    }
}

/// A time, as how long ago it was.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> Markup {
    // What is as young as that changes while it is read.
    let whole =
        |from: Timestamp, to: Timestamp| span(((to.as_second() - from.as_second()) * 1_000).max(10_000));
    let text = match now.as_second() - at.as_second() {
        ..0 => format!("in {}", whole(now, at)),
        0..10 => "just now".to_owned(),
        _ => format!("{} ago", whole(at, now)),
    };
    time(at, &text)
}

/// A time that is told in other words.
pub(super) fn time(at: Timestamp, text: &str) -> Markup {
    let exact = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! { time datetime=(at.to_string()) title=(exact) { (text) } }
}

/// How long from one time to another: the two largest units.
pub(super) fn between(from: Timestamp, to: Timestamp) -> String {
    span(to.as_millisecond() - from.as_millisecond())
}

/// Milliseconds for people: the two largest units.
pub(super) fn span(millis: i64) -> String {
    let seconds = millis.max(0) / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        ..1 => format!("{} ms", millis.max(0)),
        1..10 => format!("{:.1} s", millis as f64 / 1_000.0),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min {} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// A namespace, a reason, or what else is a word or two of somebody's. It is not broken within a word, unless it is long.
pub(super) fn word(text: &str) -> Markup {
    let class = if text.chars().count() <= SHORT { "word" } else { "long" };
    html! { bdi class=(class) { (text) } }
}

/// A table that scrolls within itself, and is a list where there is no room for columns. The first column names a row.
pub(super) fn table(label: &str, head: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" {
            table {
                thead { tr { @for name in head { th scope="col" { (name) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (index, cell) in row.iter().enumerate() {
                                @let name = head.get(index).copied().unwrap_or_default();
                                @if index == 0 { th scope="row" { (cell) } } @else { td data-label=(name) { div { (cell) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is said where a list has nothing in it.
pub(super) fn nothing(text: &str) -> Markup {
    html! { p.nothing { (text) } }
}

/// To the pages of a list before and after this one.
pub(super) fn pager(newest: Option<&str>, next: Option<&str>, names: [&str; 2]) -> Markup {
    html! {
        @if newest.is_some() || next.is_some() {
            nav.pager aria-label="Pages" {
                @if let Some(href) = newest { a href=(href) { (names[0]) } }
                @if let Some(href) = next { a href=(href) rel="next" { (names[1]) } }
            }
        }
    }
}

/// Something that is done only after it was said twice: with a click more, and without a script.
pub(super) fn twice(what: &str, sure: &Markup) -> Markup {
    html! { details.twice { summary { (what) } (sure) } }
}

/// A choice of a few.
pub(super) fn select(
    id: &str,
    name: &str,
    label: &str,
    options: &[(&str, &str)],
    chosen: Option<&str>,
) -> Markup {
    html! {
        label for=(id) { (label) }
        select id=(id) name=(name) {
            @for (value, text) in options {
                option value=(value) selected[Some(*value) == chosen] { (text) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_told_in_two_units() {
        for (millis, told) in [
            (-5, "0 ms"),
            (7, "7 ms"),
            (1_240, "1.2 s"),
            (59_999, "59 s"),
            (61_000, "1 min 1 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(span(millis), told);
        }
    }
}
