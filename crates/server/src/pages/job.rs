//! One job: where it is, why, what it did, and its log.

use super::fault::Fault;
use super::frame::{Answer, Page, Section};
use super::jobs::{namespace, ran, source, state_of};
use super::parts::{ago, between, table, time, twice, word};
use super::visit::Visit;
use super::{log, results, timeline};
use crate::api::{ExplainView, JobView, LogEntryView, TryView};
use http::Method;
use jiff::Timestamp;
use jobs::{EndReason, Role, State};
use maud::{Markup, html};

/// The page of a job that has not ended is brought up to date this often, in seconds; while its log is followed, as soon
/// as something changes.
const REFRESH: u32 = 5;

/// `GET /jobs/{id}`
pub(super) async fn show(visit: Visit) -> Result<Answer, Fault> {
    let id = visit.number("id")?;
    let explained: ExplainView = visit.get(&format!("/api/v1/jobs/{id}/explain")).await?;
    let entries: Vec<LogEntryView> = visit.get(&format!("/api/v1/jobs/{id}/logs")).await?;
    let now = visit.pages.app.clock.now();
    let job = &explained.job;
    let left = results::sections(&visit, job, now).await?;
    let body = html! {
        (heading(&visit, job))
        (why(&explained, now))
        (facts(job, now))
        @if !job.earlier_tries.is_empty() { (tries(job)) }
        (timeline::show(job, &entries, now))
        (left)
    };
    let log = log::section(&visit, job, entries).await;
    let page = Page::new(Section::Jobs, format!("Job {id}: {}", job.state), body).with_log(log);
    Ok(Answer::Page(if job.state.is_terminal() { page } else { page.live(REFRESH) }))
}

/// `POST /jobs/{id}/cancel`
pub(super) async fn cancel(visit: Visit) -> Result<Answer, Fault> {
    let id = visit.number("id")?;
    let _: JobView = visit.send(Method::POST, &format!("/api/v1/jobs/{id}/cancel"), &()).await?;
    Ok(Answer::Go(format!("/jobs/{id}?done=canceled")))
}

fn heading(visit: &Visit, job: &JobView) -> Markup {
    let may_stop = visit.may(Role::Submitter) && !job.state.is_terminal() && !job.cancel_requested;
    html! {
        div.heading {
            h1 { "Job " (job.id) " " (state_of(job)) }
            @if may_stop {
                (twice("Cancel …", &visit.form(&format!("/jobs/{}/cancel", job.id), &html! {
                    p { "A running step is ended; what it did stays undone or half done." }
                    button.danger { "Cancel job " (job.id) }
                })))
            }
        }
    }
}

/// Why it waits, or why it ended.
fn why(explained: &ExplainView, now: Timestamp) -> Markup {
    let job = &explained.job;
    match job.state {
        State::Queued | State::Errored => html! {
            section.why aria-labelledby="why" {
                h2 #why { @if job.state == State::Queued { "Why it waits" } @else { "Why it waits for another try" } }
                @if explained.obstacles.is_empty() { p { "Nothing stands in its way: it is given out at any moment." } }
                ul { @for obstacle in &explained.obstacles { li { (obstacle.text) " " code.code { (obstacle.code) } } } }
                @if let Some(at) = job.retry_at.filter(|at| *at > now) { p { "Its next try may begin " (ago(at, now)) "." } }
            }
        },
        State::Processing | State::Completed => html! {},
        State::Failed | State::Canceled => html! {
            section.why aria-labelledby="why" {
                h2 #why { @if job.state == State::Failed { "Why it failed" } @else { "Why it was canceled" } }
                p {
                    strong { bdi { (job.reason.as_deref().unwrap_or("no reason was told")) } }
                    @if let Some(evidence) = job.end.as_ref().and_then(|end| EndReason::from_detail(end).evidence()) {
                        " – " bdi { (evidence) }
                    }
                }
                @if let Some(message) = job.message.as_deref().filter(|message| !message.is_empty()) {
                    pre.message { (message) }
                }
            }
        },
    }
}

fn facts(job: &JobView, now: Timestamp) -> Markup {
    let mut facts: Vec<(&str, Markup)> = vec![
        ("Queue", html! { (job.queue) }),
        ("Namespace", namespace(&job.namespace)),
        ("Source", source(job)),
    ];
    if let Some(commit) = &job.commit {
        facts.push(("Commit", html! { code { (commit.get(..12).unwrap_or(commit)) } }));
    }
    facts.push(("Queued", ago(job.queued_at, now)));
    if let Some(started) = job.started_at {
        // As the metric has it: what lies between its tries is no waiting for an executor.
        if job.attempt == 1 {
            facts.push(("Waited for", html! { (between(job.queued_at, started)) }));
        }
        facts.push(("Try", html! { (job.attempt) ", begun " (ago(started, now)) }));
    }
    if let Some(ran) = ran(job, now) {
        facts.push((if job.state == State::Processing { "Runs for" } else { "Ran for" }, html! { (ran) }));
    }
    if let Some(executor) = &job.executor {
        facts.push(("Executor", html! { bdi.name { (executor) } }));
    }
    if job.retries > 0 {
        facts.push(("Retries", html! { (job.retries_used) " of " (job.retries) " used" }));
    }
    if job.priority != 0 {
        facts.push(("Priority", html! { (job.priority) }));
    }
    if let Some(at) = job.not_before {
        facts.push(("Not before", time(at, &at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())));
    }
    if let Some(canceler) = &job.canceler {
        let who = canceler.name.as_deref().unwrap_or("root");
        facts.push((
            "Canceled by",
            html! { bdi { (who) } @if let Some(from) = &canceler.from { " from " (from) } },
        ));
    }
    html! { dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } } }
}

fn tries(job: &JobView) -> Markup {
    let row = |earlier: &TryView| {
        vec![
            html! { a href={ "/jobs/" (job.id) "/log?attempt=" (earlier.attempt) } { "Try " (earlier.attempt) } },
            word(&earlier.reason),
            html! { bdi.name { (earlier.executor.as_deref().unwrap_or("–")) } },
            html! { @if let Some(started) = earlier.started_at { (between(started, earlier.ended_at)) } @else { "–" } },
            html! {
                @match (&earlier.message, earlier.late_calls) {
                    (Some(message), _) => { bdi { (message) } }
                    (None, 0) => { "–" }
                    (None, calls) => { "Taken back. " (calls) " calls came after that and were refused: it may have run on" }
                }
            },
        ]
    };
    let rows: Vec<_> = job.earlier_tries.iter().map(row).collect();
    html! {
        section aria-labelledby="tries" {
            h2 #tries { "Earlier tries" }
            (table("Earlier tries", &["Try", "Ended with", "Executor", "After", "Message"], &rows))
        }
    }
}
