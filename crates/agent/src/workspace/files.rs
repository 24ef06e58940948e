//! Writes a job's files and its step scripts.

use super::paths::normalize;
use super::{Confined, script};
use crate::api::{Api, ApiError, CALL_TIMEOUT, JobAuth, retry, valid_segment};
use crate::error::chain;
use crate::host_disk::has_no_room;
use crate::job::{Failure, JobStop};
use crate::log::{EntryWriter, JobLog};
use crate::text;
use jobs::redact::{LONG_SECRET, SHORT_SECRET};
use std::collections::BTreeSet;
use std::fs::{File, FileTimes};
use std::io::{Seek, Write};
use std::time::{Duration, Instant, SystemTime};
use wire::{Job, JobFile};

/// How long a stored file is asked for before the job ends in error.
const DOWNLOAD_PATIENCE: Duration = Duration::from_mins(5);
/// Bytes written between two chances for other tasks to run.
const PIECE: usize = 1 << 20;

/// Writes everything under one log entry, and none if there is nothing to write.
pub(crate) async fn write_all(
    api: &Api,
    auth: &JobAuth,
    job: &Job,
    confined: &Confined,
    log: &JobLog,
    stop: &JobStop,
) -> Result<(), Failure> {
    if job.files.is_empty() && job.docker_steps.is_empty() {
        return Ok(());
    }
    let entry = log.entry("setup.fs.extras", None);
    for warning in odd_secrets(job) {
        entry.line(&warning);
    }
    let written = tokio::select! {
        written = write(api, auth, job, confined, &entry) => written,
        () = stop.token().cancelled() => Err(Failure::Stopped),
    };
    match written {
        Ok(()) => entry.close(0),
        Err(failure) => {
            if let Failure::Broke { message, .. } = &failure {
                entry.line(message);
            }
            entry.close(1);
            return Err(failure);
        }
    }
    Ok(())
}

async fn write(
    api: &Api,
    auth: &JobAuth,
    job: &Job,
    confined: &Confined,
    entry: &EntryWriter,
) -> Result<(), Failure> {
    for (key, file) in &job.files {
        let began = Instant::now();
        let path = normalize(key)?;
        if path.is_empty() {
            return Err(Failure::bad_job(format!("a file can't take the place of the workspace: {key:?}")));
        }
        let mut target = confined.create(&path)?;
        match &file.stored {
            Some((bucket, key)) => download(api, auth, bucket, key, &target)
                .await
                .map_err(|failure| failure.while_doing("failed to get workspace files"))?,
            None => write_slowly(&mut target, &file.content).await.map_err(|fault| broke(&path, &fault))?,
        }
        set_times(&target, file).map_err(|fault| broke(&path, &fault))?;
        note(entry, &path, began);
    }
    for (index, step) in job.docker_steps.iter().enumerate() {
        let began = Instant::now();
        let path = script::path(job, index)?;
        let text = script::content(&step.commands, api.config().startup_script);
        confined.create(&path)?.write_all(text.as_bytes()).map_err(|fault| broke(&path, &fault))?;
        note(entry, &path, began);
    }
    Ok(())
}

