//! `executor job submit`.
//!
//! All lines are looked at before the first is submitted. So many go with one call; each has a key made of the submission's
//! and its number, so that whatever was cut off is made again by saying the same.

use crate::args::JobSubmitArgs;
use crate::client::Client;
use crate::commands::print;
use crate::exit::{Exit, Failure, Outcome};
use jobs::JobSpec;
use serde::Serialize;
use serde_json::value::RawValue;
use server::api::{JobFault, MOST_JOBS};
use std::io::{self, Read, Write};
use std::path::Path;

/// Bytes of all jobs of one submission at most.
const MAX_BYTES: u64 = 256 << 20;
/// Jobs of one submission at most.
const MAX_JOBS: usize = 100_000;
/// Bytes of the jobs of one call, unless one alone has more: half of what a call may have.
const MAX_CALL_BYTES: usize = 8 << 20;
/// Lines with faults that are told of.
const MAX_TOLD: usize = 5;
/// What stands for standard input.
const STANDARD_INPUT: &str = "-";

/// A job as it stands on its line, counted from 1.
struct Line<'t> {
    number: usize,
    job: &'t RawValue,
}

/// The same as a call takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'t> {
    job: &'t RawValue,
    idempotency_key: String,
}

#[derive(Serialize)]
struct Call<'t> {
    jobs: Vec<Item<'t>>,
}

/// What came of a line.
#[derive(Serialize)]
struct Submitted {
    line: usize,
    id: i64,
}

pub(super) async fn run(client: &Client, args: JobSubmitArgs) -> Outcome {
    let JobSubmitArgs { file, idempotency_key, json } = args;
    let text = read(&file)?;
    let lines = lines(&text)?;
    let calls = calls(&lines);
    let made_up = idempotency_key.is_none();
    let key = idempotency_key.map_or_else(crate::client::new_key, Ok)?;
    let (first, last) =
        lines.first().zip(lines.last()).map_or((0, 0), |(first, last)| (first.number, last.number));
    jobs::name::check_idempotency_key(&key_of(&key, last)).map_err(Failure::usage)?;
    if made_up && calls.len() > 1 {
        tell_key(&key);
    }
    let mut submitted = Vec::new();
    let mut failed = None;
    for call in calls {
        match submit(client, &key, first, call).await {
            Ok(more) if json => submitted.extend(more),
            Ok(more) => more.iter().try_for_each(|one| print::line(&one.id.to_string()))?,
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    // Also where others are not: they are there.
    if json {
        print::json(&submitted)?;
    }
    failed.map_or(Ok(Exit::Success), Err)
}

fn key_of(key: &str, line: usize) -> String {
    format!("{key}-{line}")
}

/// Whoever is stopped between two calls has no other chance to tell a key that nobody else knows.
fn tell_key(key: &str) {
    // That nobody reads it is no reason to stop.
    let _ = writeln!(io::stderr(), "submitting as --idempotency-key {key}: say it again if this is cut off");
}

fn read(file: &Path) -> Result<String, Failure> {
    let (what, mut text) = (file.display(), String::new());
    let read = if file == Path::new(STANDARD_INPUT) {
        io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    match read {
        Ok(length) if length as u64 > MAX_BYTES => {
            Err(Failure::usage(format!("{what} has more than {MAX_BYTES} bytes: make several files of it")))
        }
        Ok(_) => Ok(text),
        Err(fault) if fault.kind() == io::ErrorKind::InvalidData => {
            Err(Failure::usage(format!("{what} is not UTF-8 text: write one job a line, as JSON")))
        }
        Err(fault) => {
            Err(Failure::usage(format!("{what} can't be read: {fault}; name a file that is there")))
        }
    }
}

/// The jobs, if all of them could be run as far as can be told here.
fn lines(text: &str) -> Result<Vec<Line<'_>>, Failure> {
    let (mut lines, mut faults, mut bad) = (Vec::new(), Vec::new(), 0);
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = index + 1;
        match job(line) {
            Ok(_) if lines.len() == MAX_JOBS => {
                return Err(Failure::usage(format!(
                    "there are more than {MAX_JOBS} jobs: make several files of them"
                )));
            }
            Ok(job) => lines.push(Line { number, job }),
            Err(fault) => {
                bad += 1;
                if faults.len() < MAX_TOLD {
                    faults.push((number, fault));
                }
            }
        }
    }
    if bad > 0 {
        return Err(refused(bad, &faults));
    }
    if lines.is_empty() {
        return Err(Failure::usage("there is no job: write one job a line, as JSON"));
    }
    Ok(lines)
}

fn job(line: &str) -> Result<&RawValue, String> {
    // A list would be taken for the job's values in the order that they happen to have here.
    if line.trim_start().starts_with('[') {
        return Err("it is a list: write one JSON object a line".to_owned());
    }
    let spec: JobSpec = serde_json::from_str(line).map_err(|fault| {
        // The line within its text is always the first.
        fault.to_string().replace(" at line 1 column ", " at column ")
    })?;
    spec.check().map_err(|fault| fault.to_string())?;
    serde_json::from_str(line).map_err(|fault| fault.to_string())
}

fn refused(bad: usize, faults: &[(usize, String)]) -> Failure {
    let told: Vec<String> = faults.iter().map(|(line, fault)| format!("line {line}: {fault}")).collect();
    let more = bad - faults.len();
    let more = if more > 0 { format!("; and {more} more lines") } else { String::new() };
    Failure::usage(format!("{}{more}", told.join("; ")))
}

/// Which lines go with one call.
fn calls<'l, 't>(mut lines: &'l [Line<'t>]) -> Vec<&'l [Line<'t>]> {
    let mut calls = Vec::new();
    while !lines.is_empty() {
        let mut bytes = 0;
        let fit = lines.iter().take(MOST_JOBS).take_while(|line| {
            bytes += line.job.get().len();
            bytes <= MAX_CALL_BYTES
        });
        let (call, rest) = lines.split_at(fit.count().max(1));
        calls.push(call);
        lines = rest;
    }
    calls
}

