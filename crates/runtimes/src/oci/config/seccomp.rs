//! Which system calls a step may make: an allow-list, as container engines ship.
//!
//! What is not listed fails with ENOSYS, as on a kernel that never had it, so that libraries fall
//! back. What would widen a container's reach fails with EPERM.

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// `CLONE_NEW*`. In clone(2) the bit of `CLONE_NEWTIME` is part of the exit signal instead.
const CLONE_NAMESPACES: u64 = 0x7E02_0000;

/// The lowest of them but for `CLONE_NEWNS`, and above every other flag but `CLONE_IO`.
const LOWEST_NAMESPACE: u64 = 0x0200_0000;

/// Socket families: UNIX, IPv4, IPv6; netlink besides. Above all neither vsock, which no namespace
/// confines, nor the kernel's crypto interface.
const FAMILIES: [u64; 3] = [1, 2, 10];

/// The family of netlink, and what of it is of use to programs: routes and links, a list of sockets, what is logged of
/// logins, and which devices come and go. Between those of one protocol more (2, for programs among themselves) a job
/// could queue memory that no limit counts.
const NETLINK: u64 = 16;
const NETLINK_PROTOCOLS: [u64; 4] = [0, 4, 9, 15];

/// Execution domains: Linux, and what `setarch` and emulators ask for; the last only asks.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// The native one only. A 32-bit program is killed: its way into the kernel is little used and has
/// hidden many faults, and allowing it doubles what the runtime compiles for every step.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [Arch; 1] = [Arch::ScmpArchX86_64];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [Arch; 1] = [Arch::ScmpArchAarch64];

/// Calls that only some architectures have.
#[cfg(target_arch = "x86_64")]
const NATIVE: &[&str] = &["arch_prctl"];
#[cfg(target_arch = "aarch64")]
const NATIVE: &[&str] = &["sync_file_range2"];

#[rustfmt::skip]
const ALLOWED: &[&str] = &[
    // Files and directories.
    "access", "chdir", "chmod", "chown", "close", "close_range", "copy_file_range", "creat", "dup", "dup2",
    "dup3", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fchmod", "fchmodat", "fchmodat2",
    "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr", "flistxattr", "flock", "fremovexattr", "fsetxattr",
    "fstat", "fstatfs", "fsync", "ftruncate", "futimesat", "getcwd", "getdents", "getdents64", "getxattr",
    "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "ioctl", "lchown", "lgetxattr",
    "link", "linkat", "listxattr", "llistxattr", "lremovexattr", "lseek", "lsetxattr", "lstat", "memfd_create",
    "mkdir", "mkdirat", "mknod", "mknodat", "name_to_handle_at", "newfstatat", "open", "openat", "openat2",
    "pipe", "pipe2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead",
    "readlink", "readlinkat", "readv", "removexattr", "rename", "renameat", "renameat2", "rmdir", "sendfile",
    "setxattr", "splice", "stat", "statfs", "statx", "symlink", "symlinkat", "sync", "sync_file_range",
    "syncfs", "tee", "truncate", "umask", "unlink", "unlinkat", "utime", "utimensat", "utimes", "vmsplice",
    "write", "writev",
    // Memory.
    "brk", "get_mempolicy", "madvise", "map_shadow_stack", "membarrier", "mincore", "mlock", "mlock2",
    "mlockall", "mmap", "mprotect", "mremap", "mseal", "msync", "munlock", "munlockall", "munmap", "pkey_alloc",
    "pkey_free", "pkey_mprotect", "process_madvise", "process_mrelease", "remap_file_pages",
    // Processes, threads and their rights.
    "alarm", "capget", "capset", "chroot", "execve", "execveat", "exit", "exit_group", "fork", "futex",
    "futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "getcpu", "getegid", "geteuid", "getgid",
    "getgroups", "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getresgid", "getresuid",
    "getrlimit", "get_robust_list", "getrusage", "getsid", "get_thread_area", "gettid", "getuid", "ioprio_get",
    "ioprio_set", "kill", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "pause",
    "pidfd_getfd", "pidfd_open", "pidfd_send_signal", "prctl", "prlimit64", "process_vm_readv",
    "process_vm_writev", "ptrace", "restart_syscall", "rseq", "sched_getaffinity", "sched_getattr",
    "sched_getparam", "sched_get_priority_max", "sched_get_priority_min", "sched_getscheduler",
    "sched_rr_get_interval", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler",
    "sched_yield", "seccomp", "setfsgid", "setfsuid", "setgid", "setgroups", "setpgid", "setpriority",
    "setregid", "setresgid", "setresuid", "setreuid", "setrlimit", "set_robust_list", "setsid",
    "set_thread_area", "set_tid_address", "setuid", "sysinfo", "tgkill", "times", "tkill", "uname", "vfork",
    "wait4", "waitid",
    // Signals, time and waiting.
    "clock_getres", "clock_gettime", "clock_nanosleep", "epoll_create", "epoll_create1", "epoll_ctl",
    "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd", "eventfd2", "getitimer", "gettimeofday",
    "nanosleep", "poll", "ppoll", "pselect6", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
    "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "select",
    "setitimer", "sigaltstack", "signalfd", "signalfd4", "time", "timer_create", "timer_delete",
    "timer_getoverrun", "timer_gettime", "timer_settime", "timerfd_create", "timerfd_gettime",
    "timerfd_settime",
    // Talking: sockets, queues, shared memory.
    "accept", "accept4", "bind", "connect", "getpeername", "getrandom", "getsockname", "getsockopt", "listen",
    "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink", "msgctl", "msgget",
    "msgrcv", "msgsnd", "recvfrom", "recvmmsg", "recvmsg", "semctl", "semget", "semop", "semtimedop",
    "sendmmsg", "sendmsg", "sendto", "setsockopt", "shmat", "shmctl", "shmdt", "shmget", "shutdown",
    "socketpair",
];

