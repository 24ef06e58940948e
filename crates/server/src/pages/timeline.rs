//! What a job's latest try did when: setup, steps, teardown.

use super::parts::{badge, between, span};
use crate::api::{JobView, LogEntryView, StepView};
use jiff::Timestamp;
use jobs::State;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Rows of a group at most: of more the first are shown, and how many there are.
const MOST_ROWS: usize = 60;
/// The exit code of a command that came to none.
const NO_EXIT_CODE: i32 = -1;

/// Which part of a job an entry belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Setup,
    Steps,
    Teardown,
}

impl Part {
    /// That of a log entry, and what is left of its key.
    pub(super) fn of(key: &str) -> (Self, &str) {
        for prefix in ["step.docker.", "step.kubernetes.", "step."] {
            if let Some(name) = key.strip_prefix(prefix) {
                return (Self::Steps, name);
            }
        }
        match key.strip_prefix("teardown.") {
            Some(name) => (Self::Teardown, name),
            None => (Self::Setup, key.strip_prefix("setup.").unwrap_or(key)),
        }
    }

    /// What one entry of it is called.
    pub(super) const fn one(self) -> &'static str {
        match self {
            Self::Setup => "Setup",
            Self::Steps => "Step",
            Self::Teardown => "Teardown",
        }
    }

    /// Its name for people.
    const fn name(self) -> &'static str {
        match self {
            Self::Setup => "Setup",
            Self::Steps => "Steps",
            Self::Teardown => "Teardown",
        }
    }
}

/// Whether what has not ended of this try still runs. Of a try that is over it never will: its executor was lost before it
/// told the end.
pub(super) fn goes_on(job: &JobView, attempt: u32) -> bool {
    job.state == State::Processing && job.attempt == attempt
}

/// How something ended that has an exit code, or that it runs if its try goes on.
pub(super) fn outcome(exit_code: Option<i32>, goes_on: bool) -> Markup {
    match exit_code {
        None if goes_on => badge("processing", "running"),
        None => badge("bad", "not finished"),
        Some(0) => badge("good", "done"),
        Some(NO_EXIT_CODE) => badge("bad", "no exit code"),
        Some(code) => badge("bad", &format!("exit {code}")),
    }
}

struct Row<'a> {
    name: &'a str,
    image: Option<&'a str>,
    outcome: Markup,
    entry: Option<&'a LogEntryView>,
}

/// All of it, as a list with bars.
pub(super) fn show(job: &JobView, entries: &[LogEntryView], now: Timestamp) -> Markup {
    let Some(begun) = job.started_at else { return steps_to_come(&job.steps) };
    let end = job.finished_at.filter(|_| job.state.is_terminal()).unwrap_or(now);
    let last = entries.iter().map(|entry| ended(entry, end)).max().unwrap_or(end).max(end);
    let scale = Scale { begun, length: (last.as_millisecond() - begun.as_millisecond()).max(1) };
    let mut groups: BTreeMap<Part, Vec<Row>> = BTreeMap::new();
    for entry in entries {
        let (part, name) = Part::of(&entry.key);
        let image = job.steps.iter().find(|step| part == Part::Steps && step.key == name);
        let row = Row {
            name,
            image: image.map(|step| step.image.as_str()),
            outcome: outcome(entry.exit_code, goes_on(job, entry.attempt)),
            entry: Some(entry),
        };
        groups.entry(part).or_default().push(row);
    }
    let steps = groups.entry(Part::Steps).or_default();
    for step in job.steps.iter().filter(|step| step.started_at.is_none()) {
        let word = if job.state.is_terminal() { "not run" } else { "to come" };
        steps.push(Row {
            name: &step.key,
            image: Some(&step.image),
            outcome: badge("queued", word),
            entry: None,
        });
    }
    html! {
        section.timeline aria-labelledby="timeline" {
            h2 #timeline { "Timeline" }
            @for (part, rows) in groups.iter().filter(|(_, rows)| !rows.is_empty()) {
                h3 { (part.name()) }
                ol {
                    @for row in rows.iter().take(MOST_ROWS) { (one(row, &scale, end)) }
                    @if rows.len() > MOST_ROWS { li.more { "and " (rows.len() - MOST_ROWS) " more" } }
                }
            }
        }
    }
}

fn ended(entry: &LogEntryView, end: Timestamp) -> Timestamp {
    match entry.duration_ms {
        Some(millis) => {
            let later = Timestamp::from_millisecond(entry.started_at.as_millisecond().saturating_add(millis));
            later.unwrap_or(end)
        }
        None => end,
    }
}

/// From times to places on the bar.
struct Scale {
    begun: Timestamp,
    /// In milliseconds.
    length: i64,
}

impl Scale {
    /// Per mille of the whole.
    fn place(&self, at: Timestamp) -> i64 {
        let since = (at.as_millisecond() - self.begun.as_millisecond()).clamp(0, self.length);
        since.saturating_mul(1_000) / self.length
    }
}

fn one(row: &Row<'_>, scale: &Scale, end: Timestamp) -> Markup {
    html! {
        li {
            span.what {
                @match row.entry {
                    Some(entry) => a href={ "#e-" (entry.entry) } { bdi { (row.name) } },
                    None => bdi { (row.name) },
                }
                @if let Some(image) = row.image { " " span.image { bdi { (image) } } }
            }
            (row.outcome)
            @if let Some(entry) = row.entry {
                @let (from, to) = (scale.place(entry.started_at), scale.place(ended(entry, end)));
                span.took { (entry.duration_ms.map_or_else(|| between(entry.started_at, end), span)) }
                svg.bar viewBox="0 0 1000 6" preserveAspectRatio="none" aria-hidden="true" {
                    rect.track width="1000" height="6" {}
                    rect x=(from.min(996)) width=((to - from).max(4)) height="6" {}
                }
            }
        }
    }
}

fn steps_to_come(steps: &[StepView]) -> Markup {
    html! {
        section.timeline aria-labelledby="timeline" {
            h2 #timeline { "Steps" }
            ol {
                @for step in steps.iter().take(MOST_ROWS) {
                    li { span.what { bdi { (step.key) } " " span.image { bdi { (step.image) } } } (badge("queued", "to come")) }
                }
                @if steps.len() > MOST_ROWS { li.more { "and " (steps.len() - MOST_ROWS) " more" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_belongs_to_a_part_by_its_key() {
        for (key, part, name) in [
            ("setup.git.init", Part::Setup, "git.init"),
            ("step.docker.build", Part::Steps, "build"),
            ("step.kubernetes.step.0.run", Part::Steps, "step.0.run"),
            ("step.src.batch-exec", Part::Steps, "src.batch-exec"),
            ("teardown.fs", Part::Teardown, "fs"),
            ("other", Part::Setup, "other"),
        ] {
            assert_eq!(Part::of(key), (part, name));
        }
    }
}
