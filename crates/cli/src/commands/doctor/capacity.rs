//! Memory, CPUs, open files and processes, against what jobs may use.

use super::finding::{Finding, info, ok, warning};
use super::known::Known;
use super::sizes::{counted, each, told};
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

/// Open files that an agent needs by itself, and for each job.
const FILES: u64 = 256;
const FILES_PER_JOB: u64 = 64;
/// Memory that an agent and a system need beside jobs.
const BESIDE_JOBS: u64 = 512 << 20;

/// Processes of a system beside jobs.
const BESIDE_PROCESSES: u64 = 1 << 10;
/// Inotify instances of a build with many tools, or of a system.
const WATCHES: u64 = 512;

/// Blocking, for a moment.
pub(super) fn findings(known: &Known) -> Vec<Finding> {
    let jobs = known.agent.max_jobs as u64;
    let limits = &known.agent.limits;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = |v2: &str, v1: (&str, &str)| least(files_of_groups(&groups, v2, v1));
    let total = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text));
    let cpus = available_parallelism().map_or(0, std::num::NonZero::get);
    vec![
        memory(total, own("memory.max", ("memory", "memory.limit_in_bytes")), limits.memory, jobs),
        processors(cpus as f64, limits.cpus, jobs),
        files(getrlimit(Resource::Nofile).current, jobs),
        processes((own("pids.max", ("pids", "pids.max")), host_processes()), limits.pids, jobs),
        watches(number("/proc/sys/fs/inotify/max_user_instances"), jobs),
    ]
}

/// How many processes and threads this host can have.
fn host_processes() -> Option<u64> {
    ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"].into_iter().filter_map(number).min()
}

fn number(file: &str) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Bytes of the machine, by `/proc/meminfo`.
fn total_memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The files of one limit, of this process's control group and of all above it.
fn files_of_groups(groups: &str, v2: &str, (controller, v1): (&str, &str)) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (roots, file): (&[&str], &str) = match controllers {
            "" => (&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], v2),
            _ if controllers.split(',').any(|name| name == controller) => (&["/sys/fs/cgroup/"], v1),
            _ => continue,
        };
        for root in roots {
            let root =
                if controllers.is_empty() { PathBuf::from(root) } else { Path::new(root).join(controller) };
            let group = Path::new(path.trim_start_matches('/'));
            files.extend(group.ancestors().map(|group| root.join(group).join(file)));
        }
    }
    files
}

fn least(files: Vec<PathBuf>) -> Option<u64> {
    let limits = files.into_iter().filter_map(|file| fs::read_to_string(file).ok());
    // `max` is none, and so is what version 1 has in its place.
    limits.filter_map(|text| text.trim().parse::<u64>().ok()).filter(|limit| *limit < 1 << 60).min()
}

fn memory(total: Option<u64>, own: Option<u64>, of_job: Option<u64>, jobs: u64) -> Finding {
    const ID: &str = "host.memory";
    let whose = match (total, own) {
        (Some(total), Some(own)) if own < total => Some((own, "executor's control group has")),
        (Some(total), _) => Some((total, "this host has")),
        (None, own) => own.map(|own| (own, "executor's control group has")),
    };
    let Some((there, whose)) = whose else { return info(ID, "how much memory there is can't be learnt") };
    let Some(of_job) = of_job else {
        return info(ID, format!("{whose} {}, and jobs have no memory limit", told(there)));
    };
    let wanted = of_job.saturating_mul(jobs);
    let seen = format!(
        "{} may use {} of memory{}, and {whose} {}",
        counted(jobs, "job"),
        told(of_job),
        each(jobs),
        told(there)
    );
    if wanted.saturating_add(BESIDE_JOBS) <= there {
        return ok(ID, seen);
    }
    let remedy = "lower EXECUTOR_MAXIMUM_NUM_JOBS or EXECUTOR_JOB_MEMORY, or use a larger machine: when memory runs \
                  out, the kernel picks what to kill";
    warning(ID, seen, remedy)
}

fn processors(there: f64, of_job: Option<f64>, jobs: u64) -> Finding {
    const ID: &str = "host.cpus";
    let Some(of_job) = of_job else {
        return info(ID, format!("executor may use {there} CPUs, and jobs have no CPU limit"));
    };
    let seen = format!("{} may use {of_job} CPUs{}, and executor {there}", counted(jobs, "job"), each(jobs));
    if of_job * jobs as f64 <= there { ok(ID, seen) } else { info(ID, format!("{seen}: jobs share them")) }
}

fn files(limit: Option<u64>, jobs: u64) -> Finding {
    const ID: &str = "host.files";
    let wanted = jobs.saturating_mul(FILES_PER_JOB).saturating_add(FILES);
    match limit {
        Some(limit) if limit < wanted => warning(
            ID,
            format!("executor may have {limit} open files, and needs {wanted} for {}", counted(jobs, "job")),
            "raise the limit: LimitNOFILE of a systemd unit, or `ulimit -n`",
        ),
        Some(limit) => ok(ID, format!("executor may have {limit} open files")),
        None => ok(ID, "executor may have any number of open files"),
    }
}