/// Submits what goes with one call; the `first` of all jobs stands on that line.
async fn submit(
    client: &Client,
    key: &str,
    first: usize,
    lines: &[Line<'_>],
) -> Result<Vec<Submitted>, Failure> {
    let items = lines.iter().map(|line| Item { job: line.job, idempotency_key: key_of(key, line.number) });
    let jobs = items.collect();
    let submitted = client.submit_all(&Call { jobs }).await;
    let submitted = submitted.map_err(|(failure, faults)| told(failure, &faults, lines, key, first))?;
    if submitted.ids.len() != lines.len() {
        return Err(Failure::system("the control plane told fewer ids than there are jobs"));
    }
    let both = lines.iter().zip(submitted.ids);
    Ok(both.map(|(line, id)| Submitted { line: line.number, id }).collect())
}

/// Which lines the control plane refused, or else what it said, and how to go on.
fn told(failure: Failure, faults: &[JobFault], lines: &[Line<'_>], key: &str, first: usize) -> Failure {
    let Failure { exit, mut message } = failure;
    let line_of = |fault: &JobFault| lines.get(fault.index).map(|line| (line.number, fault.detail.clone()));
    let told: Vec<(usize, String)> = faults.iter().filter_map(line_of).take(MAX_TOLD).collect();
    if !told.is_empty() {
        message = refused(faults.len(), &told).message;
    }
    let before = match lines.first() {
        Some(line) if line.number > first => {
            format!("the jobs of the lines before {} are submitted; ", line.number)
        }
        _ => String::new(),
    };
    let again = format!("say the same with --idempotency-key {key}, and no job is submitted twice");
    Failure { exit, message: format!("{message}; {before}{again}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#"{"steps": [{"image": "a", "run": "b"}]}"#;

    fn fault(text: &str) -> String {
        lines(text).err().map(|failure| failure.message).unwrap_or_default()
    }

    #[test]
    fn every_line_is_looked_at_before_anything_is_submitted() {
        let text = format!("{JOB}\n\n  {JOB}\r\n");
        let numbers: Vec<usize> = lines(&text).unwrap().iter().map(|line| line.number).collect();
        assert_eq!(numbers, [1, 3], "lines are counted as editors do");
        let told = fault(&format!("{JOB}\n{{\"stepz\": 1}}\n{{\"steps\": []}}\n[]\n{{\n"));
        for part in [
            "line 2: unknown field `stepz`",
            "at column 8",
            "line 3: the job has no steps",
            "line 4: it is a list",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(told.contains("line 5: EOF") && !told.contains("line 1"), "{told}");
        assert!(fault(&"{\n".repeat(9)).ends_with("; and 4 more lines"));
        assert!(fault(" \n").contains("no job") && !fault("").is_empty());
        let too_many = format!("{JOB}\n").repeat(MAX_JOBS + 1);
        assert!(fault(&too_many).contains("100000 jobs"));
    }

    #[test]
    fn a_call_has_as_many_jobs_and_bytes_as_one_may() {
        let sizes = |text: &str| -> Vec<usize> {
            calls(&lines(text).unwrap()).iter().map(|call| call.len()).collect()
        };
        assert_eq!(sizes(&format!("{JOB}\n").repeat(2 * MOST_JOBS + 1)), [MOST_JOBS, MOST_JOBS, 1]);
        let large = format!(r#"{{"steps": [{{"image": "a", "run": "{}"}}]}}"#, "x".repeat(3 << 20));
        assert_eq!(sizes(&format!("{large}\n").repeat(5)), [2, 2, 1]);
        // What takes many bytes to write may be small; the control plane decides.
        let escaped = format!(r#"{{"steps": [{{"image": "a", "run": "{}"}}]}}"#, r"\u0061".repeat(2 << 20));
        assert_eq!(sizes(&format!("{JOB}\n{escaped}\n{JOB}\n")), [1, 1, 1]);
    }

    #[test]
    fn a_refusal_tells_lines_and_how_to_go_on() {
        let text = format!("\n{JOB}\n{JOB}\n{JOB}\n");
        let lines = lines(&text).unwrap();
        let fault =
            JobFault { index: 1, code: "unknown_repository".to_owned(), detail: "no such".to_owned() };
        let Failure { message, .. } = told(Failure::usage("1 of 2"), &[fault], &lines[1..], "k", 2);
        assert_eq!(
            message,
            "line 4: no such; the jobs of the lines before 3 are submitted; say the same with --idempotency-key k, and no \
             job is submitted twice"
        );
        let Failure { message, exit } = told(Failure::system("no answer"), &[], &lines, "k", 2);
        let told = (message.starts_with("no answer; say"), exit);
        assert_eq!(told, (true, Exit::System), "no job stands on the blank line before the first: {message}");
    }
}
