//! `executor job results`.

use crate::args::JobResultsArgs;
use crate::client::{Client, with_query};
use crate::commands::print;
use crate::exit::{Exit, Failure, Outcome};
use crate::shown;
use server::api::{ResultsView, StepResultView};
use std::io::{ErrorKind, Write};

pub(super) async fn run(client: &Client, args: JobResultsArgs) -> Outcome {
    let JobResultsArgs { id, attempt, diff, json } = args;
    let attempt = attempt.map(|attempt| attempt.to_string());
    let found: ResultsView =
        client.get(&with_query(&format!("/api/v1/jobs/{id}/results"), [("attempt", attempt)])).await?;
    if json {
        print::json(&found)?;
        return Ok(Exit::Success);
    }
    if diff {
        return final_diff(&found);
    }
    let rows = found.results.iter().map(row).collect::<Result<Vec<_>, Failure>>()?;
    let nothing = format!("job {id} ({}) has left no results", found.state);
    print::table(&["STEP", "DIFF", "OUTPUTS", "CACHE KEY"], rows, &nothing)?;
    if let Some(problem) = &found.problem {
        print::line(&shown::line(problem))?;
    }
    Ok(Exit::Success)
}

fn row(step: &StepResultView) -> Result<Vec<String>, Failure> {
    let key = step.cache_key.as_ref().or(step.reported_cache_key.as_ref());
    Ok(vec![
        step.step_index.to_string(),
        print::bytes(diff_of(step)?.len() as u64),
        step.result.output_names().join(" "),
        key.cloned().unwrap_or_default(),
    ])
}

/// All changes of the job, and nothing else: for `git apply -p0`.
fn final_diff(found: &ResultsView) -> Outcome {
    let last = found.results.last().ok_or_else(|| {
        let why = found.problem.clone().unwrap_or_else(|| format!("it is {}", found.state));
        Failure::usage(format!("job {} has left no results: {why}", found.job))
    })?;
    let diff = diff_of(last)?;
    let mut out = std::io::stdout().lock();
    match out.write_all(&diff).and_then(|()| out.flush()) {
        Err(fault) if fault.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::system(format!("standard output can't be written: {fault}")))
        }
        _ => Ok(Exit::Success),
    }
}

fn diff_of(step: &StepResultView) -> Result<Vec<u8>, Failure> {
    let diff = step.result.diff_bytes();
    let unreadable =
        |fault| Failure::system(format!("the result of step {} can't be read: {fault}", step.step_index));
    diff.map(std::borrow::Cow::into_owned).map_err(unreadable)
}
