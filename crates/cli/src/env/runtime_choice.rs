//! Which runtime runs the jobs: what was asked for, against what this build has.
//!
//! The documented order is kept where nothing is named: virtual machines, if they are on (they are
//! by default, on Linux outside Kubernetes); Kubernetes, in a cluster; a Docker engine. What this
//! build lacks is refused when it was asked for in so many words, for a job must not get less
//! isolation than that. A mere default gives way to `oci`, and not without a word.

use super::{EnvReader, RuntimeName};

/// What the environment says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    /// `EXECUTOR_RUNTIME`.
    pub(crate) named: Option<RuntimeName>,
    /// `EXECUTOR_USE_FIRECRACKER`, if it was set.
    pub(crate) firecracker: Option<bool>,
    /// `EXECUTOR_USE_KUBERNETES`, if it was set.
    pub(crate) kubernetes: Option<bool>,
    /// The agent runs in a pod.
    pub(crate) in_cluster: bool,
    /// A container engine is named, or listens where they usually do.
    pub(crate) docker: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) runtime: RuntimeName,
    /// What was asked for and is not done.
    pub(crate) conflict: Option<String>,
}

/// Whether the agent runs in a Kubernetes pod: both variables are there, whatever their values.
pub(crate) fn in_cluster(env: &EnvReader<'_>) -> bool {
    ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"].iter().all(|name| env.is_there(name))
}

impl Asked {
    /// Whether virtual machines were asked for in so many words.
    pub(crate) fn wants_virtual_machines(self) -> bool {
        match self.named {
            Some(named) => named == RuntimeName::Firecracker,
            None => self.firecracker == Some(true),
        }
    }

    /// As who takes no other executor's place asks: where nothing is said, by what is ours.
    pub(crate) fn or_ours(self) -> Self {
        let nothing_said = self.firecracker.is_none() && self.kubernetes.is_none() && !self.in_cluster;
        Self { named: self.named.or(nothing_said.then_some(RuntimeName::Oci)), ..self }
    }

    /// Chooses one of those that are `built`, or says why none may be taken.
    pub(crate) fn choose(self, built: &[RuntimeName]) -> Result<Chosen, String> {
        use RuntimeName::{Docker, Firecracker, Kubernetes, Oci};
        if let Some(named) = self.named {
            return self.choose_named(named, built);
        }
        let chosen = |runtime| Ok(Chosen { runtime, conflict: None });
        for (name, value, runtime) in [
            ("EXECUTOR_USE_FIRECRACKER", self.firecracker, Firecracker),
            ("EXECUTOR_USE_KUBERNETES", self.kubernetes, Kubernetes),
        ] {
            if value == Some(true) {
                return if built.contains(&runtime) { chosen(runtime) } else { Err(lacking(name, runtime)) };
            }
        }
        if self.firecracker.is_none() && !self.in_cluster {
            return if built.contains(&Firecracker) {
                chosen(Firecracker)
            } else {
                Ok(Chosen { runtime: Oci, conflict: Some(weaker_than_the_default()) })
            };
        }
        let docker = built.contains(&Docker);
        match self.kubernetes.unwrap_or(self.in_cluster) {
            // Also where no engine answers yet: it is waited for, and jobs run nowhere else without a word.
            false => chosen(if docker { Docker } else { Oci }),
            true if built.contains(&Kubernetes) => chosen(Kubernetes),
            true => {
                let container = if self.docker && docker { Docker } else { Oci };
                Ok(Chosen { runtime: container, conflict: Some(in_a_pod(container)) })
            }
        }
    }

    fn choose_named(self, named: RuntimeName, built: &[RuntimeName]) -> Result<Chosen, String> {
        use RuntimeName::{Firecracker, Kubernetes};
        if !built.contains(&named) {
            return Err(format!(
                "EXECUTOR_RUNTIME is {:?}, which this version does not have yet: unset it, or set it to {}",
                named.name(),
                RuntimeName::list(built)
            ));
        }
        let other = [
            ("EXECUTOR_USE_FIRECRACKER", self.firecracker, Firecracker),
            ("EXECUTOR_USE_KUBERNETES", self.kubernetes, Kubernetes),
        ];
        let other = other.iter().find(|(_, value, runtime)| *value == Some(true) && *runtime != named);
        let conflict = other.map(|(name, ..)| {
            format!(
                "{name} is true, but EXECUTOR_RUNTIME is {named}, and has the last word; unset one of them"
            )
        });
        Ok(Chosen { runtime: named, conflict })
    }
}

fn lacking(name: &str, runtime: RuntimeName) -> String {
    format!(
        "{name} is true, but this version has no runtime {runtime} yet: set it to false to run jobs in containers \
         of this host (the runtime oci), which is weaker isolation"
    )
}

fn weaker_than_the_default() -> String {
    "virtual machines are the documented default, and this version has no runtime firecracker yet: jobs run in \
     containers of this host (the runtime oci), which is weaker isolation; set EXECUTOR_RUNTIME=oci if that is meant"
        .to_owned()
}

