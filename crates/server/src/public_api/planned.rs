//! What is shown of what was asked for.

use crate::site_config::Site;
use jobs::{Concurrency, JobSpec, Needs};

/// All of it. The rest may be megabytes, of which nothing is kept while something else is waited for.
pub(super) struct Planned {
    /// Of each step its key, and its image as it would be given out now.
    pub(super) steps: Vec<(String, String)>,
    pub(super) needs: Needs,
    pub(super) concurrency: Option<Concurrency>,
}

impl Planned {
    pub(super) fn of(spec: &JobSpec, site: &Site) -> Self {
        Self { steps: steps(spec, site), needs: spec.needs.clone(), concurrency: spec.concurrency.clone() }
    }
}

fn steps(spec: &JobSpec, site: &Site) -> Vec<(String, String)> {
    let of_index = spec.index.iter().flat_map(|index| index.outline(&site.images.src_cli));
    let steps = spec.steps.iter().enumerate().map(|(number, step)| (step.key(number), step.image.as_str()));
    let of_execution = spec.execution.iter().flat_map(|execution| execution.steps_to_run());
    let of_execution =
        of_execution.map(|(number, step)| (format!("step.{number}.run"), step.container.as_str()));
    steps.chain(of_index).chain(of_execution).map(|(key, image)| (key, image.to_owned())).collect()
}
