//! `executor job run`.

use super::files::{self, LocalFile};
use super::{exit_of, file, follow};
use crate::args::JobRunArgs;
use crate::client::Client;
use crate::commands::print;
use crate::env::Variables;
use crate::exit::{Exit, Failure, Outcome};
use jobs::{ArtifactSpec, JobSpec, StepSpec};
use server::api::JobView;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) async fn run(client: &Client, variables: &Variables, args: JobRunArgs) -> Outcome {
    let (mut spec, local) = match &args.file {
        Some(path) => file::read(path, variables)?,
        None => {
            (spec_of(&args, variables)?, args.copy.iter().map(|option| LocalFile::parse(option)).collect())
        }
    };
    let pending = files::add(&mut spec, local)?;
    spec.check().map_err(Failure::usage)?;
    files::upload(client, &mut spec, pending).await?;
    let job: JobView = client.submit(&spec, args.idempotency_key).await?;
    if args.detach {
        if args.json {
            print::json(&job)?;
        } else {
            print::line(&job.id.to_string())?;
        }
        return Ok(Exit::Success);
    }
    follow::to_the_end(client, job.id, args.json).await.map(|job| exit_of(&job))
}

fn spec_of(args: &JobRunArgs, variables: &Variables) -> Result<JobSpec, Failure> {
    let mut scripts = args.step.clone();
    if !args.command.is_empty() {
        scripts.push(shell_words::join(&args.command));
    }
    let index = args.index.as_deref().map(file::read_index).transpose()?;
    if scripts.is_empty() && index.is_none() {
        return Err(Failure::usage(
            "there is nothing to run: give a command after `--`, a --step, or a job file with --file",
        ));
    }
    let image = args.image.clone().unwrap_or_default();
    let step = |run| StepSpec { image: image.clone(), run, ..StepSpec::default() };
    Ok(JobSpec {
        queue: if index.is_some() { jobs::index::QUEUE.to_owned() } else { args.queue.clone() },
        repo: args.repo.clone(),
        rev: args.rev.clone(),
        env: args.env.iter().map(|pair| variable(pair, variables)).collect::<Result<_, _>>()?,
        secrets: secrets(&args.secret, variables)?,
        stored_secrets: args.stored_secret.clone(),
        artifacts: args.artifact.iter().map(|pair| artifact(pair)).collect::<Result<_, _>>()?,
        files: Vec::new(),
        steps: scripts.into_iter().map(step).collect(),
        index,
        execution: None,
        priority: args.order.priority,
        delay_seconds: args.order.delay.map(seconds),
        not_before: None,
        concurrency: args.order.concurrency.clone(),
        retries: args.order.retries,
        needs: args.order.needs().map_err(Failure::usage)?,
    })
}

/// What the job leaves: a name and a path, or a path that ends with the name.
fn artifact(pair: &str) -> Result<ArtifactSpec, Failure> {
    let (name, path) = pair.split_once('=').unwrap_or((pair.rsplit('/').next().unwrap_or(pair), pair));
    let spec = ArtifactSpec { name: name.to_owned(), path: path.to_owned(), optional: false };
    if name.is_empty() || path.is_empty() {
        return Err(Failure::usage(format!("--artifact {pair:?}: write NAME=PATH, such as app=out/app")));
    }
    Ok(spec)
}

/// Whole seconds, none of the delay left out.
fn seconds(delay: Duration) -> u64 {
    delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0))
}

fn variable(pair: &str, variables: &Variables) -> Result<(String, String), Failure> {
    match pair.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Ok((pair.to_owned(), from_environment("--env", pair, variables)?)),
    }
}

/// Secrets are named, never given: a value on the command line is seen by everybody on the host.
pub(super) fn secrets(names: &[String], variables: &Variables) -> Result<BTreeMap<String, String>, Failure> {
    let value = |name: &String| match name.split_once('=') {
        Some((name, _)) => Err(Failure::usage(format!(
            "a secret's value may not be on the command line: export {name} and say `--secret {name}`"
        ))),
        None => Ok((name.clone(), from_environment("secret", name, variables)?)),
    };
    names.iter().map(value).collect()
}