/// Refused by name rather than as unknown, so that the message in a log says what happened.
#[rustfmt::skip]
const FORBIDDEN: &[&str] = &[
    // Namespaces and mounts.
    "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree",
    "pivot_root", "setns", "umount2", "unshare",
    // Ways around permissions.
    "kcmp", "open_by_handle_at", "lookup_dcookie",
    // Large and often broken parts of the kernel.
    "add_key", "bpf", "fanotify_init", "fanotify_mark", "io_uring_enter", "io_uring_register", "io_uring_setup",
    "keyctl", "perf_event_open", "request_key", "userfaultfd",
    // The host itself.
    "acct", "adjtimex", "clock_adjtime", "clock_settime", "delete_module", "finit_module", "init_module",
    "ioperm", "iopl", "kexec_file_load", "kexec_load", "mbind", "migrate_pages", "move_pages", "quotactl",
    "quotactl_fd", "reboot", "set_mempolicy", "setdomainname", "sethostname", "settimeofday", "swapoff",
    "swapon", "sysfs", "syslog", "ustat", "vhangup",
];

/// Fail with ENOSYS with whoever keeps to this list, so that programs fall back.
///
/// `clone3` has its flags in memory that no filter can read. Asynchronous I/O is what the host has a number of
/// (`fs.aio-max-nr`) that any one process can have all of.
const UNKNOWN: &[&str] =
    &["clone3", "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit"];

/// The profile.
pub(in crate::oci) fn profile() -> Result<LinuxSeccomp, OciSpecError> {
    let no_namespace =
        argument(LinuxSeccompOperator::ScmpCmpMaskedEq, CLONE_NAMESPACES).value_two(0_u64).build()?;
    with_clone(no_namespace)
}

/// The same for a runtime that takes a mask for the value and the value for the mask, as youki 0.7 does,
/// which turns "none of these flags" into "whatever flags". clone(2) fails with `CLONE_IO` as well then;
/// `CLONE_NEWNS` alone needs a capability that no step has.
pub(super) fn profile_without_masks() -> Result<LinuxSeccomp, OciSpecError> {
    with_clone(argument(LinuxSeccompOperator::ScmpCmpLt, LOWEST_NAMESPACE).build()?)
}

fn with_clone(flags: LinuxSeccompArg) -> Result<LinuxSeccomp, OciSpecError> {
    let mut rules = vec![
        rule(ALLOWED, LinuxSeccompAction::ScmpActAllow).build()?,
        rule(NATIVE, LinuxSeccompAction::ScmpActAllow).build()?,
        rule(FORBIDDEN, LinuxSeccompAction::ScmpActErrno).errno_ret(EPERM).build()?,
        rule(UNKNOWN, LinuxSeccompAction::ScmpActErrno).errno_ret(ENOSYS).build()?,
        allow_if("clone", [flags])?,
    ];
    for family in FAMILIES {
        rules.push(allow_if("socket", [equal(0, family)?])?);
    }
    for protocol in NETLINK_PROTOCOLS {
        rules.push(allow_if("socket", [equal(0, NETLINK)?, equal(2, protocol)?])?);
    }
    for personality in PERSONALITIES {
        rules.push(allow_if("personality", [equal(0, personality)?])?);
    }
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(ENOSYS)
        .architectures(ARCHITECTURES)
        .syscalls(rules)
        .build()
}

fn rule(names: &[&str], action: LinuxSeccompAction) -> LinuxSyscallBuilder {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    LinuxSyscallBuilder::default().names(names).action(action)
}

fn allow_if<const N: usize>(
    name: &str,
    arguments: [LinuxSeccompArg; N],
) -> Result<LinuxSyscall, OciSpecError> {
    rule(&[name], LinuxSeccompAction::ScmpActAllow).args(arguments).build()
}

/// That a call's argument, counted from 0, has this value in all of its 64 bits.
fn equal(index: usize, value: u64) -> Result<LinuxSeccompArg, OciSpecError> {
    argument(LinuxSeccompOperator::ScmpCmpEq, value).index(index).build()
}

/// A test of a call's first argument.
fn argument(operator: LinuxSeccompOperator, value: u64) -> LinuxSeccompArgBuilder {
    LinuxSeccompArgBuilder::default().index(0_usize).op(operator).value(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_call_is_both_allowed_and_forbidden_or_listed_twice() {
        let all: Vec<_> = ALLOWED.iter().chain(NATIVE).chain(FORBIDDEN).chain(UNKNOWN).collect();
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), distinct.len());
        assert!(!all.iter().any(|name| ["clone", "socket", "personality", "socketcall"].contains(name)));
    }

    #[test]
    fn without_masks_there_are_none() {
        let operators = |profile: LinuxSeccomp| {
            let calls = profile.syscalls().clone().unwrap();
            calls
                .iter()
                .flat_map(|call| call.args().clone().unwrap_or_default())
                .map(|test| test.op())
                .collect()
        };
        let (with, without): (Vec<_>, Vec<_>) =
            (operators(profile().unwrap()), operators(profile_without_masks().unwrap()));
        assert!(with.contains(&LinuxSeccompOperator::ScmpCmpMaskedEq));
        assert!(!without.contains(&LinuxSeccompOperator::ScmpCmpMaskedEq));
        assert_eq!(with.len(), without.len());
    }
}
