//! Which steps a job has, before any of them has run.

use crate::site_config::Site;
use jobs::JobSpec;

/// A step's key, and its image as it would be given out now.
pub(super) fn steps(spec: &JobSpec, site: &Site) -> Vec<(String, String)> {
    let of_index = spec.index.iter().flat_map(|index| index.outline(&site.images.src_cli));
    let steps = spec.steps.iter().enumerate().map(|(number, step)| (step.key(number), step.image.as_str()));
    steps.chain(of_index).map(|(key, image)| (key, image.to_owned())).collect()
}
