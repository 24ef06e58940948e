//! A log as a file.

use super::painted::text_path;
use crate::answers::Reader;
use crate::api::LogEntryView;
use crate::body::BodyFault;
use crate::pages::fault::Fault;
use crate::pages::frame::Answer;
use crate::pages::visit::Visit;
use crate::public_api::{logs, seen, sent};
use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use jobs::JobId;
use std::collections::VecDeque;
use std::fmt::Display;
use store::StoreError;

/// Entries that are looked up at a time: whoever reads slowly keeps them in memory, and there may be 10,000.
const AT_ONCE: u32 = 64;

/// `GET /jobs/{id}/log/text`: all of it, each entry with a line before it.
pub(in crate::pages) async fn download(visit: Visit) -> Result<Answer, Fault> {
    let id = JobId(visit.number("id")?);
    let asked = visit.query("attempt").map(str::parse).transpose();
    let asked = asked.map_err(|_| {
        let detail =
            "the parameter attempt is no number of a try: leave it out, or follow a link of the job's page";
        Fault::new(StatusCode::BAD_REQUEST, "There is no such try", detail)
    })?;
    let job = seen::job(&visit.pages.app, &visit.caller, id).await?;
    let mut rest = Rest { at: (id, asked.unwrap_or(job.record.epoch)), last: 0, is_over: false, visit };
    let first = {
        let _turn = sent::turn(&rest.visit.pages.app, &rest.visit.caller).await?;
        rest.look().await?
    };
    // Should texts not be to be had, that is told while it still can be.
    if let Some(entry) = first.iter().find(|entry| entry.length > 0) {
        rest.visit.ask(Method::GET, &text_path(id.0, entry, 0), None).await?;
    }
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"job-{id}.log\"")),
    ];
    Ok(Answer::Raw((headers, whole(rest, first)).into_response()))
}

/// The entries that come next.
struct Rest {
    visit: Visit,
    /// Of which job and try.
    at: (JobId, u32),
    /// The last one that was looked up.
    last: i64,
    is_over: bool,
}

impl Rest {
    async fn next(&mut self) -> Result<VecDeque<LogEntryView>, StoreError> {
        if self.is_over {
            return Ok(VecDeque::new());
        }
        let reader = Reader::from(&self.visit.caller);
        let _turn = sent::turn_in_time(&self.visit.pages.app, &reader).await;
        self.look().await
    }

    async fn look(&mut self) -> Result<VecDeque<LogEntryView>, StoreError> {
        let entries = logs::outline(&self.visit.pages.app, self.at, self.last, AT_ONCE).await?;
        self.is_over = entries.len() < AT_ONCE as usize;
        self.last = entries.last().map_or(self.last, |entry| entry.entry);
        Ok(entries.into())
    }
}

/// What comes next of the file.
struct Progress {
    rest: Rest,
    entries: VecDeque<LogEntryView>,
    text: Option<Body>,
}

/// The file breaks off, which is all that whoever saves it sees.
fn broken(job: JobId, cause: impl Display) -> BodyFault {
    tracing::warn!(%job, %cause, "a log that is being saved breaks off");
    BodyFault::Broken
}

fn whole(rest: Rest, entries: VecDeque<LogEntryView>) -> Body {
    let begin = Progress { rest, entries, text: None };
    Body::from_stream(stream::try_unfold(begin, async |mut progress| {
        let id = progress.rest.at.0;
        loop {
            if let Some(text) = &mut progress.text {
                match text.frame().await.transpose().map_err(|fault| broken(id, fault))? {
                    Some(frame) => match frame.into_data() {
                        Ok(data) => return Ok(Some((data, progress))),
                        Err(_) => continue,
                    },
                    None => progress.text = None,
                }
            }
            if progress.entries.is_empty() {
                progress.entries = progress.rest.next().await.map_err(|fault| broken(id, fault))?;
            }
            let Some(entry) = progress.entries.pop_front() else { return Ok::<_, BodyFault>(None) };
            if entry.length > 0 {
                let text = progress.rest.visit.ask_for_more(&text_path(id.0, &entry, 0)).await;
                progress.text = Some(text.map_err(|fault| broken(id, fault.detail))?.into_body());
            }
            let line = format!("\n== {} ({})\n", entry.key, entry.started_at);
            return Ok(Some((Bytes::from(line), progress)));
        }
    }))
}
