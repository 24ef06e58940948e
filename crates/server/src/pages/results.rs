//! What a job left: its files, and the indexes that say that they came of it. Handed out to be saved, as the public API does.

use super::fault::Fault;
use super::frame::Answer;
use super::parts::{ago, table};
use super::visit::{Visit, encoded, with_query};
use crate::api::{ArtifactView, JobView, Page, UploadView};
use http::Method;
use jiff::Timestamp;
use jobs::shown_size;
use maud::{Markup, html};

/// Files that are listed.
const MOST_FILES: usize = 200;
/// Indexes that are listed.
const MOST_INDEXES: usize = 50;

/// The files of a job's latest try, and its indexes. Nothing where it left none.
pub(super) async fn sections(visit: &Visit, job: &JobView, now: Timestamp) -> Result<Markup, Fault> {
    let id = job.id;
    let files: Vec<ArtifactView> = visit.get(&format!("/api/v1/jobs/{id}/artifacts")).await?;
    let path = with_query(
        "/api/v1/uploads",
        &[("job", Some(&id.to_string())), ("limit", Some(&MOST_INDEXES.to_string()))],
    );
    let indexes: Page<UploadView> = visit.get(&path).await?;
    Ok(html! {
        @if !files.is_empty() { (artifacts(id, &files, now)) }
        @if !indexes.items.is_empty() { (uploads(&indexes, now)) }
    })
}

fn artifacts(id: i64, files: &[ArtifactView], now: Timestamp) -> Markup {
    let row = |file: &ArtifactView| {
        let parts: Vec<String> = file.path.split('/').map(encoded).collect();
        let attempt = file.attempt.to_string();
        let path = format!("/jobs/{id}/artifacts/{}/{}", encoded(&file.name), parts.join("/"));
        vec![
            html! { a href=(with_query(&path, &[("attempt", Some(&attempt))])) { bdi { (file.path) } } },
            html! { bdi { (file.name) } },
            html! { (shown_size(file.size)) },
            ago(file.created_at, now),
        ]
    };
    let rows: Vec<_> = files.iter().take(MOST_FILES).map(row).collect();
    html! {
        section aria-labelledby="artifacts" {
            h2 #artifacts { "Artifacts" }
            (table("Artifacts", &["File", "Artifact", "Size", "Came"], &rows))
            @if files.len() > MOST_FILES {
                p.hint { (files.len() - MOST_FILES) " more: " code { "executor job artifacts " (id) } " tells of all." }
            }
        }
    }
}

fn uploads(indexes: &Page<UploadView>, now: Timestamp) -> Markup {
    let row = |index: &UploadView| {
        let root = if index.root.is_empty() { "/" } else { &index.root };
        vec![
            html! { a href={ "/uploads/" (index.id) "/content" } { "Index " (index.id) } },
            html! { bdi { (index.repository) } " at " code { (index.commit.get(..12).unwrap_or(&index.commit)) } },
            html! { bdi { (root) } },
            html! { bdi { (index.indexer_name) } " " bdi { (index.indexer_version) } },
            html! { (shown_size(index.size)) },
            ago(index.finished_at.unwrap_or(index.started_at), now),
        ]
    };
    let rows: Vec<_> = indexes.items.iter().map(row).collect();
    html! {
        section aria-labelledby="indexes" {
            h2 #indexes { "Code indexes" }
            (table("Code indexes", &["Index", "Of", "Directory", "Indexer", "Size", "Came"], &rows))
            @if indexes.next_cursor.is_some() {
                p.hint { "There are more: " code { "executor upload list" } " tells of all." }
            }
        }
    }
}

/// `GET /jobs/{id}/artifacts/{*file}`
pub(super) async fn artifact(visit: Visit) -> Result<Answer, Fault> {
    let id = visit.number("id")?;
    // A slash within a part stays one: the name of an artifact has none, nor has a part of a path.
    let path = format!("/api/v1/jobs/{id}/artifacts/{}", visit.param("file").replace("%2F", "/"));
    hand_out(&visit, &with_query(&path, &[("attempt", visit.query("attempt"))])).await
}

/// `GET /uploads/{id}/content`
pub(super) async fn index(visit: Visit) -> Result<Answer, Fault> {
    hand_out(&visit, &format!("/api/v1/uploads/{}/content", visit.param("id"))).await
}

async fn hand_out(visit: &Visit, path: &str) -> Result<Answer, Fault> {
    visit.ask(Method::GET, path, None).await.map(Answer::Raw)
}
