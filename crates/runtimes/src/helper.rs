//! This program as its own helper.

use crate::{guardian, host_program, oci, user_namespace};
use std::ffi::OsString;
use std::process::ExitCode;

/// The life of a helper process, which [`oci::Helper`] starts: `args` are those after the helper's own.
/// Call it before anything else, and without threads; it returns what the process should end with.
pub fn helper_main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let mut args = args.peekable();
    if args.next_if(|role| role == guardian::ROLE).is_some() {
        return guardian::main();
    }
    if args.next_if(|role| role == user_namespace::ROLE).is_some() {
        return user_namespace::main(args);
    }
    if args.next_if(|role| role == host_program::ROLE).is_some() {
        return host_program::main(args);
    }
    oci::helper_main(args)
}
