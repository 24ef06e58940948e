//! `executor completion`: what completes the command line in a shell.

use super::print;
use crate::args::{Cli, Shell};
use crate::exit::{Exit, Outcome};
use clap::CommandFactory;
use clap_complete::shells;

/// What the program is called in a shell.
const NAME: &str = "executor";

/// Prints it.
pub(crate) fn run(shell: Shell) -> Outcome {
    let (mut command, mut script) = (Cli::command(), Vec::new());
    match shell {
        Shell::Bash => clap_complete::generate(shells::Bash, &mut command, NAME, &mut script),
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut command, NAME, &mut script),
        Shell::Fish => clap_complete::generate(shells::Fish, &mut command, NAME, &mut script),
    }
    print::line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Success)
}
