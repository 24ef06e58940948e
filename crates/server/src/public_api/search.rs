//! Jobs that have a text in what lists show of them, or a certain executor.
//!
//! No index knows either, so jobs are looked through, the newest first, and only so many at one time: a page may have fewer
//! than asked for, or none, and yet another one after it.

use super::input::invalid_query;
use super::paging::Paging;
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

/// What is looked for.
pub(super) struct Wanted {
    /// In lower case.
    text: Option<String>,
    /// The whole name of who has the job, or had it last.
    executor: Option<String>,
}

impl Wanted {
    pub(super) fn new(text: Option<&str>, executor: Option<String>) -> Result<Self, Refusal> {
        for (what, asked) in [("text", text), ("executor", executor.as_deref())] {
            check(what, asked)?;
        }
        Ok(Self { text: text.map(str::to_lowercase), executor })
    }

    fn is(&self, row: &JobRow) -> bool {
        let is_of = self.executor.as_ref().is_none_or(|name| row.record.executor.as_ref() == Some(name));
        is_of && self.text.as_ref().is_none_or(|text| has(row, text))
    }
}

/// Whether so long a text is looked for.
pub(super) fn check(what: &str, asked: Option<&str>) -> Result<(), Refusal> {
    match asked.filter(|asked| asked.len() > LONGEST) {
        Some(long) => {
            let detail = format!("{what} has {} bytes: at most {LONGEST} are looked for", long.len());
            Err(invalid_query(detail))
        }
        None => Ok(()),
    }
}

/// A page of the jobs that `filter` and `wanted` let through.
pub(super) async fn jobs(
    app: &App,
    mut filter: JobFilter,
    paging: Paging,
    wanted: &Wanted,
) -> Result<Page<JobView>, Refusal> {
    let mut page = paging.begin();
    filter.limit = AT_ONCE;
    for _ in 0..MOST / AT_ONCE {
        let rows = app.store.jobs(filter.clone()).await?;
        let is_last = rows.len() < AT_ONCE as usize;
        for row in rows {
            let id = row.id;
            if wanted.is(&row) && !page.add(views::job(row)) {
                return Ok(page.page(next(&filter)));
            }
            filter.before = Some(id);
            if page.is_full() {
                return Ok(page.page(next(&filter)));
            }
        }
        if is_last {
            return Ok(page.page(None));
        }
    }
    Ok(page.page(next(&filter)))
}

/// Where the next page begins.
fn next(filter: &JobFilter) -> Option<String> {
    filter.before.map(|id| id.to_string())
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
