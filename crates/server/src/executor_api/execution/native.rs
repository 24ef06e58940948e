//! The execution as steps in containers.

use super::{REPOSITORY, file, json};
use jobs::batches::{AfterStepResult, ExecutionInput};
use wire::{DockerStep, Job};

/// The changes to go on from.
const STATE: &str = "state.diff";
/// Not even the shell's tracing of these lines may be seen in the step's log.
const SILENTLY: &str = "2>/dev/null";

/// Adds steps and files.
pub(super) fn add(job: &mut Job, input: &ExecutionInput, env: &[String], helper: &str) {
    if let Some(result) = input.cached() {
        go_on_from(job, result, helper);
    }
    let place = Place::of(&input.path);
    for (index, step) in input.steps_to_run() {
        let of_helper = |part: &str| DockerStep {
            key: format!("step.{index}.{part}"),
            image: helper.to_owned(),
            commands: vec![format!("batcheshelper {part} {index}")],
            dir: ".".to_owned(),
            env: env.to_vec(),
        };
        let run = DockerStep {
            key: format!("step.{index}.run"),
            image: step.container.clone(),
            commands: place.run(index),
            dir: place.dir.clone(),
            env: Vec::new(),
        };
        job.docker_steps.extend([of_helper("pre"), run, of_helper("post")]);
    }
}

/// Makes the changes of an earlier execution first, and tells the helper of its result.
fn go_on_from(job: &mut Job, result: &AfterStepResult, helper: &str) {
    // It was checked when the job was submitted.
    let diff = result.diff_bytes().unwrap_or_default().into_owned();
    if !diff.is_empty() {
        let commands = ["set -e", "git apply -p0 ../state.diff", "git add --all"];
        job.docker_steps.push(DockerStep {
            key: "apply-diff".to_owned(),
            image: helper.to_owned(),
            commands: commands.map(str::to_owned).to_vec(),
            dir: REPOSITORY.to_owned(),
            env: Vec::new(),
        });
        job.files.insert(STATE.to_owned(), file(diff));
    }
    job.files.insert(format!("step{}.json", result.step_index), file(json(result)));
}

/// Where steps run.
struct Place {
    dir: String,
    /// The way from there to the workspace.
    up: String,
}

impl Place {
    fn of(path: &str) -> Self {
        let dir = if path.is_empty() { REPOSITORY.to_owned() } else { format!("{REPOSITORY}/{path}") };
        let up = vec![".."; dir.split('/').count()].join("/");
        Self { dir, up }
    }

    /// Runs what the helper has written. Both streams go to files as well, where the helper finds them; they come out
    /// exchanged, so that nothing that the step writes can pass for a line of the helper.
    fn run(&self, index: usize) -> Vec<String> {
        let up = &self.up;
        vec![
            format!("{{ set +x; }} {SILENTLY}"),
            format!("{{ set -eo pipefail; }} {SILENTLY}"),
            format!(
                "(exec \"{up}/step{index}.sh\" | tee {up}/stdout{index}.log) 3>&1 1>&2 2>&3 | tee {up}/stderr{index}.log"
            ),
        ]
    }
}
