//! Every variable that `executor` knows.

mod client;
mod connection;
mod docker;
mod firecracker;
mod jobs;
mod kubernetes;
mod limits;
mod process;
mod runtime;

use super::variable::Variable;

/// Variables that belong together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) rows: &'static [Variable],
}

/// All of them, in the order in which they are read, so that faults are reported in a stable order.
pub(crate) const SECTIONS: &[Section] = &[
    Section { title: "Connection and queues", rows: connection::ROWS },
    Section { title: "Jobs", rows: jobs::ROWS },
    Section { title: "Limits of a job", rows: limits::ROWS },
    Section { title: "Runtime", rows: runtime::ROWS },
    Section { title: "Docker and registries", rows: docker::ROWS },
    Section { title: "Firecracker", rows: firecracker::ROWS },
    Section { title: "Kubernetes", rows: kubernetes::ROWS },
    Section { title: "Client", rows: client::ROWS },
    Section { title: "Process", rows: process::ROWS },
];

/// All rows, in the order in which they are read.
pub(crate) fn rows() -> impl Iterator<Item = &'static Variable> {
    SECTIONS.iter().flat_map(|section| section.rows)
}

/// The table's row for `name`. Every name used in the code is a row of the table.
pub(crate) fn variable(name: &str) -> &'static Variable {
    rows().find(|row| row.name == name).unwrap_or_else(|| panic!("{name} is not in the table"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::variable::{Effect, Reader};
    use crate::env::{EnvReader, RuntimeName, Variables};
    use std::collections::BTreeSet;

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        let empty = Variables::of(&[]);
        let mut reader = EnvReader::new(&empty, "executor");
        reader.load(&[Reader::Agent, Reader::Client, Reader::All]);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn names_are_unique_and_secrets_have_no_default() {
        let mut names = BTreeSet::new();
        for row in rows() {
            for name in std::iter::once(row.name).chain(row.older) {
                assert!(names.insert(name), "{name} is there twice");
            }
            assert!(!row.secret || row.default_told().is_none(), "{}", row.name);
            assert!(!row.doc.is_empty() && row.doc.ends_with('.'), "{}: {:?}", row.name, row.doc);
            assert!(!row.doc.contains('\n'), "{}", row.name);
        }
    }

    /// All variables of the documented interface, of all revisions of it.
    const DOCUMENTED: &[&str] = &[
        "DOCKER_REGISTRY_NODE_EXPORTER_URL",
        "EXECUTOR_ADD_SAFE",
        "EXECUTOR_CLEANUP_TASK_INTERVAL",
        "EXECUTOR_DOCKER_ADDITIONAL_MOUNTS",
        "EXECUTOR_DOCKER_ADD_HOST_GATEWAY",
        "EXECUTOR_DOCKER_AUTH_CONFIG",
        "EXECUTOR_DOCKER_HOST_MOUNT_PATH",
        "EXECUTOR_DOCKER_REGISTRY_MIRROR_URL",
        "EXECUTOR_ENABLE_JOB_AUDIT_LOGGING",
        "EXECUTOR_FIRECRACKER_BANDWIDTH_EGRESS",
        "EXECUTOR_FIRECRACKER_BANDWIDTH_INGRESS",
        "EXECUTOR_FIRECRACKER_DISK_SPACE",
        "EXECUTOR_FIRECRACKER_IMAGE",
        "EXECUTOR_FIRECRACKER_KERNEL_IMAGE",
        "EXECUTOR_FIRECRACKER_MEMORY",
        "EXECUTOR_FIRECRACKER_NUM_CPUS",
        "EXECUTOR_FIRECRACKER_SANDBOX_IMAGE",
        "EXECUTOR_FRONTEND_PASSWORD",
        "EXECUTOR_FRONTEND_URL",
        "EXECUTOR_HEALTH_SERVER_ADDR",
        "EXECUTOR_JOB_MEMORY",
        "EXECUTOR_JOB_NUM_CPUS",
        "EXECUTOR_KEEP_WORKSPACES",
        "EXECUTOR_KUBERNETES_CONFIG_PATH",
        "EXECUTOR_KUBERNETES_NAMESPACE",
        "EXECUTOR_KUBERNETES_NODE_NAME",
        "EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_EXPRESSIONS",
        "EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_FIELDS",
        "EXECUTOR_KUBERNETES_NODE_SELECTOR",
        "EXECUTOR_KUBERNETES_NODE_TOLERATIONS",
        "EXECUTOR_KUBERNETES_PERSISTENCE_VOLUME_NAME",
        "EXECUTOR_KUBERNETES_POD_AFFINITY",
        "EXECUTOR_KUBERNETES_POD_ANTI_AFFINITY",
        "EXECUTOR_KUBERNETES_RESOURCE_LIMIT_CPU",
        "EXECUTOR_KUBERNETES_RESOURCE_LIMIT_MEMORY",
        "EXECUTOR_KUBERNETES_RESOURCE_REQUEST_CPU",
        "EXECUTOR_KUBERNETES_RESOURCE_REQUEST_MEMORY",
        "EXECUTOR_MAXIMUM_NUM_JOBS",
        "EXECUTOR_MAXIMUM_RUNTIME_PER_JOB",
        "EXECUTOR_MAX_ACTIVE_TIME",
        "EXECUTOR_NUM_TOTAL_JOBS",
        "EXECUTOR_QUEUE_NAME",
        "EXECUTOR_QUEUE_NAMES",
        "EXECUTOR_QUEUE_POLL_INTERVAL",
        "EXECUTOR_USE_FIRECRACKER",
        "EXECUTOR_USE_KUBERNETES",
        "EXECUTOR_VM_PREFIX",
        "EXECUTOR_VM_STARTUP_SCRIPT_PATH",
        "INSECURE_DEV",
        "KUBERNETES_ADDITIONAL_JOB_VOLUMES",
        "KUBERNETES_ADDITIONAL_JOB_VOLUME_MOUNTS",
        "KUBERNETES_FS_GROUP",
        "KUBERNETES_GIT_CA_CERT",
        "KUBERNETES_IMAGE_PULL_POLICY",
        "KUBERNETES_IMAGE_PULL_SECRETS",
        "KUBERNETES_JOB_ANNOTATIONS",
        "KUBERNETES_JOB_DEADLINE",
        "KUBERNETES_JOB_HOST_NETWORK",
        "KUBERNETES_JOB_POD_ANNOTATIONS",
        "KUBERNETES_JOB_STEP_IMAGE",
        "KUBERNETES_JOB_VOLUME_SIZE",
        "KUBERNETES_JOB_VOLUME_TYPE",
        "KUBERNETES_KEEP_JOBS",
        "KUBERNETES_RUN_AS_GROUP",
        "KUBERNETES_RUN_AS_USER",
        "KUBERNETES_SERVICE_HOST",
        "KUBERNETES_SERVICE_PORT",
        "KUBERNETES_SINGLE_JOB_POD",
        "KUBERNETES_SINGLE_JOB_STEP_IMAGE",
        "NODE_EXPORTER_URL",
        "SRC_GRACEFUL_SHUTDOWN_TIMEOUT",
        "SRC_HTTP_CLI_INTERNAL_RETRY_AFTER_MAX_DURATION",
        "SRC_HTTP_CLI_INTERNAL_RETRY_DELAY_BASE",
        "SRC_HTTP_CLI_INTERNAL_RETRY_DELAY_MAX",
        "SRC_HTTP_CLI_INTERNAL_RETRY_MAX_ATTEMPTS",
        "SRC_HTTP_CLI_INTERNAL_TIMEOUT",
        "SRC_HTTP_CLI_MAX_RETRIES",
        "SRC_LOG_FORMAT",
        "SRC_LOG_LEVEL",
        "SRC_LOG_SOURCE_LINK",
        "SRC_TRACE_LOG",
    ];

    #[test]
    fn every_documented_variable_is_in_the_table() {
        use crate::env::variable::Origin;
        let documented = rows().filter(|row| row.origin == Origin::Documented);
        let names: BTreeSet<&str> =
            documented.flat_map(|row| std::iter::once(row.name).chain(row.older)).collect();
        let expected: BTreeSet<&str> = DOCUMENTED.iter().copied().collect();
        assert_eq!(names, expected);
        let system = rows().filter(|row| row.origin == Origin::System).map(|row| row.name);
        let system: BTreeSet<&str> = system.collect();
        for name in ["HOSTNAME", "TMPDIR", "HOME", "PATH", "USER", "DOCKER_HOST"].into_iter().chain([
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
        ]) {
            assert!(system.contains(name), "{name}");
        }
    }

    #[test]
    fn only_a_runtime_of_this_build_has_an_effect() {
        for row in rows() {
            if let Effect::With(runtimes) = row.effect {
                assert!(!runtimes.is_empty(), "{}", row.name);
                for runtime in runtimes {
                    assert!(
                        RuntimeName::BUILT.contains(runtime),
                        "{}: {runtime} is not in this build",
                        row.name
                    );
                }
            }
        }
    }
}
