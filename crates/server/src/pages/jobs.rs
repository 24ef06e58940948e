//! The jobs, newest first.

use super::fault::Fault;
use super::frame::{Answer, Page, Section};
use super::parts::{ago, badge, between, nothing, pager, select, state, table, word};
use super::visit::{Visit, with_query};
use crate::api::{self, JobView};
use jiff::Timestamp;
use jobs::{Namespace, State};
use maud::{Markup, html};
use wire::paths::QUEUES;

/// Jobs on a page.
const PAGE: &str = "50";
/// The page is brought up to date this often, in seconds.
const REFRESH: u32 = 5;

/// `GET /jobs`
pub(super) async fn list(visit: Visit) -> Result<Answer, Fault> {
    let filter = ["queue", "state", "namespace", "text", "cursor"].map(|name| (name, visit.query(name)));
    let mut asked = vec![("limit", Some(PAGE))];
    asked.extend(filter);
    let page: api::Page<JobView> = visit.get(&with_query("/api/v1/jobs", &asked)).await?;
    let now = visit.pages.app.clock.now();
    let [queue, state, namespace, text, cursor] = filter;
    let kept = [queue, state, namespace, text];
    let next = page
        .next_cursor
        .as_deref()
        .map(|next| visit.here_with(&kept.into_iter().chain([("cursor", Some(next))]).collect::<Vec<_>>()));
    let newest = cursor.1.map(|_| visit.here_with(&kept));
    let is_filtered = kept.iter().any(|(_, value)| value.is_some());
    let body = html! {
        h1 { "Jobs" }
        (filters(&visit))
        @if page.items.is_empty() {
            (nothing(match (is_filtered, next.is_some()) {
                (true, true) => "None of the newest jobs is like that; there are older ones to look through.",
                (true, false) => "No job is like that.",
                _ => "No jobs yet. Submit one with: executor job run --image debian:12 -- echo hello",
            }))
        } @else {
            (rows(&visit, &page.items, now))
        }
        (pager(newest.as_deref(), next.as_deref(), ["Newest", "Older"]))
    };
    let page = Page::new(Section::Jobs, "Jobs", body);
    Ok(Answer::Page(if cursor.1.is_none() { page.live(REFRESH) } else { page }))
}

fn filters(visit: &Visit) -> Markup {
    let queues: Vec<_> = [("", "All queues")].into_iter().chain(QUEUES.map(|queue| (queue, queue))).collect();
    let states = State::ALL.map(|state| (state.name(), state.name()));
    let states: Vec<_> = [("", "All states")].into_iter().chain(states).collect();
    html! {
        form.filters method="get" action="/jobs" role="search" {
            div { (select("queue", "queue", "Queue", &queues, visit.query("queue"))) }
            div { (select("state", "state", "State", &states, visit.query("state"))) }
            @if visit.caller.is_everywhere() {
                div {
                    label for="namespace" { "Namespace" }
                    input #namespace name="namespace" placeholder="all" spellcheck="false" autocapitalize="none" value=(visit.query("namespace").unwrap_or_default());
                }
            }
            div.wide {
                label for="text" { "Text" }
                input #text name="text" type="search" placeholder="repository, reason, executor …" value=(visit.query("text").unwrap_or_default());
            }
            div { button { "Filter" } }
        }
    }
}

fn rows(visit: &Visit, jobs: &[JobView], now: Timestamp) -> Markup {
    let everywhere = visit.caller.is_everywhere();
    let rows: Vec<Vec<Markup>> = jobs.iter().map(|job| row(job, everywhere, now)).collect();
    let mut head = vec!["Job", "State", "Reason", "Source", "Queue"];
    if everywhere {
        head.push("Namespace");
    }
    head.extend(["Executor", "Age", "Ran for"]);
    table("Jobs", &head, &rows)
}

fn row(job: &JobView, everywhere: bool, now: Timestamp) -> Vec<Markup> {
    let mut cells = vec![
        html! { a href={ "/jobs/" (job.id) } { "#" (job.id) } },
        state_of(job),
        html! { @if let Some(reason) = reason(job) { (word(reason)) } @else { span.none.dash { "–" } } },
        source(job),
        html! { (job.queue) },
    ];
    if everywhere {
        cells.push(namespace(&job.namespace));
    }
    cells.push(
        html! { @match &job.executor { Some(name) => { bdi.name { (name) } } None => span.none.dash { "–" } } },
    );
    cells.push(ago(job.queued_at, now));
    cells.push(html! { @match ran(job, now) { Some(ran) => (ran), None => span.none.dash { "–" } } });
    cells
}

/// A job's state, and that it is to stop where that is so.
pub(super) fn state_of(job: &JobView) -> Markup {
    html! {
        (state(job.state))
        @if job.cancel_requested && !job.state.is_terminal() { " " (badge("canceled", "stopping")) }
    }
}

/// Why it ended or waits, in a word.
pub(super) fn reason(job: &JobView) -> Option<&str> {
    let waits = if job.not_before.is_some() {
        Some("not before its time")
    } else if job.waits_for_key {
        Some("others with its key run")
    } else {
        None
    };
    job.reason.as_deref().filter(|reason| *reason != "succeeded").or(waits)
}

/// What it runs on.
pub(super) fn source(job: &JobView) -> Markup {
    html! {
        @match &job.repository {
            Some(repository) => {
                bdi { (repository) }
                @if let Some(rev) = &job.rev { span.rev { "@" bdi { (rev) } } }
            }
            None => span.none { "no repository" }
        }
    }
}

pub(super) fn namespace(namespace: &Namespace) -> Markup {
    word(&namespace.to_string())
}

/// For how long its latest try ran, or runs.
pub(super) fn ran(job: &JobView, now: Timestamp) -> Option<String> {
    let end = match job.state {
        State::Queued => return None,
        State::Processing => now,
        _ => job.finished_at?,
    };
    Some(between(job.started_at?, end))
}
