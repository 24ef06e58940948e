//! Jobs that have a text in what lists show of them.
//!
//! No index knows it, so jobs are looked through, the newest first, and only so many at one time: a page may have fewer
//! than asked for, or none, and yet another one after it.

use super::input::invalid_query;
use super::problem::Refusal;
use super::views;
use crate::api::{JobView, Page};
use crate::app::App;
use store::{JobFilter, JobRow};

/// Jobs that are looked through for one page, and at one time.
const MOST: u32 = 5_000;
const AT_ONCE: u32 = 500;
/// Bytes of the text at most.
const LONGEST: usize = 200;

/// A page of the jobs that `filter` and `text` let through.
pub(super) async fn jobs(
    app: &App,
    mut filter: JobFilter,
    limit: usize,
    text: &str,
) -> Result<Page<JobView>, Refusal> {
    if text.len() > LONGEST {
        return Err(invalid_query(format!(
            "text has {} bytes: at most {LONGEST} are looked for",
            text.len()
        )));
    }
    let text = text.to_lowercase();
    let mut items: Vec<JobView> = Vec::new();
    filter.limit = AT_ONCE;
    for _ in 0..MOST / AT_ONCE {
        let rows = app.store.jobs(filter.clone()).await?;
        let is_last = rows.len() < AT_ONCE as usize;
        for row in rows {
            filter.before = Some(row.id);
            if has(&row, &text) {
                items.push(views::job(row));
                if items.len() == limit {
                    let next_cursor = filter.before.map(|id| id.to_string());
                    return Ok(Page { items, next_cursor });
                }
            }
        }
        if is_last {
            return Ok(Page { items, next_cursor: None });
        }
    }
    Ok(Page { items, next_cursor: filter.before.map(|id| id.to_string()) })
}

/// Whether it is in what a list shows.
fn has(row: &JobRow, text: &str) -> bool {
    let id = row.id.to_string();
    let reason = row.end.as_ref().map(|end| end.reason.as_str());
    let step = row.end.as_ref().and_then(|end| end.step.as_deref());
    let shown = [
        Some(id.as_str()),
        Some(&row.owner),
        row.repo.as_deref(),
        row.rev.as_deref(),
        Some(&row.commit),
        row.record.executor.as_deref(),
        row.message.as_deref(),
        reason,
        step,
    ];
    shown.into_iter().flatten().any(|shown| shown.to_lowercase().contains(text))
}
