//! What one job may use, and numbers that have a range.

use crate::env::{EnvReader, RuntimeName};
use agent::Announced;
use runtimes::Limits;
use std::time::Duration;

/// Reads the disk's size, unless the runtime holds no part of a job to it: then it is only told.
pub(super) fn disk(env: &mut EnvReader<'_>, runtime: Option<RuntimeName>) -> Option<u64> {
    if matches!(runtime, Some(RuntimeName::Kubernetes | RuntimeName::Shell)) {
        return None;
    }
    let size = env.size("EXECUTOR_FIRECRACKER_DISK_SPACE");
    let size = size.unwrap_or_else(|fault| {
        if let Some(text) = env.text("EXECUTOR_FIRECRACKER_DISK_SPACE") {
            env.fault(format!(
                "invalid disk size provided for EXECUTOR_FIRECRACKER_DISK_SPACE: {text:?}: {fault}"
            ));
        }
        0
    });
    non_zero(size)
}

/// Reads what must be free on the host's disk; `None` leaves it to the agent.
pub(super) fn disk_floor(env: &mut EnvReader<'_>) -> Option<u64> {
    let text = env.text("EXECUTOR_DISK_FLOOR")?;
    let floor = env.size("EXECUTOR_DISK_FLOOR");
    floor.map_err(|fault| env.fault(format!("invalid size {text:?} for EXECUTOR_DISK_FLOOR: {fault}"))).ok()
}

/// How long a drain may take: only what somebody said, since jobs may take all their time otherwise.
pub(super) fn drain(env: &EnvReader<'_>) -> Option<Duration> {
    env.given_duration("SRC_GRACEFUL_SHUTDOWN_TIMEOUT").filter(|limit| !limit.is_zero())
}

/// Reads the other limits.
pub(super) fn read(env: &mut EnvReader<'_>, disk: Option<u64>) -> Limits {
    Limits {
        cpus: count(env, "EXECUTOR_JOB_NUM_CPUS").map(|cpus| cpus as f64),
        memory: env.size("EXECUTOR_JOB_MEMORY").ok().and_then(non_zero),
        pids: count(env, "EXECUTOR_JOB_PIDS"),
        disk,
    }
}

/// What the control plane is told of them, in the words that were given.
pub(super) fn announced(env: &EnvReader<'_>) -> Announced {
    Announced {
        cpus: env.int("EXECUTOR_JOB_NUM_CPUS").unwrap_or_default().max(0),
        memory: env.text("EXECUTOR_JOB_MEMORY").unwrap_or_default(),
        disk: env.text("EXECUTOR_FIRECRACKER_DISK_SPACE").unwrap_or_default(),
    }
}

pub(super) fn at_least_one(env: &mut EnvReader<'_>, name: &'static str) -> usize {
    let value = env.int(name).unwrap_or(1);
    if value < 1 {
        env.fault(format!("invalid int \"{value}\" for {name}: it must be at least 1"));
    }
    usize::try_from(value).unwrap_or(1).max(1)
}

/// Zero means without limit; less is a fault.
pub(super) fn count(env: &mut EnvReader<'_>, name: &'static str) -> Option<u64> {
    let value = env.int(name).unwrap_or_default();
    if value < 0 {
        env.fault(format!(
            "invalid int \"{value}\" for {name}: it may not be negative; 0 means without limit"
        ));
    }
    u64::try_from(value).ok().and_then(non_zero)
}

