//! The machine's architecture and kernel.

use super::finding::{Finding, fatal, info, ok, warning};
use super::versions::numbers;
use std::fs;

/// What loop devices are set up with in one step came with it.
const OLDEST: [u64; 3] = [5, 8, 0];

/// What was seen.
#[derive(Debug, Clone, Default)]
struct Seen {
    os: String,
    architecture: String,
    release: String,
    /// `/proc/self/status`.
    status: String,
    /// `/proc/sys/user/max_user_namespaces`, if it is there.
    user_namespaces: Option<String>,
}

/// Blocking, for a moment.
pub(super) fn findings() -> Vec<Finding> {
    let seen = Seen {
        os: std::env::consts::OS.to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        release: rustix::system::uname().release().to_string_lossy().into_owned(),
        status: fs::read_to_string("/proc/self/status").unwrap_or_default(),
        user_namespaces: fs::read_to_string("/proc/sys/user/max_user_namespaces").ok(),
    };
    judge(&seen)
}

fn judge(seen: &Seen) -> Vec<Finding> {
    let Seen { os, architecture, release, .. } = seen;
    let platform = match (os.as_str(), architecture.as_str()) {
        ("linux", "x86_64") => ok("host.platform", "Linux on amd64"),
        _ => info(
            "host.platform",
            format!("{os} on {architecture}: images that are only made for amd64 don't run here"),
        ),
    };
    let version = match numbers(release) {
        Some(numbers) if numbers < OLDEST => warning(
            "kernel.version",
            format!("Linux {release} is too old for disks of jobs"),
            "update it to 5.8 or later",
        ),
        _ => ok("kernel.version", format!("Linux {release}")),
    };
    let filters = if seen.status.lines().any(|line| line.starts_with("Seccomp:")) {
        ok("kernel.seccomp", "system calls can be filtered")
    } else {
        fatal(
            "kernel.seccomp",
            "the kernel can't filter system calls, and no job runs unfiltered",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        )
    };
    vec![platform, version, filters, users(seen.user_namespaces.as_deref())]
}

fn users(most: Option<&str>) -> Finding {
    match most.map(str::trim) {
        Some("0") => {
            info("kernel.users", "no user namespace may be made here (user.max_user_namespaces is 0)")
        }
        Some(_) => ok("kernel.users", "user namespaces can be made"),
        None => info("kernel.users", "the kernel knows no user namespaces"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    fn good() -> Seen {
        Seen {
            os: "linux".to_owned(),
            architecture: "x86_64".to_owned(),
            release: "6.1.0-18-amd64".to_owned(),
            status: "Name:\tx\nSeccomp:\t0\n".to_owned(),
            user_namespaces: Some("95000\n".to_owned()),
        }
    }

    #[test]
    fn a_usual_machine_is_fine() {
        assert!(judge(&good()).iter().all(|finding| finding.severity == Severity::Ok));
    }

    #[test]
    fn what_a_kernel_lacks_is_told() {
        let severity = |seen: &Seen, id: &str| {
            judge(seen).into_iter().find(|finding| finding.id == id).unwrap().severity
        };
        let seen = Seen {
            architecture: "aarch64".to_owned(),
            release: "5.4.0-generic".to_owned(),
            status: String::new(),
            user_namespaces: Some("0\n".to_owned()),
            ..good()
        };
        assert_eq!(severity(&seen, "host.platform"), Severity::Info);
        assert_eq!(severity(&seen, "kernel.version"), Severity::Warning);
        assert_eq!(severity(&seen, "kernel.seccomp"), Severity::Fatal);
        assert_eq!(severity(&seen, "kernel.users"), Severity::Info);
        assert_eq!(severity(&Seen { user_namespaces: None, ..good() }, "kernel.users"), Severity::Info);
    }
}
