//! What a control plane of ours is told that jobs may rely on here.

use crate::env::EnvReader;
use jobs::Isolation;
use jobs::name::check_label;
use jobs::needs::MAX_LABELS;

const LABELS: &str = "EXECUTOR_LABELS";

/// Reads the labels that its operator gave the agent. What is faulty is noted in `env`.
pub(super) fn labels(env: &mut EnvReader<'_>) -> Vec<String> {
    let listed = env.text(LABELS).unwrap_or_default();
    let mut labels = Vec::new();
    for label in listed.split(',').map(str::trim).filter(|label| !label.is_empty()) {
        match check_label(label) {
            Ok(()) => labels.push(label.to_owned()),
            Err(fault) => env.fault(format!("invalid value in {LABELS}: {fault}")),
        }
    }
    if labels.len() > MAX_LABELS {
        env.fault(format!("{LABELS} has {} labels: at most {MAX_LABELS} are allowed", labels.len()));
    }
    labels
}

/// How well a runtime keeps jobs apart from this host, in the words of jobs that need it.
pub(crate) const fn isolation(of_runtime: runtimes::Isolation) -> Isolation {
    match of_runtime {
        runtimes::Isolation::None => Isolation::None,
        runtimes::Isolation::Container => Isolation::Container,
        runtimes::Isolation::UserKernel => Isolation::UserKernel,
        runtimes::Isolation::Vm => Isolation::Vm,
    }
}
