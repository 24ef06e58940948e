//! A log as a file.

use super::painted::text_path;
use crate::api::LogEntryView;
use crate::body::BodyFault;
use crate::pages::fault::Fault;
use crate::pages::frame::Answer;
use crate::pages::visit::{Visit, with_query};
use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::stream;
use http::Method;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http_body_util::BodyExt;
use std::collections::VecDeque;

/// `GET /jobs/{id}/log/text`: all of it, each entry with a line before it.
pub(in crate::pages) async fn download(visit: Visit) -> Result<Answer, Fault> {
    let id = visit.number("id")?;
    let asked = [("attempt", visit.query("attempt"))];
    let entries: Vec<LogEntryView> =
        visit.get(&with_query(&format!("/api/v1/jobs/{id}/logs"), &asked)).await?;
    // Should texts not be to be had, that is told while it still can be.
    if let Some(entry) = entries.iter().find(|entry| entry.length > 0) {
        visit.ask(Method::GET, &text_path(id, entry, 0), None).await?;
    }
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"job-{id}.log\"")),
    ];
    Ok(Answer::Raw((headers, whole(visit, id, entries)).into_response()))
}

/// What comes next of the file.
struct Progress {
    visit: Visit,
    entries: VecDeque<LogEntryView>,
    text: Option<Body>,
}

fn whole(visit: Visit, id: i64, entries: Vec<LogEntryView>) -> Body {
    // Commands may be most of what is known of them, and whoever reads slowly keeps it in memory.
    let entries = entries.into_iter().map(|entry| LogEntryView { command: None, ..entry }).collect();
    let begin = Progress { visit, entries, text: None };
    Body::from_stream(stream::try_unfold(begin, move |mut progress| async move {
        loop {
            if let Some(text) = &mut progress.text {
                match text.frame().await.transpose().map_err(|_| BodyFault::Broken)? {
                    Some(frame) => match frame.into_data() {
                        Ok(data) => return Ok(Some((data, progress))),
                        Err(_) => continue,
                    },
                    None => progress.text = None,
                }
            }
            let Some(entry) = progress.entries.pop_front() else { return Ok::<_, BodyFault>(None) };
            let text = progress.visit.ask(Method::GET, &text_path(id, &entry, 0), None).await;
            progress.text = Some(text.map_err(|_| BodyFault::Broken)?.into_body());
            let line = format!("\n== {} ({})\n", entry.key, entry.started_at);
            return Ok(Some((Bytes::from(line), progress)));
        }
    }))
}
