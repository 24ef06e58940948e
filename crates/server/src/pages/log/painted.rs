//! Log entries with as much of their text as a page shows.

use super::lines::{Line, Lines};
use super::{ALL, EACH, MOST_ENTRIES};
use crate::api::LogEntryView;
use crate::body;
use crate::pages::fault::Fault;
use crate::pages::visit::{Visit, with_query};
use http::Method;
use http_body_util::BodyExt;
use maud::{Markup, PreEscaped};

/// An entry and the end of its text.
pub(super) struct Painted {
    pub(super) view: LogEntryView,
    /// From which byte on.
    pub(super) from: u64,
    /// Up to which byte: a line that has not ended is shown, and told anew.
    pub(super) shown_to: u64,
    pub(super) text: Markup,
    /// It holds the line that tells of the job's first fault.
    pub(super) fault: Option<()>,
}

impl Painted {
    /// All entries of a try. The latest have their texts first, and those that are not shown none. With them comes why texts
    /// are missing, if they can't be read: what else is known of the job can be shown all the same.
    pub(super) async fn all(
        visit: &Visit,
        job: i64,
        entries: Vec<LogEntryView>,
    ) -> (Vec<Self>, Option<Fault>) {
        let failed = entries.iter().find(|entry| entry.exit_code.is_some_and(|code| code != 0));
        let failed = failed.map(|entry| entry.entry);
        let mut room = ALL;
        let mut painted = Vec::with_capacity(entries.len());
        let mut unread = None;
        for (back, view) in entries.into_iter().rev().enumerate() {
            // Where one text can't be read, the others can't be either, and each would be waited for.
            let is_shown = back < MOST_ENTRIES && unread.is_none();
            let mut take = if is_shown { view.length.min(EACH).min(room) } else { 0 };
            room -= take;
            let from = view.length - take;
            let text = if take == 0 { Ok(String::new()) } else { read(visit, job, &view, from, take).await };
            let text = text.unwrap_or_else(|fault| {
                unread = Some(fault);
                take = 0;
                String::new()
            });
            let is_fault = failed == Some(view.entry);
            painted.push(Self::one(view, take, &text, is_fault));
        }
        painted.reverse();
        (painted, unread)
    }

    /// An entry with the last `take` bytes of its text.
    fn one(view: LogEntryView, take: u64, text: &str, is_fault: bool) -> Self {
        let begin = view.length - take;
        // Of a line whose beginning is left out, all is.
        let skipped = if begin == 0 { 0 } else { text.find('\n').map_or(text.len(), |end| end + 1) };
        let mut lines = Lines::default();
        let mut shown = lines.add(&text[skipped..]);
        let ended = view.exit_code.is_some();
        let open = if ended { None } else { lines.open() };
        let shown_to =
            (begin + text.len() as u64).min(view.length) - if ended { 0 } else { lines.open_bytes() };
        if ended {
            shown.extend(lines.end());
        }
        let fault = is_fault
            .then(|| shown.iter().position(Line::tells_of_a_fault).unwrap_or(shown.len().saturating_sub(1)));
        let mut html = String::with_capacity(text.len() + text.len() / 4);
        for (index, line) in shown.iter().enumerate() {
            html.push_str(&line.show((fault == Some(index)).then_some("error"), false).into_string());
            html.push('\n');
        }
        if let Some(open) = open {
            html.push_str(&open.show(None, true).into_string());
        }
        let fault = fault.filter(|_| !shown.is_empty()).map(drop);
        Self { from: begin + skipped as u64, shown_to, text: PreEscaped(html), fault, view }
    }
}

/// Text of an entry, as the public API gives it.
async fn read(visit: &Visit, job: i64, entry: &LogEntryView, from: u64, most: u64) -> Result<String, Fault> {
    let path = text_path(job, entry, from);
    let body = visit.ask(Method::GET, &path, None).await?.into_body();
    let mut bytes = Vec::new();
    let mut body = std::pin::pin!(body);
    while (bytes.len() as u64) < most
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|_| Fault::internal(&body::BodyFault::Broken))?;
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
    }
    bytes.truncate(most as usize);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where the public API has the text of an entry.
pub(super) fn text_path(job: i64, entry: &LogEntryView, from: u64) -> String {
    let (attempt, from) = (entry.attempt.to_string(), from.to_string());
    let path = format!("/api/v1/jobs/{job}/logs/{}/text", entry.entry);
    with_query(&path, &[("attempt", Some(&attempt)), ("offset", Some(&from))])
}
