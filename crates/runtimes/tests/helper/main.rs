//! What the tests' runtimes start as their helper: the launcher and the guardian.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtimes::oci::helper_main(std::env::args_os().skip(1))
}
