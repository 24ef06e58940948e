//! What containers of ours are known by.

use std::collections::BTreeMap;

/// Whose containers these are, among all that the engine runs.
pub(super) const OWNER: &str = "executor.owner";
/// Which start of that owner made them.
pub(super) const INCARNATION: &str = "executor.incarnation";
/// The name that the control plane knows the executor by.
const EXECUTOR: &str = "executor.name";
/// The job's sandbox.
pub(super) const SANDBOX: &str = "executor.sandbox";
/// The step's number in its job, from 0.
const STEP: &str = "executor.step";

/// One start of an agent, as its containers name it.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) owner: String,
    pub(super) incarnation: String,
    pub(super) executor: String,
}

impl Origin {
    pub(super) fn labels(&self, sandbox: &str, step: u32) -> BTreeMap<&'static str, String> {
        let mut labels = BTreeMap::from([
            (OWNER, self.owner.clone()),
            (INCARNATION, self.incarnation.clone()),
            (SANDBOX, sandbox.to_owned()),
            (STEP, step.to_string()),
        ]);
        if !self.executor.is_empty() {
            labels.insert(EXECUTOR, self.executor.clone());
        }
        labels
    }

    /// A container's name: the job first, for people, then what makes it unique.
    pub(super) fn container_name(&self, sandbox: &str, number: u64, step: u32) -> String {
        format!("executor-{sandbox}-{}-{number}-{step}", self.incarnation)
    }
}

/// The part of a call's path that chooses containers by their labels.
pub(super) fn filter(labels: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let filter = serde_json::json!({ "label": pairs }).to_string();
    super::percent_encoded(&filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_says_whose_it_is() {
        let origin = Origin { owner: "o".into(), incarnation: "1f".into(), executor: "host-1".into() };
        assert_eq!(origin.container_name("job-7", 3, 0), "executor-job-7-1f-3-0");
        let labels = origin.labels("job-7", 2);
        assert_eq!(
            labels.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
            [
                "executor.incarnation=1f",
                "executor.name=host-1",
                "executor.owner=o",
                "executor.sandbox=job-7",
                "executor.step=2"
            ]
        );
    }

    #[test]
    fn a_filter_survives_a_url() {
        assert_eq!(filter(&[("a", "b c")]), "%7B%22label%22%3A%5B%22a%3Db%20c%22%5D%7D");
    }
}
