//! Keeps a workspace for somebody to look at.

use super::command::{self, Program, Ran};
use super::rights::take_rights;
use crate::api::Patience;
use crate::log::EntryWriter;
use runtimes::HostPrograms;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::fs;
use tokio_util::sync::CancellationToken;

/// How long a workspace is copied: its job waits for that, and its slot.
const COPY_LIMIT: Duration = Duration::from_mins(5);

/// Moves a workspace, for whose sandbox `programs` are started, to `kept` and leaves an empty directory for the sandbox to remove.
///
/// A workspace on a volume of its own can't be moved away from it, so it is copied. The copy follows
/// no link and reads no device or pipe; what can't be copied whole within the limit is not kept. No file in what is kept
/// gives rights to whoever runs it; where one can't be kept from that, the log says so.
pub(crate) async fn keep(
    (workspace, programs): (&Path, &HostPrograms),
    kept: &Path,
    env: &[(String, String)],
    entry: &EntryWriter,
    hurry: &CancellationToken,
) -> io::Result<()> {
    if let Some(parent) = kept.parent() {
        fs::create_dir_all(parent).await?;
    }
    match fs::rename(workspace, kept).await {
        Ok(()) => fs::create_dir(workspace).await?,
        // A workspace that is itself where a volume is mounted is told so in the second way.
        Err(fault) if matches!(fault.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::ResourceBusy) => {
            let copied = copy((workspace, programs), kept, env, entry, hurry).await;
            if copied.is_err() {
                // There may be nothing yet.
                let _ = fs::remove_dir_all(kept).await;
            }
            copied?;
        }
        Err(fault) => return Err(fault),
    }
    let of = kept.to_owned();
    let taken = tokio::task::spawn_blocking(move || take_rights(&of)).await;
    if let Err(fault) = taken.unwrap_or_else(|lost| Err(io::Error::other(lost))) {
        entry
            .line(&format!("Operation failed: programs in {} may give rights away: {fault}", kept.display()));
    }
    Ok(())
}

async fn copy(
    (from, programs): (&Path, &HostPrograms),
    to: &Path,
    env: &[(String, String)],
    entry: &EntryWriter,
    hurry: &CancellationToken,
) -> io::Result<()> {
    let (Some(from), Some(to)) = (from.to_str(), to.to_str()) else {
        return Err(io::Error::other("its path is not UTF-8"));
    };
    let argv = ["cp", "--archive", "--no-target-directory", "--", from, to].map(str::to_owned);
    let over = CancellationToken::new();
    let program = Program { argv: &argv, env, directory: None };
    let mut copying = std::pin::pin!(command::run(programs, program, entry, &over));
    let patience = Patience { limit: COPY_LIMIT, hurry: hurry.clone() };
    let ran = tokio::select! {
        ran = &mut copying => ran,
        () = patience.over() => {
            over.cancel();
            copying.await
        }
    };
    match ran? {
        Ran::Exited { status, .. } if status.success() => Ok(()),
        Ran::Exited { last_words, .. } => Err(io::Error::other(last_words)),
        Ran::Stopped => Err(io::Error::new(io::ErrorKind::TimedOut, "copying it took too long")),
    }
}
