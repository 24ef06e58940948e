//! The command line, read: faults as one line, help and version as clap has them.

use crate::args::Cli;
use crate::exit::{Exit, Failure, Outcome};
use crate::shown;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use std::ffi::OsString;
use std::io::Write;

/// What a command line was that is no command.
#[derive(Debug)]
pub(crate) enum NoCommand {
    /// Help or the version was asked for.
    Asked(clap::Error),
    /// There is no command of this name. The documented text and exit code, which scripts may look for.
    Unknown(String),
    /// Anything else that can't be understood.
    Fault(Failure),
}

impl NoCommand {
    /// Tells what is to be told.
    pub(crate) fn tell(self) -> Outcome {
        // Our streams may be gone; the exit code still tells.
        match self {
            Self::Asked(text) => {
                let _ = text.print();
                Ok(Exit::Success)
            }
            Self::Unknown(name) => {
                let text = format!("Unknown command {name}. Use executor help to learn more.");
                let _ = writeln!(std::io::stderr(), "{}", shown::line(&text));
                Ok(Exit::Failed)
            }
            Self::Fault(failure) => Err(failure),
        }
    }
}

/// Reads the command line, the program's name first.
pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Cli, NoCommand> {
    let args: Vec<OsString> = args.into_iter().collect();
    Cli::try_parse_from(&args).map_err(|error| no_command(error, &args))
}

fn no_command(error: clap::Error, args: &[OsString]) -> NoCommand {
    let command = named_command(args);
    let called = command.join(" ");
    let fault = |text| NoCommand::Fault(Failure::usage(format!("{text}; see `{called} --help`")));
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => NoCommand::Asked(error),
        ErrorKind::InvalidSubcommand if command.len() == 1 => NoCommand::Unknown(one_line(&unknown(&error))),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            fault(format!("`{called}` needs to be told what to do"))
        }
        _ => fault(one_line(&error.render().to_string())),
    }
}

/// The commands that `args` name, the program first.
fn named_command(args: &[OsString]) -> Vec<String> {
    let mut command = Cli::command();
    let mut named = vec![command.get_name().to_owned()];
    let words = args.iter().skip(1).map(|arg| arg.to_string_lossy()).filter(|arg| !arg.starts_with('-'));
    for word in words {
        let Some(next) = command.find_subcommand(word.as_ref()).cloned() else { break };
        named.push(word.into_owned());
        command = next;
    }
    named
}

fn unknown(error: &clap::Error) -> String {
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(name)) => name.clone(),
        _ => String::new(),
    }
}

/// Folds what clap says over several lines into one, without the usage that follows.
fn one_line(said: &str) -> String {
    let said = said.strip_prefix("error: ").unwrap_or(said);
    let mut line = String::new();
    for part in said.lines().map(str::trim) {
        if part.starts_with("Usage:") || part.starts_with("For more information") {
            break;
        }
        if part.is_empty() {
            continue;
        }
        line.push_str(match line.chars().last() {
            None => "",
            Some(':') => " ",
            Some(_) if part.starts_with('[') => " ",
            Some(_) if part.starts_with("tip:") => "; ",
            Some(_) => ", ",
        });
        line.push_str(part);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: &str) -> String {
        let args = ["executor"].into_iter().chain(line.split(' ').filter(|word| !word.is_empty()));
        match read(args.map(OsString::from)).unwrap_err() {
            NoCommand::Fault(failure) => {
                assert_eq!(failure.exit, Exit::Usage);
                failure.message
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_fault_is_one_line_that_says_what_and_where_to_read_on() {
        for (line, said) in [
            (
                "job run",
                "the following required arguments were not provided: --image <IMG>; see `executor job run --help`",
            ),
            (
                "repo add",
                "the following required arguments were not provided: <NAME>, <SOURCE>; see `executor repo add --help`",
            ),
            (
                "job show abc",
                "invalid value 'abc' for '<ID>': it must be a number, as `executor job list` tells them; see `executor job \
                 show --help`",
            ),
            (
                "up --listen nowhere",
                "invalid value 'nowhere' for '--listen <ADDR:PORT>': it must be an IP address and a port, such as 127.0.0.1:7080; see `executor up --help`",
            ),
            (
                "run --help-env=pdf",
                "invalid value 'pdf' for '--help-env[=<FORMAT>]' [possible values: text, markdown, json]; see `executor run --help`",
            ),
            ("job", "`executor job` needs to be told what to do; see `executor job --help`"),
            ("job fly", "unrecognized subcommand 'fly'; see `executor job --help`"),
            ("--nope", "unexpected argument '--nope' found; see `executor --help`"),
        ] {
            assert_eq!(fault(line), said);
        }
        assert_eq!(fault("job list --limt 5").lines().count(), 1);
        assert_eq!(fault("job run --file x --image y").lines().count(), 1);
    }

    #[test]
    fn help_is_no_fault_and_an_unknown_command_is_named() {
        for line in ["--help", "help", "--version", "job run --help", "help job"] {
            let args = ["executor"].into_iter().chain(line.split(' ')).map(OsString::from);
            assert!(matches!(read(args).unwrap_err(), NoCommand::Asked(_)), "{line}");
        }
        let unknown = read(["executor", "fly"].map(OsString::from)).unwrap_err();
        assert!(matches!(unknown, NoCommand::Unknown(name) if name == "fly"));
    }
}
