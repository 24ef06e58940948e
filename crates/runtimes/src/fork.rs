//! Processes that begin as a copy of this one rather than as a new program: what both have, and do not
//! change, is in memory once, the program's relocated tables above all, and nothing has to be loaded.
#![expect(
    unsafe_code,
    reason = "fork(2), close_range(2), sigaction(2) and sigprocmask(2) have no safe wrapper"
)]

use crate::memory::give_back_memory;
use rustix::process::{Pid, setpgid};
use rustix::thread::set_name;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Requests to end, and the agent's to leave: whoever signals all processes of a service means the agent,
/// which passes on what others are to hear.
const REQUESTS: [libc::c_int; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGUSR2];

/// Goes on as two processes. The copy, for which this returns `None`, has `stdin` as its standard input,
/// nothing as its standard output and a process group of its own, and hears no requests to end before it
/// [heeds them](heed_requests); whatever else was open is open in it as well. The other gets the number
/// of the copy, which is its child.
///
/// # Errors
/// When there is more than one thread, since the others' work would stay half done in the copy; when the
/// kernel makes no process; and in the copy, when its streams can't be had.
pub fn fork(stdin: OwnedFd) -> io::Result<Option<Pid>> {
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    check_alone()?;
    let before = set_mask(libc::SIG_BLOCK, &requests());
    // SAFETY: there is one thread, so what the copy finds is whole.
    match unsafe { libc::fork() } {
        0 => {
            // What a terminal sends to the agent's group does not reach it.
            setpgid(None, None)?;
            rustix::stdio::dup2_stdin(&stdin)?;
            rustix::stdio::dup2_stdout(&nothing)?;
            drop(stdin);
            Ok(None)
        }
        copy => {
            let failed = io::Error::last_os_error();
            set_mask(libc::SIG_SETMASK, &before);
            Pid::from_raw(copy.max(0)).ok_or(failed).map(Some)
        }
    }
}

/// Has `command`, once its streams and its group are set up, go on as a copy of this process instead of becoming a
/// program: `live` is what it does, and what it ends with. Nothing but its standard streams is open in it. Start
/// the command at once.
///
/// # Errors
/// When there is more than one thread, since the others' work would stay half done in the copy.
pub(crate) fn copy_for(
    command: &mut Command,
    live: impl FnMut() -> u8 + Send + Sync + 'static,
) -> io::Result<()> {
    check_alone()?;
    // SAFETY: there is one thread, so what the copy finds is whole.
    unsafe { copy_unchecked_for(command, || Ok(()), live) };
    Ok(())
}

/// The same, whose start fails if `begin` does.
///
/// # Safety
/// Unless there is one thread, both may make system calls only: what others have begun, such as a lock that they
/// hold, stays as it is in the copy.
pub(crate) unsafe fn copy_unchecked_for(
    command: &mut Command,
    mut begin: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    mut live: impl FnMut() -> u8 + Send + Sync + 'static,
) {
    let copy = move || {
        begin()?;
        // Whoever started it has waited until now for a descriptor that a program would have closed.
        close_all_but_streams()?;
        let ended = live();
        // SAFETY: it does not return, and nobody else is there.
        unsafe { libc::_exit(ended.into()) }
    };
    // SAFETY: the caller's.
    unsafe { command.pre_exec(copy) };
}

/// Whether nothing else goes on in this process.
fn check_alone() -> io::Result<()> {
    if fs::read_dir("/proc/self/task")?.count() == 1 {
        return Ok(());
    }
    Err(io::Error::other("a process with several threads can't be copied"))
}

/// Whatever owned them in a copy of a process must not be used any more.
pub(crate) fn close_all_but_streams() -> io::Result<()> {
    // SAFETY: what owned them is not used any more: whoever calls this never returns to it.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a copy that stays what it is: it gets a name of its own among processes, whose command line is another's,
/// keeps no directory busy, and has forgotten the environment, which may hold an agent's secrets, and what else is of
/// no use to it.
pub(crate) fn settle(name: &CStr) -> io::Result<()> {
    set_name(name)?;
    std::env::set_current_dir("/")?;
    forget_environment()?;
    give_back_memory();
    Ok(())
}

fn forget_environment() -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // After the name, which may hold anything but ends with the last parenthesis: `env_start` and `env_end`.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(47);
    let range: Vec<u64> = fields.take(2).filter_map(|field| field.parse().ok()).collect();
    let [start, end] = range[..] else { return Err(io::ErrorKind::InvalidData.into()) };
    let nothing = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or_default()];
    File::options().write(true).open("/proc/self/mem")?.write_all_at(&nothing, start)
}

/// Lets nobody read what this process has to say.
pub(crate) fn fall_silent() -> io::Result<()> {
    let nothing = File::options().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stderr(nothing.as_fd())?)
}

/// From now on requests to end reach this process as they reach any: call it once they are caught.
pub fn heed_requests() {
    set_mask(libc::SIG_UNBLOCK, &requests());
}

/// From now on requests to end do not reach this process.
pub fn ignore_requests() {
    set_mask(libc::SIG_BLOCK, &requests());
}

/// From now on no signal reaches this thread but those that nobody can keep away.
pub(crate) fn hear_no_signals() {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call fills the set.
    let all = unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    };
    set_mask(libc::SIG_BLOCK, &all);
}

/// Has a file that may not grow any more (`RLIMIT_FSIZE`) be an error of whoever writes to it (`EFBIG`), and not the end of
/// this process and its copies. The programs that they start end by it as ever: what is ignored would be ignored by these, too,
/// and what is handled is not.
pub fn outlive_limits_of_files() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the action is whole before it is used, and the handler does nothing, so it may run at any time.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGXFSZ, &raw const action, std::ptr::null_mut());
    }
}

fn requests() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call fills the set, the others add to it numbers of signals that there are.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in REQUESTS {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// Changes which signals the calling thread, and whom it starts, does not get; returns which those were.
fn set_mask(how: libc::c_int, set: &libc::sigset_t) -> libc::sigset_t {
    // SAFETY: a set of no signals is zeros, and both sets outlive the call, which can't fail with these.
    unsafe {
        let mut before = mem::zeroed();
        libc::pthread_sigmask(how, set, &raw mut before);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_copied_while_others_work() {
        // The thread that runs this test is not the first of its process.
        let refused = fork(File::open("/dev/null").unwrap().into()).unwrap_err();
        assert_eq!(refused.to_string(), "a process with several threads can't be copied");
    }

    #[test]
    fn requests_to_end_are_heard_again_once_they_are_heeded() {
        let blocked = || {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            let set = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim().to_owned();
            u64::from_str_radix(&set, 16).unwrap()
        };
        let before = blocked();
        ignore_requests();
        let expected = REQUESTS.iter().fold(before, |set, signal| set | 1 << (signal - 1));
        assert_eq!(blocked(), expected);
        heed_requests();
        assert_eq!(blocked(), before);
    }
}