/// Writes in pieces: the page cache is fast, but a large file would keep other jobs waiting.
async fn write_slowly(target: &mut File, content: &[u8]) -> std::io::Result<()> {
    for piece in content.chunks(PIECE) {
        target.write_all(piece)?;
        if piece.len() == PIECE {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

async fn download(api: &Api, auth: &JobAuth, bucket: &str, key: &str, target: &File) -> Result<(), Failure> {
    if !valid_segment(bucket) || !key.split('/').all(valid_segment) {
        return Err(Failure::bad_job(format!("invalid file name {bucket:?}/{key:?}")));
    }
    let attempts = retry("download a file", || fetch(api, auth, bucket, key, target));
    let Ok(outcome) = tokio::time::timeout(DOWNLOAD_PATIENCE, attempts).await else {
        return Err(Failure::sandbox(format!("{bucket}/{key} could not be had for too long")));
    };
    outcome.map_err(|error| {
        let message = format!("{bucket}/{key}: {}", chain(&error));
        match &error {
            _ if error.is_final_word() => Failure::bad_job(message),
            ApiError::Local { source, .. } if has_no_room(source) => Failure::no_room(message),
            _ => Failure::sandbox(message),
        }
    })
}

/// Downloads from the beginning, whatever an earlier attempt left.
async fn fetch(
    api: &Api,
    auth: &JobAuth,
    bucket: &str,
    key: &str,
    mut target: &File,
) -> Result<(), ApiError> {
    let local = |source| ApiError::Local { what: "write a downloaded file", source };
    target.rewind().and_then(|()| target.set_len(0)).map_err(local)?;
    let mut response = api.file(auth, bucket, key).await?;
    loop {
        let chunk = tokio::time::timeout(CALL_TIMEOUT, response.chunk()).await;
        let chunk = chunk.map_err(|_| ApiError::Local {
            what: "get the rest of a file in time",
            source: std::io::ErrorKind::TimedOut.into(),
        })?;
        match chunk.map_err(ApiError::transport)? {
            Some(bytes) => target.write_all(&bytes).map_err(local)?,
            None => return Ok(()),
        }
    }
}

fn set_times(target: &File, file: &JobFile) -> std::io::Result<()> {
    let Some(time) = file.modified_at else { return Ok(()) };
    let time = SystemTime::from(time);
    target.set_times(FileTimes::new().set_accessed(time).set_modified(time))
}

/// A word on secrets that are too short or too long to hide well, by what replaces them.
fn odd_secrets(job: &Job) -> Vec<String> {
    let words = |which: &dyn Fn(usize) -> bool| {
        let secrets = job.redacted_values.iter().filter(|(secret, _)| which(secret.len()));
        let words: BTreeSet<&str> = secrets.map(|(_, word)| word.as_str()).collect();
        words.into_iter().collect::<Vec<_>>().join(", ")
    };
    let short = words(&|len| (1..SHORT_SECRET).contains(&len));
    let long = words(&|len| len > LONG_SECRET);
    let short = (!short.is_empty()).then(|| {
        format!(
            "Warning: shorter than {SHORT_SECRET} bytes, and so replaced in unrelated text as well: {short}. \
             Choose longer secrets"
        )
    });
    let long = (!long.is_empty()).then(|| {
        format!(
            "Warning: longer than {LONG_SECRET} bytes, and so replaced as it is and line by line only, and in no \
             encoding: {long}. Don't print it encoded"
        )
    });
    short.into_iter().chain(long).collect()
}

fn note(entry: &EntryWriter, path: &str, began: Instant) {
    entry.line(&format!("Wrote {path} in {}", text::go_duration(began.elapsed())));
}

fn broke(path: &str, fault: &std::io::Error) -> Failure {
    Failure::of_write(format_args!("{path:?}"), fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_and_long_secrets_are_warned_of_and_none_is_told() {
        let job = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(secret, word)| ((*secret).to_owned(), (*word).to_owned()));
            Job { redacted_values: pairs.collect(), ..Job::default() }
        };
        let (fits, too_long) = ("x".repeat(LONG_SECRET), "y".repeat(LONG_SECRET + 1));
        assert_eq!(
            odd_secrets(&job(&[("", "EMPTY"), ("123456", "SIX"), (&fits, "FITS")])),
            Vec::<String>::new()
        );
        let warnings =
            odd_secrets(&job(&[("12345", "B"), ("99", "A"), ("123456", "SIX"), (&too_long, "KEYS")]));
        let [short, long] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(short.contains(": A, B. ") && !short.contains("99") && !short.contains("12345"), "{short}");
        assert!(long.contains(": KEYS. ") && !long.contains("yy"), "{long}");
        assert!(!short.contains("SIX") && !long.contains("SIX"), "{warnings:?}");
    }
}
