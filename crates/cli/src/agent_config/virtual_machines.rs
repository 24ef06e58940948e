//! What virtual machines need of the host and of the configuration.

use crate::env::EnvReader;

/// The documented checks, where virtual machines were asked for.
pub(super) fn check(env: &mut EnvReader<'_>) {
    for fault in faults(std::env::consts::OS, std::env::consts::ARCH, env.int("EXECUTOR_JOB_NUM_CPUS")) {
        env.fault(fault);
    }
}

fn faults(os: &str, architecture: &str, cpus: Option<i64>) -> Vec<&'static str> {
    [
        (os != "linux", "EXECUTOR_USE_FIRECRACKER is only supported on linux hosts."),
        (architecture != "x86_64", "EXECUTOR_USE_FIRECRACKER is only supported on amd64 hosts."),
        (
            cpus.is_some_and(|cpus| cpus != 1 && cpus % 2 != 0),
            "EXECUTOR_JOB_NUM_CPUS must be 1 or an even number",
        ),
    ]
    .into_iter()
    .filter_map(|(is_fault, told)| is_fault.then_some(told))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_and_the_number_of_processors_are_judged() {
        for cpus in [Some(0), Some(1), Some(2), Some(8), None] {
            assert_eq!(faults("linux", "x86_64", cpus), [""; 0], "{cpus:?}");
        }
        assert_eq!(
            faults("macos", "aarch64", Some(3)),
            [
                "EXECUTOR_USE_FIRECRACKER is only supported on linux hosts.",
                "EXECUTOR_USE_FIRECRACKER is only supported on amd64 hosts.",
                "EXECUTOR_JOB_NUM_CPUS must be 1 or an even number",
            ]
        );
    }
}