fn processes((own, host): (Option<u64>, Option<u64>), of_job: Option<u64>, jobs: u64) -> Finding {
    const ID: &str = "host.processes";
    if let (Some(of_job), Some(host)) = (of_job, host)
        && of_job.saturating_mul(jobs).saturating_add(BESIDE_PROCESSES) > host
    {
        let seen = format!(
            "{} may have {}{}, and this host has numbers for {host}, its own among them",
            counted(jobs, "job"),
            processes_told(of_job),
            each(jobs)
        );
        return warning(
            ID,
            seen,
            "raise kernel.pid_max and kernel.threads-max (sysctl), or lower EXECUTOR_JOB_PIDS",
        );
    }
    let Some(own) = own else { return ok(ID, "no limit of processes is set for executor and its jobs") };
    let seen = format!("executor and its jobs may have {} together", processes_told(own));
    match of_job {
        None => info(ID, format!("{seen}, and jobs have no limit of their own")),
        Some(of_job) if of_job.saturating_mul(jobs) <= own => ok(ID, seen),
        Some(of_job) => warning(
            ID,
            format!("{seen}, and {} may have {of_job}{}", counted(jobs, "job"), each(jobs)),
            "raise TasksMax of the systemd unit (infinity leaves it to jobs' own limits), or lower EXECUTOR_JOB_PIDS",
        ),
    }
}

fn watches(instances: Option<u64>, jobs: u64) -> Finding {
    const ID: &str = "host.watches";
    let Some(instances) = instances else {
        return ok(ID, "inotify has no limit here, or none that can be read");
    };
    let seen = format!("root and all jobs may have {instances} inotify instances together");
    if instances >= jobs.saturating_add(1).saturating_mul(WATCHES) {
        return ok(ID, seen);
    }
    info(ID, format!("{seen}, and one job can take them all: raise fs.inotify.max_user_instances (sysctl)"))
}

fn processes_told(number: u64) -> String {
    format!("{number} {}", if number == 1 { "process" } else { "processes" })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity::{Info, Ok, Warning};
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn memory_of_all_jobs_must_fit_into_the_smaller() {
        let severity = |total: u64, own: Option<u64>, of_job: Option<u64>, jobs| {
            memory(Some(total * GIB), own.map(|own| own * GIB), of_job.map(|of| of * GIB), jobs).severity
        };
        assert_eq!(severity(32, None, Some(12), 2), Ok);
        assert_eq!(severity(24, None, Some(12), 2), Warning);
        assert_eq!(severity(64, Some(8), Some(12), 1), Warning);
        assert_eq!(severity(8, Some(64), Some(4), 1), Ok);
        assert_eq!(severity(8, None, None, 1), Info);
        assert_eq!(memory(None, None, Some(GIB), 1).severity, Info);
    }

    #[test]
    fn too_few_processors_are_only_told() {
        assert_eq!(processors(8.0, Some(4.0), 2).severity, Ok);
        assert_eq!(processors(2.0, Some(4.0), 1).severity, Info);
        assert_eq!(processors(2.0, None, 1).severity, Info);
    }

    #[test]
    fn files_and_processes_are_counted_by_jobs() {
        assert_eq!(files(Some(1024), 12).severity, Ok);
        assert_eq!(files(Some(1024), 13).severity, Warning);
        assert_eq!(files(None, 1000).severity, Ok);
        assert_eq!(processes((None, Some(4 << 20)), Some(4096), 8).severity, Ok);
        assert_eq!(processes((None, Some(1 << 15)), Some(4096), 7).severity, Ok);
        let too_many = processes((None, Some(1 << 15)), Some(4096), 8);
        assert_eq!(too_many.severity, Warning);
        assert!(too_many.seen.starts_with("8 jobs may have 4096 processes each, "), "{}", too_many.seen);
        assert_eq!(processes((Some(4915), None), Some(4096), 1).severity, Ok);
        assert_eq!(processes((Some(4915), None), Some(4096), 2).severity, Warning);
        assert_eq!(processes((Some(4915), None), None, 2).severity, Info);
        assert!(processes((Some(4915), None), None, 2).seen.contains("4915 processes together"));
    }

    #[test]
    fn few_watches_are_only_told() {
        assert_eq!(watches(Some(128), 1).severity, Info);
        assert_eq!(watches(Some(1024), 1).severity, Ok);
        assert_eq!(watches(Some(1024), 2).severity, Info);
        assert_eq!(watches(None, 2).severity, Ok);
    }

    #[test]
    fn limits_of_groups_above_count() {
        let groups = "4:memory:/a/b\n3:cpu,cpuacct:/\n0::/a.slice/b.service\n";
        let files = files_of_groups(groups, "memory.max", ("memory", "memory.limit_in_bytes"));
        for file in [
            "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/a.slice/b.service/memory.max",
            "/sys/fs/cgroup/a.slice/memory.max",
            "/sys/fs/cgroup/unified/a.slice/memory.max",
        ] {
            assert!(files.contains(&PathBuf::from(file)), "{file}: {files:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        let written = ["max\n", "9223372036854771712\n", "2048\n", "4096\n"].iter().enumerate().map(
            |(number, text)| {
                let file = dir.path().join(number.to_string());
                fs::write(&file, text).unwrap();
                file
            },
        );
        assert_eq!(least(written.collect()), Some(2048));
        assert_eq!(least(vec![dir.path().join("nothing")]), None);
        assert_eq!(total_memory("MemFree: 1 kB\nMemTotal:       24689112 kB\n"), Some(24_689_112 << 10));
    }
}
