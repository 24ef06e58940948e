//! Who did what.

use super::fault::Fault;
use super::frame::{Answer, Page, Section};
use super::jobs::namespace;
use super::parts::{ago, nothing, pager, select, table};
use super::visit::{Visit, with_query};
use crate::acts::Action;
use crate::api::{self, ActView};
use jiff::Timestamp;
use maud::{Markup, html};

/// What the filter calls everything but what was read.
const CHANGES: &str = "changes";
/// Acts on a page.
const PAGE: &str = "100";

/// `GET /audit`
pub(super) async fn list(visit: Visit) -> Result<Answer, Fault> {
    let filter = ["action", "namespace"].map(|name| (name, visit.query(name)));
    let cursor = ("cursor", visit.query("cursor"));
    // Secrets are read with every job, so whoever looks for something else leaves that out.
    let kind = match filter[0].1 {
        Some(CHANGES) => ("reads", Some("false")),
        _ => filter[0],
    };
    let asked = [("limit", Some(PAGE)), kind, filter[1], cursor];
    let page: api::Page<ActView> = visit.get(&with_query("/api/v1/audit", &asked)).await?;
    let now = visit.pages.app.clock.now();
    let rows: Vec<_> = page.items.iter().map(|act| row(act, now)).collect();
    let next = page.next_cursor.as_deref();
    let next = next.map(|next| visit.here_with(&[filter[0], filter[1], ("cursor", Some(next))]));
    let newest = cursor.1.map(|_| visit.here_with(&filter));
    let mut actions = vec![("", "Everything"), (CHANGES, "Everything but secret.read")];
    actions.extend(Action::ALL.map(|action| (action.name(), action.name())));
    let body = html! {
        h1 { "Audit" }
        form.filters method="get" action="/audit" role="search" {
            div { (select("action", "action", "What", &actions, filter[0].1)) }
            @if visit.caller.is_everywhere() {
                div {
                    label for="namespace" { "Namespace" }
                    input #namespace name="namespace" placeholder="all" spellcheck="false" autocapitalize="none" value=(filter[1].1.unwrap_or_default());
                }
            }
            div { button { "Filter" } }
        }
        @if rows.is_empty() { (nothing("Nobody did anything like that.")) }
        @else { (table("Acts", &["When", "Who", "What", "To what", "Of", "From", "More"], &rows)) }
        (pager(newest.as_deref(), next.as_deref(), ["Newest", "Older"]))
    };
    Ok(Answer::Page(Page::new(Section::Audit, "Audit", body)))
}

fn row(act: &ActView, now: Timestamp) -> Vec<Markup> {
    vec![
        ago(act.at, now),
        html! { bdi.name { (act.actor) } " " span.hint { (namespace(&act.actor_namespace)) } },
        html! { code { (act.action) } },
        html! { bdi.name { (act.subject) } },
        namespace(&act.namespace),
        html! { @if act.from.is_empty() { span.none.dash { "–" } } @else { (act.from) } },
        html! { @if act.detail.is_empty() { span.none.dash { "–" } } @else { bdi { (act.detail) } } },
    ]
}
