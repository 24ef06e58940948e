//! Which runtime is taken, what is set and has no effect with it, and names that never were variables.

use crate::env::EnvReader;
use crate::env::RuntimeName;
use crate::env::conflicts::{self, Conflicts};
use crate::env::engine_address;
use crate::env::runtime_choice::{self, Asked, Chosen};

/// What the environment says of runtimes.
pub(super) fn asked(env: &mut EnvReader<'_>) -> Asked {
    let named = env.text("EXECUTOR_RUNTIME");
    Asked {
        named: named.as_deref().and_then(RuntimeName::of),
        firecracker: env.given_bool("EXECUTOR_USE_FIRECRACKER"),
        kubernetes: env.given_bool("EXECUTOR_USE_KUBERNETES"),
        in_cluster: runtime_choice::in_cluster(env),
        docker: engine_address::find(env).is_some(),
    }
}

/// Whether containers of ours would run the jobs.
pub(crate) fn chooses_oci(env: &mut EnvReader<'_>) -> bool {
    asked(env).choose(RuntimeName::BUILT).is_ok_and(|chosen| chosen.runtime == RuntimeName::Oci)
}

pub(super) fn chosen_or_fault(env: &mut EnvReader<'_>, chosen: Result<Chosen, String>) -> Option<Chosen> {
    if let Some(name) = env.text("EXECUTOR_RUNTIME").filter(|name| RuntimeName::of(name).is_none()) {
        let known = RuntimeName::list(&RuntimeName::ALL);
        env.fault(format!("invalid value {name:?} for EXECUTOR_RUNTIME: use one of {known}"));
        return None;
    }
    chosen.map_err(|fault| env.fault(fault)).ok()
}

/// What is set and does not do what it says. Strict operation refuses to live with it.
pub(super) fn conflicts_or_faults(
    env: &mut EnvReader<'_>,
    chosen: &Chosen,
    strict: bool,
    warnings: Vec<String>,
) -> Conflicts {
    let mut found = conflicts::find(env, chosen.runtime);
    found.warnings.extend(warnings);
    if strict {
        for warning in std::mem::take(&mut found.warnings) {
            env.fault(format!("refused under EXECUTOR_STRICT: {warning}"));
        }
    }
    found
}

/// Where there are faults, a name that never was a variable may be the reason for one.
pub(super) fn add_hints(env: &mut EnvReader<'_>) {
    for hint in conflicts::never(env) {
        env.hint(hint);
    }
}