fn from_environment(what: &str, name: &str, variables: &Variables) -> Result<String, Failure> {
    let value = variables.get(name).map(str::to_owned);
    value.ok_or_else(|| {
        Failure::usage(format!("{what} {name:?} is not set in this environment: export it first"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command, JobCommand};
    use clap::Parser;

    fn spec(args: &[&str]) -> Result<JobSpec, String> {
        let line = ["executor", "job", "run", "--image", "debian"].iter().chain(args);
        let Some(Command::Job(JobCommand::Run(args))) = Cli::try_parse_from(line).unwrap().command else {
            panic!("another command was read");
        };
        spec_of(&args, &Variables::of(&[("TOKEN", "value"), ("A", "from env")]))
            .map_err(|failure| failure.message)
    }

    #[test]
    fn steps_come_in_order_and_the_command_is_quoted() {
        let spec = spec(&["--step", "make", "--step", "make test", "--", "echo", "a b", "$HOME"]).unwrap();
        let scripts: Vec<_> = spec.steps.iter().map(|step| step.run.as_str()).collect();
        assert_eq!(scripts, ["make", "make test", "echo 'a b' '$HOME'"]);
    }

    #[test]
    fn variables_are_given_or_taken_from_the_environment() {
        let spec = spec(&["--env", "A", "--env", "B=x=y", "--secret", "TOKEN", "--", "true"]).unwrap();
        assert_eq!((spec.env["A"].as_str(), spec.env["B"].as_str()), ("from env", "x=y"));
        assert_eq!(spec.secrets["TOKEN"], "value");
    }

    #[test]
    fn retries_are_taken_and_are_none_unless_said() {
        assert_eq!(spec(&["--retries", "3", "--", "true"]).unwrap().retries, 3);
        assert_eq!(spec(&["--", "true"]).unwrap().retries, 0);
    }

    /// A time in it would be another one with each call, and the call no longer the same.
    #[test]
    fn a_delay_is_sent_as_it_was_said() {
        let delay = |text| spec(&["--delay", text, "--", "true"]).unwrap();
        assert_eq!((delay("10m").delay_seconds, delay("10m").not_before), (Some(600), None));
        assert_eq!(delay("1ms").delay_seconds, Some(1));
        assert_eq!(spec(&["--", "true"]).unwrap().delay_seconds, None);
        assert!(
            delay("400000h")
                .check()
                .unwrap_err()
                .to_string()
                .contains("delaySeconds is 1440000000: use 0 to")
        );
    }

    #[test]
    fn an_index_is_read_as_it_is_documented() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let line = ["executor", "job", "run", "--repo", "app", "--index", path.to_str().unwrap()];
            let Some(Command::Job(JobCommand::Run(args))) = Cli::try_parse_from(line).unwrap().command else {
                panic!("another command was read");
            };
            spec_of(&args, &Variables::of(&[])).map_err(|failure| failure.message)
        };
        let spec = read(r#"{"indexer": "sourcegraph/scip-go", "indexer_args": ["scip-go"], "root": "cmd"}"#)
            .unwrap();
        assert_eq!((spec.queue.as_str(), spec.check()), ("codeintel", Ok(())));
        assert_eq!(spec.index.unwrap().indexer_args, ["scip-go"]);
        let fault = read(r#"{"indxer": "x"}"#).unwrap_err();
        assert!(fault.contains("index.json") && fault.contains("no key \"indxer\""), "{fault}");
        for other in [["--image", "debian"], ["--queue", "batches"], ["--step", "make"]] {
            let line = ["executor", "job", "run", "--repo", "app", "--index", "x"].into_iter().chain(other);
            assert!(Cli::try_parse_from(line).is_err(), "{other:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(spec(&[]).unwrap_err().contains("nothing to run"));
        assert!(spec(&["--secret", "NOPE", "--", "true"]).unwrap_err().contains("NOPE"));
        assert!(spec(&["--secret", "K=v", "--", "true"]).unwrap_err().contains("export K"));
    }
}
