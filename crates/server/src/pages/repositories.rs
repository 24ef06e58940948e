//! The repositories that jobs can use.

use super::fault::Fault;
use super::frame::{Answer, Page, Section};
use super::jobs::namespace;
use super::parts::{ago, nothing, table};
use super::visit::Visit;
use crate::api::RepositoryView;
use maud::html;

/// `GET /repositories`
pub(super) async fn list(visit: Visit) -> Result<Answer, Fault> {
    let (repositories, pager) = visit.listed("/api/v1/repositories", "cursor").await?;
    let now = visit.pages.app.clock.now();
    let row = |repository: &RepositoryView| {
        vec![
            html! { bdi.name { (repository.name) } },
            namespace(&repository.namespace),
            html! { bdi.name { (repository.source) } },
            ago(repository.created_at, now),
        ]
    };
    let rows: Vec<_> = repositories.iter().map(row).collect();
    let body = html! {
        h1 { "Repositories" }
        @if rows.is_empty() { (nothing("None yet. Add one with: executor repo add NAME SOURCE")) }
        @else { (table("Repositories", &["Name", "Namespace", "Mirrored from", "Added"], &rows)) }
        (pager)
    };
    Ok(Answer::Page(Page::new(Section::Repositories, "Repositories", body)))
}
