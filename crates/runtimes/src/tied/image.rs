//! What a keeper starts. So that starting it copies nothing, it runs in the keeper's memory until it has become the
//! program, and the keeper waits for that. Where it is to be made right in a group of version 2, which is a hundred
//! times as quick as to enter it, it is a copy.
#![expect(unsafe_code, reason = "clone(2), clone3(2) and execve(2) have no safe wrapper")]

use crate::cgroup::Entrances;
use crate::oci::find_program;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::ptr;

/// Bytes of the stack of what is about to become a program.
const STACK: usize = 64 << 10;
/// What it ends with if it does not.
const NOT_STARTED: c_int = 127;
/// Who the kernel kills first when the host is out of memory, as of a job's steps.
const FIRST_TO_GO: (&CStr, &[u8]) = (c"/proc/self/oom_score_adj", b"1000");
/// What the kernel calls `CLONE_INTO_CGROUP`.
const INTO_GROUP: u64 = 1 << 33;
/// What moves the process that writes it, in a group's list.
const MYSELF: &[u8] = b"0";

/// A program with all that it is given, ready to be executed.
pub(super) struct Image {
    path: CString,
    arguments: Texts,
    environment: Texts,
    stack: Vec<u128>,
    groups: Entrances,
    /// It was made in its group of version 2.
    is_inside: bool,
    keeper: Option<Pid>,
    /// The number of the error for which it did not become the program.
    fault: c_int,
}

impl Image {
    /// What `command` names, found by the path in its environment, which is what was set for it; it is to run in
    /// `groups`.
    pub(super) fn of(command: &Command, groups: Entrances) -> io::Result<Self> {
        let set: Vec<_> = command.get_envs().filter_map(|(name, value)| Some((name, value?))).collect();
        let name = command.get_program();
        let path = if name.as_bytes().contains(&b'/') {
            name.to_owned()
        } else {
            let search =
                set.iter().find(|(name, _)| *name == "PATH").map_or(OsStr::new(""), |(_, path)| path);
            let found = name.to_str().and_then(|name| find_program(name, search));
            found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?.into_os_string()
        };
        let arguments =
            [name].into_iter().chain(command.get_args()).map(|text| CString::new(text.as_bytes()));
        let environment =
            set.iter().map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()));
        Ok(Self {
            path: CString::new(path.as_bytes())?,
            arguments: Texts::new(arguments.collect::<Result<_, _>>()?),
            environment: Texts::new(environment.collect::<Result<_, _>>()?),
            stack: vec![0; STACK / size_of::<u128>()],
            groups,
            is_inside: false,
            keeper: None,
            fault: 0,
        })
    }

    /// Starts it as a child of this process, which must have one thread, and makes system calls only.
    pub(super) fn start(&mut self) -> io::Result<Pid> {
        self.keeper = Some(getpid());
        match self.groups.unified.take().map(|group| self.copy_into(&group)) {
            Some(Ok(child)) => Ok(child),
            // An old kernel, or a filter of calls. Whatever it is of the group's, entering it tells.
            Some(Err(CopyFault::NotMade)) | None => self.start_shared(),
            Some(Err(CopyFault::Child(fault))) => Err(fault),
        }
    }

    fn start_shared(&mut self) -> io::Result<Pid> {
        let top = self.stack.as_mut_ptr_range().end;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: nobody else uses the stack or `self` before the child has ended or become the program.
        let child = unsafe { libc::clone(live, top.cast(), flags, ptr::from_mut(self).cast()) };
        match (Pid::from_raw(child.max(0)), self.fault) {
            (Some(child), 0) => Ok(child),
            (Some(_), fault) => Err(io::Error::from_raw_os_error(fault)),
            (None, _) => Err(io::Error::last_os_error()),
        }
    }

    fn copy_into(&mut self, group: &OwnedFd) -> Result<Pid, CopyFault> {
        let (hears, tells) = pipe_with(PipeFlags::CLOEXEC).map_err(|fault| CopyFault::Child(fault.into()))?;
        // SAFETY: numbers, all of which may be 0.
        let mut wanted: libc::clone_args = unsafe { std::mem::zeroed() };
        wanted.flags = INTO_GROUP;
        wanted.exit_signal = libc::SIGCHLD.cast_unsigned().into();
        wanted.cgroup = group.as_raw_fd().cast_unsigned().into();
        // SAFETY: it reads what it is given; the copy has a stack of its own and makes system calls only.
        let child = unsafe { libc::syscall(libc::SYS_clone3, &raw mut wanted, size_of_val(&wanted)) };
        if child == 0 {
            self.is_inside = true;
            let fault = self.become_program();
            let _ = write(&tells, &fault.to_ne_bytes());
            // SAFETY: it does not return.
            unsafe { libc::_exit(NOT_STARTED) }
        }
        let child = i32::try_from(child).ok().filter(|child| *child > 0).and_then(Pid::from_raw);
        let child = child.ok_or(CopyFault::NotMade)?;
        drop(tells);
        let mut fault = [0; size_of::<c_int>()];
        match retry_on_intr(|| read(&hears, &mut fault)) {
            Ok(0) => Ok(child),
            _ => Err(CopyFault::Child(io::Error::from_raw_os_error(c_int::from_ne_bytes(fault)))),
        }
    }

    /// Returns only if it does not, with the number of the error.
    fn become_program(&self) -> c_int {
        let tied = set_parent_process_death_signal(Some(Signal::KILL));
        if let Err(fault) = tied.and_then(|()| self.join_the_job()) {
            return fault.raw_os_error();
        }
        if getppid() != self.keeper {
            return libc::ECHILD;
        }
        let (arguments, environment) = (self.arguments.pointers.as_ptr(), self.environment.pointers.as_ptr());
        // SAFETY: both lists end with nothing, and they and what they point to are there until the end of the call.
        unsafe { libc::execve(self.path.as_ptr(), arguments, environment) };
        io::Error::last_os_error().raw_os_error().unwrap_or(libc::ECHILD)
    }

    /// Comes under the limits of the job, and before all that is no job's when the host runs out of memory.
    fn join_the_job(&self) -> Result<(), Errno> {
        let (file, score) = FIRST_TO_GO;
        write_to(file, score)?;
        self.groups.lists.iter().try_for_each(|list| write_to(list, MYSELF))?;
        match &self.groups.unified_list {
            Some(list) if !self.is_inside => write_to(list, MYSELF),
            _ => Ok(()),
        }
    }
}

/// Why there is no copy of a keeper in a group.
enum CopyFault {
    /// The kernel makes none.
    NotMade,
    /// There was one, and it did not become the program; or it could not have said so.
    Child(io::Error),
}

fn write_to(file: &CStr, what: &[u8]) -> Result<(), Errno> {
    let file = open(file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write(&file, what).map(drop)
}

/// The life of a child in its keeper's memory.
extern "C" fn live(image: *mut c_void) -> c_int {
    // SAFETY: it is the image that was given to `clone`, whose owner waits.
    let image = unsafe { &mut *image.cast::<Image>() };
    image.fault = image.become_program();
    NOT_STARTED
}

/// Texts as the kernel takes them.
struct Texts {
    pointers: Vec<*const c_char>,
    _texts: Vec<CString>,
}

// SAFETY: the pointers lead to what is owned with them and never changes.
unsafe impl Send for Texts {}
// SAFETY: the same.
unsafe impl Sync for Texts {}

impl Texts {
    fn new(texts: Vec<CString>) -> Self {
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _texts: texts }
    }
}