fn in_a_pod(instead: RuntimeName) -> String {
    format!(
        "this is a Kubernetes pod, but this version has no runtime kubernetes yet: jobs run under {instead}, in \
         this pod; set EXECUTOR_USE_KUBERNETES=false if that is meant"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use RuntimeName::{Docker, Firecracker, Kubernetes, Oci};

    const NOTHING: Asked =
        Asked { named: None, firecracker: None, kubernetes: None, in_cluster: false, docker: false };
    const HERE: &[RuntimeName] = &[Oci];
    const WITH_DOCKER: &[RuntimeName] = &[Oci, Docker];
    const EVERYTHING: &[RuntimeName] = &RuntimeName::ALL;

    fn runtime(asked: Asked, built: &[RuntimeName]) -> RuntimeName {
        let chosen = asked.choose(built).unwrap();
        assert_eq!(chosen.conflict, None, "{asked:?}");
        chosen.runtime
    }

    #[test]
    fn the_documented_order_is_kept_where_everything_is_there() {
        let pod = Asked { in_cluster: true, docker: true, ..NOTHING };
        let no_vm = Asked { firecracker: Some(false), docker: true, ..NOTHING };
        assert_eq!(runtime(NOTHING, EVERYTHING), Firecracker);
        assert_eq!(runtime(Asked { firecracker: Some(true), ..pod }, EVERYTHING), Firecracker);
        assert_eq!(runtime(pod, EVERYTHING), Kubernetes);
        assert_eq!(runtime(Asked { in_cluster: true, ..no_vm }, EVERYTHING), Kubernetes);
        assert_eq!(runtime(no_vm, EVERYTHING), Docker);
        // What a sidecar engine's chart says.
        assert_eq!(runtime(Asked { in_cluster: true, kubernetes: Some(false), ..no_vm }, EVERYTHING), Docker);
    }

    #[test]
    fn docker_is_taken_where_it_is_the_documented_choice_whether_or_not_it_answers() {
        let no_vm = Asked { firecracker: Some(false), ..NOTHING };
        for asked in [no_vm, Asked { in_cluster: true, kubernetes: Some(false), ..NOTHING }] {
            for docker in [false, true] {
                assert_eq!(runtime(Asked { docker, ..asked }, WITH_DOCKER), Docker);
            }
            assert_eq!(runtime(Asked { named: Some(Oci), ..asked }, WITH_DOCKER), Oci);
        }
    }

    #[test]
    fn a_default_that_is_not_there_gives_way_to_oci_and_says_so() {
        for (asked, built) in [(NOTHING, HERE), (Asked { docker: true, ..NOTHING }, WITH_DOCKER)] {
            let chosen = asked.choose(built).unwrap();
            assert_eq!(chosen.runtime, Oci);
            assert!(
                chosen.conflict.unwrap().contains("which is weaker isolation; set EXECUTOR_RUNTIME=oci ")
            );
            assert_eq!(runtime(Asked { named: Some(Oci), ..asked }, built), Oci);
            assert_eq!(runtime(asked.or_ours(), built), Oci);
        }
        let no_vm = Asked { firecracker: Some(false), docker: true, ..NOTHING };
        assert_eq!(runtime(no_vm.or_ours(), WITH_DOCKER), Docker);
        assert_eq!(runtime(Asked { firecracker: Some(false), docker: true, ..NOTHING }, HERE), Oci);
    }

    #[test]
    fn a_pod_without_its_runtime_is_a_conflict() {
        let pod = Asked { in_cluster: true, ..NOTHING };
        let chosen = pod.choose(HERE).unwrap();
        assert_eq!(chosen.runtime, Oci);
        assert_eq!(
            chosen.conflict.unwrap(),
            "this is a Kubernetes pod, but this version has no runtime kubernetes yet: jobs run under oci, in this \
             pod; set EXECUTOR_USE_KUBERNETES=false if that is meant"
        );
        assert_eq!(runtime(Asked { kubernetes: Some(false), ..pod }, HERE), Oci);
    }

    #[test]
    fn what_was_asked_for_and_is_not_there_is_refused() {
        let refused = Asked { firecracker: Some(true), ..NOTHING }.choose(HERE).unwrap_err();
        assert!(
            refused.starts_with("EXECUTOR_USE_FIRECRACKER is true, but this version has no "),
            "{refused}"
        );
        let refused = Asked { kubernetes: Some(true), ..NOTHING }.choose(HERE).unwrap_err();
        assert!(
            refused.starts_with("EXECUTOR_USE_KUBERNETES is true, but this version has no "),
            "{refused}"
        );
        let refused = Asked { named: Some(Docker), ..NOTHING }.choose(HERE).unwrap_err();
        assert_eq!(
            refused,
            "EXECUTOR_RUNTIME is \"docker\", which this version does not have yet: unset it, or set it to oci"
        );
    }

    #[test]
    fn the_name_has_the_last_word_and_says_so() {
        let named = Asked { named: Some(Oci), in_cluster: true, docker: true, ..NOTHING };
        assert_eq!(runtime(named, EVERYTHING), Oci);
        for asked in [Asked { firecracker: Some(true), ..named }, Asked { kubernetes: Some(true), ..named }] {
            let chosen = asked.choose(EVERYTHING).unwrap();
            assert_eq!(chosen.runtime, Oci);
            assert!(chosen.conflict.unwrap().contains("has the last word"));
        }
    }
}
