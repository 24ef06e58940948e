//! Following a job's log to its end, or reading it as far as it goes.

use super::printer::Printer;
use crate::client::{Client, with_query};
use crate::exit::{Exit, Failure, Outcome};
use server::api::{JobView, LogEntryView, LogEvent};

/// Follows a job that this client submitted. The first interrupt cancels it, the second leaves.
pub(super) async fn to_the_end(client: &Client, id: i64, json: bool) -> Result<JobView, Failure> {
    let mut printer = Printer::new(json, true);
    printer.note(&format!("job {id} is queued"))?;
    let mut log = client.follow(id);
    let mut interrupts = 0;
    loop {
        let event = tokio::select! {
            event = log.next() => event?,
            _ = tokio::signal::ctrl_c() => {
                interrupts += 1;
                if interrupts > 1 {
                    return Err(Failure { exit: Exit::Canceled, message: format!("left job {id} while it was stopping") });
                }
                printer.note(&format!("canceling job {id}; interrupt once more to leave at once"))?;
                let _: JobView = client.post(&format!("/api/v1/jobs/{id}/cancel"), &()).await?;
                continue;
            }
        };
        let event =
            event.ok_or_else(|| Failure::system(format!("the log of job {id} ended without its end")))?;
        printer.print(&event)?;
        if let LogEvent::End(job) = event {
            return Ok(*job);
        }
    }
}

/// Prints a job's log to the job's end.
pub(super) async fn followed(client: &Client, id: i64, json: bool) -> Outcome {
    let mut printer = Printer::new(json, false);
    let mut log = client.follow(id);
    while let Some(event) = log.next().await? {
        printer.print(&event)?;
    }
    Ok(Exit::Success)
}

/// Prints the log of a job's latest try, or of another one, as far as it goes.
pub(super) async fn so_far(client: &Client, id: i64, attempt: Option<u32>, json: bool) -> Outcome {
    let mut printer = Printer::new(json, false);
    let asked = [("attempt", attempt.map(|attempt| attempt.to_string()))];
    let entries: Vec<LogEntryView> =
        client.get(&with_query(&format!("/api/v1/jobs/{id}/logs"), asked)).await?;
    if let (Some(attempt), true) = (attempt, entries.is_empty()) {
        return Err(Failure::usage(format!(
            "job {id} has no log of attempt {attempt}: `executor job show {id}` tells which attempts there were"
        )));
    }
    for entry in entries {
        let (attempt, number) = (entry.attempt, entry.entry);
        let opened = LogEntryView { exit_code: None, duration_ms: None, ..entry.clone() };
        printer.print(&LogEvent::Entry(opened))?;
        let mut offset = 0;
        while offset < entry.length {
            let path = format!("/api/v1/jobs/{id}/logs/{number}/text?attempt={attempt}&offset={offset}");
            let text = client.get_text(&path).await?;
            if text.is_empty() {
                break;
            }
            let next = offset + text.len() as u64;
            printer.print(&LogEvent::Text { attempt, entry: number, offset, text })?;
            offset = next;
        }
        // As when it is followed, its end comes after its text.
        if entry.exit_code.is_some() {
            printer.print(&LogEvent::Entry(entry))?;
        }
    }
    printer.finish()?;
    Ok(Exit::Success)
}
