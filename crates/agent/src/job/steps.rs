//! Runs the steps of a job, one after the other, up to the first that fails.

use super::phases::Prepared;
use super::{Failure, skip};
use crate::log::NO_EXIT_CODE;
use crate::workspace::{DATA, SCRIPTS_DIR, file_name, normalize, script};
use runtimes::{ExitStatus, RuntimeError, Step};
use tokio_util::sync::CancellationToken;
use wire::{DockerStep, Job};

/// What a step's log key begins with.
const KEY: &str = "step.docker.";
/// What the key of a step that may skip others ends with.
const PRE: &str = ".pre";

impl Prepared<'_, '_> {
    pub(super) async fn run_steps(&mut self) -> Result<(), Failure> {
        let job = self.opened.claimed.job;
        let mut next = 0;
        while let Some(step) = job.docker_steps.get(next) {
            let name = step_name(step, next);
            let doing = if job.cli_steps.is_empty() {
                format!("running command \"{KEY}{name}\"")
            } else {
                "failed to perform docker step".to_owned()
            };
            self.run_step(step, next, &name).await.map_err(|failure| failure.while_doing(&doing))?;
            next += 1;
            // Jobs of src are older than skipping.
            if job.cli_steps.is_empty()
                && name.strip_suffix(PRE).is_some()
                && let Some(wanted) = skip::read(&self.confined)?
            {
                next = skip::to(&wanted, next, job.docker_steps.len(), |index| {
                    step_name(&job.docker_steps[index], index)
                })?;
            }
        }
        Ok(())
    }

    async fn run_step(&mut self, step: &DockerStep, index: usize, name: &str) -> Result<(), Failure> {
        let claimed = self.opened.claimed;
        if claimed.stop.cause().is_some() {
            return Err(Failure::Stopped);
        }
        let prepared = prepare(claimed.job, step, index, claimed.stop.abandoned())?;
        if let Some(below) = prepared.cwd.strip_prefix("/data/") {
            // A container engine makes a missing working directory. If this one can't be made in the
            // workspace, the runtime says why.
            let _ = self.confined.create_dir(below);
        }
        let startup = claimed.around.api.config().startup_script;
        if startup {
            // What another step may have left there is not of this one.
            let _ = self.confined.take(script::STARTUP_FAILED, script::LONGEST_CODE);
        }
        let image = prepared.image.clone();
        let mut entry = claimed.log.entry(&format!("{KEY}{name}"), Some(&prepared.argv));
        claimed.timeline.reached("step begins");
        let ran = self.opened.sandbox.run(prepared, &mut entry, claimed.stop.token()).await;
        claimed.timeline.reached("step ended");
        let metrics = claimed.around.api.config().monitor.metrics();
        match ran {
            Ok(exit) => {
                metrics.image_came(exit.timeline.image);
                claimed.timeline.ledger().step_ran(&exit.usage);
                claimed.timeline.step_was(
                    || claimed.log.redact(name),
                    exit.timeline.image,
                    shown(exit.status),
                );
                entry.close(shown(exit.status));
                let ended = Failure::of_exit(name, &exit);
                let failed = ended.is_err() && startup && self.startup_failed();
                ended.map_err(|failure| {
                    if failed { failure.while_doing("failed to run startup script") } else { failure }
                })
            }
            Err(fault) => {
                let failure = match &fault {
                    RuntimeError::Image(_) => {
                        Failure::of_runtime(&fault).while_doing(&format!("image {image}"))
                    }
                    _ => Failure::of_runtime(&fault),
                };
                if let Failure::Broke { message, reason } = &failure {
                    if matches!(fault, RuntimeError::Image(_)) {
                        metrics.image_failed(reason.name());
                    }
                    entry.line(message);
                }
                entry.close(NO_EXIT_CODE);
                Err(failure)
            }
        }
    }
}

impl Prepared<'_, '_> {
    /// Whether the step got no further than the operator's script.
    fn startup_failed(&self) -> bool {
        matches!(self.confined.take(script::STARTUP_FAILED, script::LONGEST_CODE), Ok(Some(_)))
    }
}

/// The step as the runtime is told.
fn prepare(job: &Job, step: &DockerStep, index: usize, at_once: &CancellationToken) -> Result<Step, Failure> {
    let dir = normalize(&step.dir)?;
    // The entry itself may hold a secret, so only its place is told.
    if let Some(bad) = step.env.iter().position(|pair| !pair.contains('=') || pair.contains('\0')) {
        return Err(Failure::bad_job(format!("entry {bad} of the step's env is not NAME=value")));
    }
    Ok(Step {
        image: step.image.clone(),
        argv: vec!["/bin/sh".to_owned(), format!("{DATA}/{SCRIPTS_DIR}/{}", file_name(job, index))],
        cwd: if dir.is_empty() { DATA.to_owned() } else { format!("{DATA}/{dir}") },
        env: step.env.clone(),
        at_once: at_once.clone(),
    })
}

/// The step's key, or its index if it has none.
fn step_name(step: &DockerStep, index: usize) -> String {
    if step.key.is_empty() { index.to_string() } else { step.key.clone() }
}

/// The exit code in the log; a signal counts from 128 on, as in a shell.
fn shown(status: ExitStatus) -> i32 {
    match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(signal) => 128 + signal,
    }
}
