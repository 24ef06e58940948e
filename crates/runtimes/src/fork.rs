//! Processes that begin as a copy of this one rather than as a new program: what both have, and do not
//! change, is in memory once, the program's relocated tables above all.
#![expect(unsafe_code, reason = "fork(2) and sigprocmask(2) have no safe wrapper")]

use rustix::process::{Pid, setpgid};
use std::fs::{self, File};
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, OwnedFd};

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
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("a process with several threads can't be copied"));
    }
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
