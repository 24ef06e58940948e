//! What a step sees besides its image: mounts, and what of `/proc` and `/sys` is hidden.

use oci_spec::OciSpecError;
use oci_spec::runtime::{Mount, MountBuilder};
use std::fs;
use std::path::Path;

/// Hidden: an empty file or directory is seen instead.
pub(in crate::oci) const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/slabinfo",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    // They tell which files of the host are behind its loop devices, and so of other jobs' disks and images.
    "/sys/block",
    "/sys/class/block",
    "/sys/devices/virtual/block",
    "/sys/devices/virtual/powercap",
    "/sys/devices/system/cpu/cpu0/thermal_throttle",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
    "/sys/module",
];

/// Seen, but not to be changed.
pub(in crate::oci) const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"];

/// How many pseudo-terminals a step may have: all that are in containers share 3,072 of the host's.
const TERMINALS: &str = "max=256";

/// The mounts, in order. No control groups: nothing in them is a step's business.
///
/// `system` is what to show as `/sys`, if that is mounted already.
pub(super) fn mounts(workspace: &Path, system: Option<&Path>) -> Result<Vec<Mount>, OciSpecError> {
    let data = MountBuilder::default()
        .destination("/data")
        .typ("bind")
        .source(workspace)
        .options(own(&["bind", "rw", "nosuid", "nodev"]))
        .build()?;
    let sys = match system {
        Some(system) => MountBuilder::default()
            .destination("/sys")
            .typ("bind")
            .source(system)
            .options(own(&["rbind", "ro", "nosuid", "noexec", "nodev"]))
            .build()?,
        None => special("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"])?,
    };
    Ok(vec![
        special("/proc", "proc", &["nosuid", "noexec", "nodev"])?,
        special("/dev", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755", "size=64k"])?,
        special(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5", TERMINALS],
        )?,
        special("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777"])?,
        special("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?,
        sys,
        data,
    ])
}

/// What is hidden: by a mount each that is of nothing, and by the runtime. With `by_mounts`, what is a directory here, as it is
/// for a step then, is hidden by mounts.
pub(super) fn hidden(by_mounts: bool) -> Result<(Vec<Mount>, Vec<&'static str>), OciSpecError> {
    let is_directory = |path: &&str| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let (directories, rest): (Vec<_>, Vec<_>) =
        MASKED.iter().partition(|path| by_mounts && is_directory(path));
    let nothing = |path| special(path, "tmpfs", &["ro", "nosuid", "nodev", "noexec", "size=0k"]);
    Ok((directories.into_iter().map(nothing).collect::<Result<_, _>>()?, rest))
}

fn special(destination: &str, kind: &str, options: &[&str]) -> Result<Mount, OciSpecError> {
    MountBuilder::default().destination(destination).typ(kind).source(kind).options(own(options)).build()
}

fn own(list: &[&str]) -> Vec<String> {
    list.iter().map(|&item| item.to_owned()).collect()
}
