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

/// Socket families: UNIX, IPv4, IPv6, netlink. Above all neither vsock, which no namespace
/// confines, nor the kernel's crypto interface.
const FAMILIES: [u64; 4] = [1, 2, 10, 16];

/// Execution domains: Linux, and what `setarch` and emulators ask for; the last only asks.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// Native first. Anything else kills the process.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [Arch; 2] = [Arch::ScmpArchX86_64, Arch::ScmpArchX86];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [Arch; 2] = [Arch::ScmpArchAarch64, Arch::ScmpArchArm];

#[cfg(target_arch = "x86_64")]
const NATIVE: &[&str] = &["arch_prctl", "modify_ldt"];
#[cfg(target_arch = "aarch64")]
const NATIVE: &[&str] =
    &["arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2"];

#[rustfmt::skip]
const ALLOWED: &[&str] = &[
    // Files and directories.
    "access", "chdir", "chmod", "chown", "chown32", "close", "close_range", "copy_file_range", "creat", "dup", "dup2",
    "dup3", "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate", "fchdir", "fchmod", "fchmodat",
    "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl", "fcntl64", "fdatasync", "fgetxattr", "flistxattr", "flock",
    "fremovexattr", "fsetxattr", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate",
    "ftruncate64", "futimesat", "getcwd", "getdents", "getdents64", "getxattr", "inotify_add_watch", "inotify_init",
    "inotify_init1", "inotify_rm_watch", "ioctl", "lchown", "lchown32", "lgetxattr", "link", "linkat", "listxattr",
    "llistxattr", "_llseek", "lremovexattr", "lseek", "lsetxattr", "lstat", "lstat64", "memfd_create", "mkdir",
    "mkdirat", "mknod", "mknodat", "name_to_handle_at", "newfstatat", "_newselect", "open", "openat", "openat2",
    "pipe", "pipe2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead",
    "readlink", "readlinkat", "readv", "removexattr", "rename", "renameat", "renameat2", "rmdir", "sendfile",
    "sendfile64", "setxattr", "splice", "stat", "stat64", "statfs", "statfs64", "statx", "symlink", "symlinkat",
    "sync", "sync_file_range", "syncfs", "tee", "truncate", "truncate64", "umask", "unlink", "unlinkat", "utime",
    "utimensat", "utimensat_time64", "utimes", "vmsplice", "write", "writev",
    // Memory.
    "brk", "get_mempolicy", "madvise", "map_shadow_stack", "membarrier", "mincore", "mlock", "mlock2", "mlockall",
    "mmap", "mmap2", "mprotect", "mremap", "mseal", "msync", "munlock", "munlockall", "munmap", "pkey_alloc",
    "pkey_free", "pkey_mprotect", "process_madvise", "process_mrelease", "remap_file_pages",
    // Processes, threads and their rights.
    "alarm", "capget", "capset", "chroot", "execve", "execveat", "exit", "exit_group", "fork", "futex", "futex_requeue",
    "futex_time64", "futex_wait", "futex_waitv", "futex_wake", "getcpu", "getegid", "getegid32", "geteuid",
    "geteuid32", "getgid", "getgid32", "getgroups", "getgroups32", "getpgid", "getpgrp", "getpid", "getppid",
    "getpriority", "getresgid", "getresgid32", "getresuid", "getresuid32", "getrlimit", "get_robust_list", "getrusage",
    "getsid", "get_thread_area", "gettid", "getuid", "getuid32", "ioprio_get", "ioprio_set", "kill",
    "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "nice", "pause", "pidfd_getfd",
    "pidfd_open", "pidfd_send_signal", "prctl", "prlimit64", "process_vm_readv", "process_vm_writev", "ptrace",
    "restart_syscall", "rseq", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_get_priority_max",
    "sched_get_priority_min", "sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64",
    "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp", "setfsgid",
    "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32", "setpgid", "setpriority",
    "setregid", "setregid32", "setresgid", "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32",
    "setrlimit", "set_robust_list", "setsid", "set_thread_area", "set_tid_address", "setuid", "setuid32", "sysinfo",
    "tgkill", "times", "tkill", "ugetrlimit", "uname", "vfork", "wait4", "waitid", "waitpid",
    // Signals, time and waiting.
    "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
    "clock_nanosleep_time64", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait",
    "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "getitimer", "gettimeofday", "nanosleep",
    "poll", "ppoll", "ppoll_time64", "pselect6", "pselect6_time64", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
    "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64",
    "rt_tgsigqueueinfo", "select", "setitimer", "sigaltstack", "signal", "signalfd", "signalfd4", "sigpending",
    "sigprocmask", "sigreturn", "sigsuspend", "time", "timer_create", "timer_delete", "timer_getoverrun",
    "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime",
    "timerfd_gettime64", "timerfd_settime", "timerfd_settime64",
    // Talking: sockets, queues, shared memory, and asynchronous I/O.
    "accept", "accept4", "bind", "connect", "getpeername", "getrandom", "getsockname", "getsockopt", "io_cancel",
    "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64", "io_setup", "io_submit", "ipc", "listen",
    "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend",
    "mq_timedsend_time64", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "recv", "recvfrom", "recvmmsg",
    "recvmmsg_time64", "recvmsg", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "send", "sendmmsg",
    "sendmsg", "sendto", "setsockopt", "shmat", "shmctl", "shmdt", "shmget", "shutdown", "socketpair",
];

