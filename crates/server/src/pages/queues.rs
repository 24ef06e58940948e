//! The queues: what each holds, and how its jobs are given out.

use super::fault::Fault;
use super::frame::{Answer, Page, Section};
use super::parts::{ago, badge, between};
use super::visit::Visit;
use crate::api::{ChangeQueue, QueueView};
use http::Method;
use jiff::Timestamp;
use jobs::Role;
use maud::{Markup, html};

/// The page is brought up to date this often, in seconds.
const REFRESH: u32 = 5;

/// `GET /queues`
pub(super) async fn list(visit: Visit) -> Result<Answer, Fault> {
    let queues: Vec<QueueView> = visit.get("/api/v1/queues").await?;
    let now = visit.pages.app.clock.now();
    let may_change = visit.may_globally(Role::Operator);
    let body = html! {
        h1 { "Queues" }
        div.cards {
            @for queue in &queues {
                section.card aria-labelledby={ "queue-" (queue.name) } {
                    div.heading {
                        h2 #{ "queue-" (queue.name) } { (queue.name) }
                        @match queue.paused_at {
                            Some(at) => { (badge("paused", "paused")) " " span.hint { (ago(at, now)) } }
                            None => (badge("good", "open")),
                        }
                    }
                    (figures(queue, now))
                    @if may_change { (change_forms(&visit, queue)) }
                }
            }
        }
    };
    Ok(Answer::Page(Page::new(Section::Queues, "Queues", body).live(REFRESH)))
}

fn figures(queue: &QueueView, now: Timestamp) -> Markup {
    let waiting = format!("/jobs?queue={}&state=queued", queue.name);
    let running = format!("/jobs?queue={}&state=processing", queue.name);
    html! {
        dl.figures {
            div { dt { "Waiting" } dd { a href=(waiting) { (queue.queued) } } }
            div { dt { "Held back" } dd { (queue.held) } }
            div {
                dt { "Running" }
                dd { a href=(running) { (queue.running) } @if let Some(most) = queue.max_running { span.hint { " of " (most) } } }
            }
            div { dt { "Before another try" } dd { (queue.errored) } }
            div { dt { "Oldest waits for" } dd { @match queue.oldest_queued_at { Some(at) => (between(at, now)), None => span.none.dash { "–" } } } }
            div { dt { "Ended within an hour" } dd { (queue.ended_within_hour) @if queue.failed_within_hour > 0 { span.hint { ", " (queue.failed_within_hour) " failed" } } } }
        }
    }
}

fn change_forms(visit: &Visit, queue: &QueueView) -> Markup {
    let action = format!("/queues/{}", queue.name);
    let limit = queue.max_running.map(|most| most.to_string()).unwrap_or_default();
    let id = format!("limit-{}", queue.name);
    html! {
        div.actions {
            (visit.form(&action, &html! {
                @if queue.paused_at.is_some() { button name="paused" value="false" { "Resume" } }
                @else { button name="paused" value="true" { "Pause" } }
            }))
            (visit.form(&action, &html! {
                label for=(id) { "Run at most" }
                input.short id=(id) name="limit" type="number" min="0" max="1000000" inputmode="numeric" placeholder="any number" value=(limit);
                button { "Set limit" }
            }))
        }
    }
}

/// `POST /queues/{name}`: pauses, resumes or limits it.
pub(super) async fn change(visit: Visit) -> Result<Answer, Fault> {
    let path = format!("/api/v1/queues/{}", visit.param("name"));
    let change = match visit.parsed::<bool>("paused")? {
        Some(paused) => ChangeQueue { paused: Some(paused), max_running: None },
        None => ChangeQueue { paused: None, max_running: Some(visit.parsed("limit")?.unwrap_or(0)) },
    };
    let _: QueueView = visit.send(Method::PATCH, &path, &change).await?;
    Ok(Answer::Go("/queues?done=queue".to_owned()))
}
