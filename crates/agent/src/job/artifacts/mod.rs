//! What a job leaves: found in its workspace when its steps are over, and delivered to the control plane.
//!
//! Only control planes of ours tell of artifacts, and only to agents of ours, so a stock peer never sees any of this.

mod find;
mod send;

use super::{Failure, JobStop};
use crate::api::{Api, JobAuth};
use crate::log::JobLog;
use find::{Found, LONGEST_SEARCH, LeftOut, Search, Searched};
use jobs::{ArtifactSpec, EndReason};
use std::path::Path;
use tokio_util::sync::CancellationToken;
use wire::Job;

/// Finds and delivers what the job declares, and tells of it in a log entry of its own. Steps that failed are no reason not to:
/// what they left may tell why.
pub(super) async fn collect(
    api: &Api,
    auth: &JobAuth,
    job: &Job,
    workspace: &Path,
    log: &JobLog,
    stop: &JobStop,
) -> Result<(), Failure> {
    // Whoever stopped the job wants it to end.
    if job.artifacts.is_empty() || stop.cause().is_some() {
        return Ok(());
    }
    let entry = log.entry("teardown.artifacts", None);
    let say = |line: &str| entry.line(line);
    let collected = tokio::select! {
        collected = find_and_send(api, auth, job, workspace, &say) => collected,
        () = stop.token().cancelled() => Err(Failure::Stopped),
    };
    if let Err(Failure::Broke { message, .. }) = &collected {
        entry.line(message);
    }
    entry.close(i32::from(collected.is_err()));
    collected
}

async fn find_and_send(
    api: &Api,
    auth: &JobAuth,
    job: &Job,
    workspace: &Path,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(), Failure> {
    let specs: Vec<ArtifactSpec> = job.artifacts.iter().map(spec).collect();
    let (root, searched) = (workspace.to_owned(), specs.clone());
    // A thread is not ended by dropping what waits for it.
    let waited_for = CancellationToken::new();
    let nobody_waits = waited_for.clone();
    let _waiting = waited_for.drop_guard();
    let search = tokio::task::spawn_blocking(move || {
        Search::of(&root, &searched, &nobody_waits, LONGEST_SEARCH).run()
    });
    let Searched { found, notes, left_out } = search
        .await
        .map_err(|panic| Failure::sandbox(format!("the search for artifacts failed: {panic}")))??;
    for note in &notes {
        say(note);
    }
    for file in &found {
        let Found { artifact, path, .. } = file;
        let kept = send::send(api, auth, &specs[*artifact].name, workspace, file).await?;
        say(&format!("Keeping {} of {} ({} bytes)", path, specs[*artifact].name, kept.size));
    }
    let missing = |(index, spec): &(usize, &ArtifactSpec)| {
        !spec.optional && !found.iter().any(|file| file.artifact == *index)
    };
    match specs.iter().enumerate().find(missing) {
        None => Ok(()),
        Some((index, ArtifactSpec { name, path, .. })) => {
            let why = nothing_of(path, left_out.get(&index));
            Err(Failure::new(
                EndReason::ArtifactMissing { artifact: name.clone() },
                format!("artifact {name:?}: {why}"),
            ))
        }
    }
}

/// Why there is no file of an artifact.
fn nothing_of(path: &str, left_out: Option<&LeftOut>) -> String {
    match left_out {
        None => format!("there is no file {path:?} in the workspace when the steps are over"),
        Some(LeftOut { count, first }) => {
            let more = if *count > 1 { format!(", and {} more", count - 1) } else { String::new() };
            format!(
                "no file {path:?} that can be kept is in the workspace when the steps are over: {first}{more}"
            )
        }
    }
}

fn spec(artifact: &wire::additions::Artifact) -> ArtifactSpec {
    ArtifactSpec { name: artifact.name.clone(), path: artifact.path.clone(), optional: artifact.optional }
}