/// Refused by name rather than as unknown, so that the message in a log says what happened.
#[rustfmt::skip]
const FORBIDDEN: &[&str] = &[
    // Namespaces and mounts.
    "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree", "pivot_root",
    "setns", "umount", "umount2", "unshare",
    // Ways around permissions.
    "kcmp", "open_by_handle_at", "lookup_dcookie",
    // Large and often broken parts of the kernel.
    "add_key", "bpf", "fanotify_init", "fanotify_mark", "io_uring_enter", "io_uring_register", "io_uring_setup",
    "keyctl", "perf_event_open", "request_key", "userfaultfd",
    // The host itself.
    "acct", "adjtimex", "clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64", "create_module",
    "delete_module", "finit_module", "get_kernel_syms", "init_module", "ioperm", "iopl", "kexec_file_load",
    "kexec_load", "mbind", "migrate_pages", "move_pages", "nfsservctl", "query_module", "quotactl", "quotactl_fd",
    "reboot", "set_mempolicy", "setdomainname", "sethostname", "settimeofday", "stime", "swapoff", "swapon", "_sysctl",
    "sysfs", "syslog", "uselib", "ustat", "vhangup", "vm86", "vm86old",
];

/// The profile.
pub(super) fn profile() -> Result<LinuxSeccomp, OciSpecError> {
    let mut rules = vec![
        rule(ALLOWED, LinuxSeccompAction::ScmpActAllow).build()?,
        rule(NATIVE, LinuxSeccompAction::ScmpActAllow).build()?,
        rule(FORBIDDEN, LinuxSeccompAction::ScmpActErrno).errno_ret(EPERM).build()?,
        // Its flags are in memory that no filter can read; libraries fall back to clone.
        rule(&["clone3"], LinuxSeccompAction::ScmpActErrno).errno_ret(ENOSYS).build()?,
        allow_if(
            "clone",
            argument(LinuxSeccompOperator::ScmpCmpMaskedEq, CLONE_NAMESPACES).value_two(0_u64).build()?,
        )?,
    ];
    for family in FAMILIES {
        rules.push(allow_if("socket", argument(LinuxSeccompOperator::ScmpCmpEq, family).build()?)?);
    }
    for personality in PERSONALITIES {
        rules.push(allow_if("personality", argument(LinuxSeccompOperator::ScmpCmpEq, personality).build()?)?);
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

fn allow_if(name: &str, argument: LinuxSeccompArg) -> Result<LinuxSyscall, OciSpecError> {
    rule(&[name], LinuxSeccompAction::ScmpActAllow).args([argument]).build()
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
        let all: Vec<_> = ALLOWED.iter().chain(NATIVE).chain(FORBIDDEN).collect();
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), distinct.len());
        assert!(
            !all.iter().any(|name| ["clone", "clone3", "socket", "personality", "socketcall"].contains(name))
        );
    }
}