fn non_zero(value: u64) -> Option<u64> {
    (value > 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use crate::agent_config::tests::{faults, read};
    use runtimes::Limits;
    use std::time::Duration;

    #[test]
    fn zero_means_without_limit_and_less_is_a_fault() {
        let none = [
            ("EXECUTOR_JOB_NUM_CPUS", "0"),
            ("EXECUTOR_JOB_MEMORY", "0"),
            ("EXECUTOR_FIRECRACKER_DISK_SPACE", "0"),
            ("EXECUTOR_JOB_PIDS", "0"),
        ];
        assert_eq!(read(&none).unwrap().1.limits, Limits::default());
        for name in [
            "EXECUTOR_JOB_PIDS",
            "EXECUTOR_NUM_TOTAL_JOBS",
            "EXECUTOR_JOB_NUM_CPUS",
            "EXECUTOR_MAXIMUM_NUM_JOBS",
        ] {
            let faults = faults(&[(name, "-1")]);
            assert!(faults.len() == 1 && faults[0].contains(name), "{faults:?}");
        }
    }

    #[test]
    fn a_value_that_is_none_is_one_fault() {
        for name in ["EXECUTOR_MAXIMUM_NUM_JOBS", "EXECUTOR_JOB_NUM_CPUS"] {
            assert_eq!(faults(&[(name, "many")]).len(), 1, "{name}");
        }
        assert_eq!(
            faults(&[("EXECUTOR_JOB_MEMORY", "")]),
            ["invalid value \"\" for EXECUTOR_JOB_MEMORY: no value supplied"]
        );
        assert_eq!(
            faults(&[("EXECUTOR_FIRECRACKER_DISK_SPACE", "")]),
            ["invalid value \"\" for EXECUTOR_FIRECRACKER_DISK_SPACE: no value supplied"]
        );
    }

    #[test]
    fn a_disk_is_refused_with_its_documented_words() {
        let faults = faults(&[("EXECUTOR_FIRECRACKER_DISK_SPACE", "20X")]);
        let start = "invalid disk size provided for EXECUTOR_FIRECRACKER_DISK_SPACE: \"20X\": ";
        assert!(faults.len() == 1 && faults[0].starts_with(start), "{faults:?}");
    }

    #[test]
    fn an_engine_is_asked_for_a_disk_limit_as_well() {
        let disk = |pairs: &[(&str, &str)]| {
            read(&[&[("EXECUTOR_RUNTIME", "docker")], pairs].concat()).unwrap().1.limits.disk
        };
        assert_eq!(disk(&[]), Some(20 << 30));
        assert_eq!(disk(&[("EXECUTOR_FIRECRACKER_DISK_SPACE", "0")]), None);
    }

    #[test]
    fn a_floor_of_nothing_is_not_the_same_as_none() {
        let floor = |pairs: &[(&str, &str)]| read(pairs).unwrap().1.disk_floor;
        assert_eq!(floor(&[]), None);
        assert_eq!(floor(&[("EXECUTOR_DISK_FLOOR", "")]), None);
        assert_eq!(floor(&[("EXECUTOR_DISK_FLOOR", "0")]), Some(0));
        assert_eq!(floor(&[("EXECUTOR_DISK_FLOOR", "1.5G")]), Some(3 << 29));
        let faults = faults(&[("EXECUTOR_DISK_FLOOR", "5%")]);
        assert_eq!(
            faults,
            ["invalid size \"5%\" for EXECUTOR_DISK_FLOOR: unknown suffix \"%\": use K, M, G, T or P"]
        );
    }

    #[test]
    fn a_drain_has_a_limit_only_where_somebody_set_one() {
        let limit = |pairs: &[(&str, &str)]| read(pairs).unwrap().1.drain_limit;
        let name = "SRC_GRACEFUL_SHUTDOWN_TIMEOUT";
        assert_eq!((limit(&[]), limit(&[(name, "0")])), (None, None));
        // Also where it is what a reader of the table would take for the default.
        assert_eq!(limit(&[(name, "10s")]), Some(Duration::from_secs(10)));
    }

    #[test]
    fn limits_are_told_in_the_words_that_were_given() {
        let (_, settings) = read(&[("EXECUTOR_FIRECRACKER_MEMORY", "512m")]).unwrap();
        assert_eq!(settings.limits.memory, Some(512 << 20));
        let told = &settings.announced;
        assert_eq!((told.cpus, told.memory.as_str(), told.disk.as_str()), (4, "512m", "20G"));
    }
}
