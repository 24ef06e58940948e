//! What a keeper starts. So that starting it copies nothing, it runs in the keeper's memory until it has become the
//! program, and the keeper waits for that.
#![expect(unsafe_code, reason = "clone(2) and execve(2) have no safe wrapper")]

use crate::oci::find_program;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::ffi::{CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::ptr;

/// Bytes of the stack of what is about to become a program.
const STACK: usize = 64 << 10;
/// What it ends with if it does not.
const NOT_STARTED: c_int = 127;

/// A program with all that it is given, ready to be executed.
pub(super) struct Image {
    path: CString,
    arguments: Texts,
    environment: Texts,
    stack: Vec<u128>,
    keeper: Option<Pid>,
    /// The number of the error for which it did not become the program.
    fault: c_int,
}

impl Image {
    /// What `command` names, found by the path in its environment, which is what was set for it.
    pub(super) fn of(command: &Command) -> io::Result<Self> {
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
            keeper: None,
            fault: 0,
        })
    }

    /// Starts it as a child of this process, which must have one thread, and makes system calls only.
    pub(super) fn start(&mut self) -> io::Result<Pid> {
        self.keeper = Some(getpid());
        let top = self.stack.as_mut_ptr_range().end;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: nobody else uses the stack or `self` before the child has ended or become the program.
        let child = unsafe { libc::clone(become_program, top.cast(), flags, ptr::from_mut(self).cast()) };
        match (Pid::from_raw(child.max(0)), self.fault) {
            (Some(child), 0) => Ok(child),
            (Some(_), fault) => Err(io::Error::from_raw_os_error(fault)),
            (None, _) => Err(io::Error::last_os_error()),
        }
    }
}

/// The life of the child.
extern "C" fn become_program(image: *mut c_void) -> c_int {
    // SAFETY: it is the image that was given to `clone`, whose owner waits.
    let image = unsafe { &mut *image.cast::<Image>() };
    let tied = set_parent_process_death_signal(Some(Signal::KILL));
    if tied.is_ok() && getppid() == image.keeper {
        let (arguments, environment) =
            (image.arguments.pointers.as_ptr(), image.environment.pointers.as_ptr());
        // SAFETY: both lists end with nothing, and they and what they point to are there until the end of the call.
        unsafe { libc::execve(image.path.as_ptr(), arguments, environment) };
    }
    image.fault =
        io::Error::last_os_error().raw_os_error().filter(|fault| *fault != 0).unwrap_or(libc::ECHILD);
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
