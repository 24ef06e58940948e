//! The log of a job: as it is so far, as it grows, and as a file.

mod ansi;
mod lines;
mod painted;
mod stream;
mod text;

pub(super) use stream::stream;
pub(super) use text::download;

use super::fault::Fault;
use super::frame::{Answer, Page, Section};
use super::parts::{span, state};
use super::timeline::{Part, goes_on, outcome};
use super::visit::{Visit, with_query};
use crate::api::{JobView, LogEntryView};
use crate::public_api::cursor::Cursor;
use jobs::shown_size;
use maud::{Markup, html};
use painted::Painted;

/// Bytes of text that a page shows of one entry, and of all of them: of more the end.
const EACH: u64 = 64 << 10;
const ALL: u64 = 192 << 10;
/// Entries that a page shows: of more the latest.
const MOST_ENTRIES: usize = 200;

/// `GET /jobs/{id}/log`: nothing but the log, of the latest try or of another one.
pub(super) async fn show(visit: Visit) -> Result<Answer, Fault> {
    let id = visit.number("id")?;
    let job: JobView = visit.get(&format!("/api/v1/jobs/{id}")).await?;
    let asked = [("attempt", visit.query("attempt"))];
    let entries: Vec<LogEntryView> =
        visit.get(&with_query(&format!("/api/v1/jobs/{id}/logs"), &asked)).await?;
    let attempt = entries.first().map_or(job.attempt, |entry| entry.attempt);
    let body = html! {
        h1 { "Log of job " a href={ "/jobs/" (id) } { (id) } " " (state(job.state)) }
        @if job.attempt > 1 {
            nav.pager aria-label="Tries" {
                @for number in 1..=job.attempt {
                    a href={ "/jobs/" (id) "/log?attempt=" (number) } aria-current=[(number == attempt).then_some("page")] { "Try " (number) }
                }
            }
        }
    };
    let log = section(&visit, &job, entries).await;
    let page = Page::new(Section::Jobs, format!("Log of job {id}"), body);
    Ok(Answer::Page(page.with_log(log)))
}

/// A job's log so far, with what it takes to go on from there.
pub(super) async fn section(visit: &Visit, job: &JobView, entries: Vec<LogEntryView>) -> Markup {
    let attempt = entries.first().map_or(job.attempt, |entry| entry.attempt);
    let (painted, unread) = Painted::all(visit, job.id, entries).await;
    let runs = goes_on(job, attempt);
    let follows = !job.state.is_terminal() && attempt == job.attempt;
    let cursor = follows.then(|| cursor(attempt, &painted).to_string());
    let has_error = painted.iter().any(|entry| entry.fault.is_some());
    let left_out = painted.len().saturating_sub(MOST_ENTRIES);
    let text = with_query(&format!("/jobs/{}/log/text", job.id), &[("attempt", Some(&attempt.to_string()))]);
    html! {
        section.log #log aria-labelledby="log-title" data-job=(job.id) data-attempt=(attempt) data-cursor=[cursor] {
            div.heading {
                h2 #log-title { "Log" }
                div.tools {
                    a #to-error href="#error" hidden[!has_error] { "First error" }
                    @if follows { a.reload href="" { "Reload" } }
                    a href=(text) { "Download" }
                }
            }
            @if painted.is_empty() {
                p.nothing { @if job.state.is_terminal() { "It has no log." } @else { "Nothing yet." } }
            }
            @if let Some(fault) = &unread {
                div.notice role="status" { p { strong { (fault.title) } } p { (fault.detail) } }
            }
            @if left_out > 0 { p.hint { (left_out) " entries before these are in the download." } }
            div #entries { @for entry in painted.iter().skip(left_out) { (one(entry, runs)) } }
            @if follows { (template()) }
        }
    }
}

/// Where the stream goes on after what is shown.
fn cursor(attempt: u32, painted: &[Painted]) -> Cursor {
    let mut cursor = Cursor { attempt, ..Cursor::default() };
    for entry in painted {
        if entry.view.exit_code.is_some() {
            cursor.end(entry.view.entry);
        } else {
            cursor.announce(entry.view.entry, entry.shown_to);
        }
    }
    cursor
}

fn one(entry: &Painted, runs: bool) -> Markup {
    let LogEntryView { entry: number, key, command, exit_code, duration_ms, .. } = &entry.view;
    let (part, name) = Part::of(key);
    let is_open = part == Part::Steps || *exit_code != Some(0);
    html! {
        details.entry #{ "e-" (number) } open[is_open] {
            summary {
                span.part { (part.one()) } " " bdi.name { (name) } " " (outcome(*exit_code, runs))
                @if let Some(millis) = duration_ms { " " span.took { (span(*millis)) } }
            }
            @if let Some(command) = command.as_ref().filter(|command| !command.is_empty()) {
                p.command { code { bdi { (shown(command)) } } }
            }
            @if entry.from > 0 { p.hint { (shown_size(entry.from)) " before this are in the download." } }
            pre tabindex="0" aria-label={ "Output of " (name) } { (entry.text) }
        }
    }
}

/// Characters of a command that are shown.
const LONGEST_COMMAND: usize = 400;

/// A command as it is shown: for people, not for a shell.
fn shown(command: &[String]) -> String {
    let mut text = command.join(" ");
    if text.len() > LONGEST_COMMAND {
        text.truncate(text.floor_char_boundary(LONGEST_COMMAND));
        text.push('…');
    }
    text
}

/// An entry that is to come: the module fills it in.
fn template() -> Markup {
    html! {
        template #entry {
            details.entry open {
                summary { span.part {} " " bdi.name {} " " span.outcome {} " " span.took {} }
                pre tabindex="0" {}
            }
        }
        template #running { (outcome(None, true)) }
        template #good { (outcome(Some(0), true)) }
        template #bad { (outcome(Some(1), true)) }
        p.follow role="status" hidden { "Following" }
    }
}
