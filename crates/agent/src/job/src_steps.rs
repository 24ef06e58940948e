//! Steps that are calls of `src`, which a stock control plane sends unless it is told to send containers.
//!
//! The program runs on this host, as documented, and makes containers by itself. It is given an engine
//! whose containers are this sandbox's: they get the limits of any step, see nothing but the workspace,
//! and go when the job ends, whoever died.

mod environment;

use super::phases::Prepared;
use super::{Failure, credentials};
use crate::log::NO_EXIT_CODE;
use crate::workspace::command::{self, Program, Ran};
use crate::workspace::normalize;
use jobs::EndReason;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};
use wire::{CliStep, DockerAuthConfig, Job};

/// What a step's log key begins with.
const KEY: &str = "step.src.";
/// The program.
const SRC: &str = "src";
/// All that is ever asked of it. Other commands would read or change more than the workspace.
const COMMAND: [&str; 2] = ["batch", "exec"];
/// What messages begin with, as documented.
const WHAT: &str = "failed to perform src-cli step";

/// What can be refused before anything is made.
pub(super) fn check(job: &Job, allowed: bool) -> Result<(), Failure> {
    if job.cli_steps.is_empty() {
        return Ok(());
    }
    if !allowed {
        return Err(Failure::bad_job(
            "this executor runs no src steps, since src would run on its host: have the control plane send \
             containers (its site configuration: \"batchChanges.nativeServerSideExecution\": true), or use an \
             executor with a container engine that may run src",
        ));
    }
    let bad = |why: String| Err(Failure::bad_job(format!("{WHAT}: {why}")));
    for step in &job.cli_steps {
        if !step.command.iter().zip(COMMAND).all(|(part, word)| part == word) || step.command.len() < 2 {
            return bad(format!("src may only be asked to {}", COMMAND.join(" ")));
        }
        if let Some(out) = step.command.iter().find(|argument| leads_out(argument)) {
            return bad(format!("the argument {out:?} leads out of the workspace"));
        }
        if let Err(why) = environment::check(&step.env) {
            return bad(why);
        }
    }
    Ok(())
}

/// Whether an argument, or what an option is set to, is a path to elsewhere, or can't be one at all.
fn leads_out(argument: &str) -> bool {
    let path = argument.split_once('=').map_or(argument, |(_, value)| value);
    let below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    argument.contains('\0') || !Path::new(path).components().all(below)
}

impl Prepared<'_, '_> {
    /// Runs the job's src steps, one after the other, up to the first that fails.
    pub(super) async fn run_src_steps(&mut self) -> Result<(), Failure> {
        let job = self.opened.claimed.job;
        for (index, step) in job.cli_steps.iter().enumerate() {
            let name = if step.key.is_empty() { index.to_string() } else { step.key.clone() };
            self.run_src_step(step, &name).await.map_err(|failure| failure.while_doing(WHAT))?;
        }
        Ok(())
    }

    async fn run_src_step(&mut self, step: &CliStep, name: &str) -> Result<(), Failure> {
        let claimed = self.opened.claimed;
        if claimed.stop.cause().is_some() {
            return Err(Failure::Stopped);
        }
        let config = claimed.around.api.config();
        let engine = self.opened.sandbox.engine().await.map_err(|fault| Failure::of_runtime(&fault))?;
        let engine = engine.ok_or_else(|| {
            let runtime = claimed.around.runtime.name();
            Failure::bad_job(format!("src needs a container engine, and the runtime {runtime} has none"))
        })?;
        let logins = credentials::documented(&claimed.job.docker_auth_config, config);
        let logins = logins.map(|logins| write_logins(logins, &engine.dir)).transpose();
        let logins = logins.map_err(|fault| Failure::of_write("the credentials for registries", &fault))?;
        let below = normalize(&step.dir)?;
        let directory = self.confined.directory(&below)?;
        // The child has this descriptor until it becomes the program.
        let at = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));

        let argv: Vec<String> = [SRC.to_owned()].into_iter().chain(step.command.iter().cloned()).collect();
        let env = environment::all(step, &config.tool_env, &engine.address, logins.as_deref());
        let search_path =
            config.tool_env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
        let confined = engine.confined(&below, search_path, &argv);
        let entry = claimed.log.entry(&format!("{KEY}{name}"), Some(&argv));
        claimed.timeline.reached("step begins");
        let ran = match &confined {
            Some(argv) => {
                let program = Program { argv, env: &env, directory: Some(&at) };
                let programs = self.opened.sandbox.programs();
                command::run(&programs, program, &entry, claimed.stop.token()).await
            }
            None => Err(io::Error::new(io::ErrorKind::NotFound, "it is not on PATH")),
        };
        claimed.timeline.reached("step ended");
        match ran {
            Ok(Ran::Exited { status, .. }) => {
                let code = command::exit_code(status);
                entry.close(code);
                if code == 0 {
                    return Ok(());
                }
                let reason = EndReason::ExitCode { step: name.to_owned(), code };
                Err(Failure::new(reason, format!("command failed with exit code {code}")))
            }
            Ok(Ran::Stopped) => {
                entry.close(NO_EXIT_CODE);
                Err(Failure::Stopped)
            }
            Err(fault) => {
                let message = format!("starting command: {SRC}: {fault}");
                entry.line(&message);
                entry.close(NO_EXIT_CODE);
                Err(Failure::sandbox(message))
            }
        }
    }
}

/// Writes the configuration of Docker's client, and returns its directory.
fn write_logins(logins: &DockerAuthConfig, private: &Path) -> io::Result<PathBuf> {
    let dir = private.join("docker-config");
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("config.json"), serde_json::to_vec(logins)?)?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(command: &[&str], env: &[&str]) -> Job {
        let own = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect();
        let step = CliStep { command: own(command), env: own(env), ..CliStep::default() };
        Job { cli_steps: vec![step], ..Job::default() }
    }

    const DOCUMENTED: [&str; 8] =
        ["batch", "exec", "-f", "input.json", "-repo", "repository", "-tmp", ".src-tmp"];

    #[test]
    fn the_documented_call_may_run_where_it_is_allowed() {
        assert_eq!(check(&Job::default(), false), Ok(()));
        assert_eq!(check(&job(&DOCUMENTED, &["A=b"]), true), Ok(()));
        let Err(Failure::Broke { reason, message }) = check(&job(&DOCUMENTED, &[]), false) else { panic!() };
        assert_eq!(reason, EndReason::BadJob);
        assert!(message.contains("nativeServerSideExecution"), "{message}");
    }

    #[test]
    fn a_call_for_anything_else_is_refused() {
        for (command, env, why) in [
            (&["login"][..], &[][..], "only be asked to batch exec"),
            (&["batch"], &[], "only be asked to batch exec"),
            (&["batch", "apply", "-f", "input.json"], &[], "only be asked to batch exec"),
            (&["batch", "exec", "-f", "/etc/shadow"], &[], "\"/etc/shadow\" leads out"),
            (&["batch", "exec", "-f=/etc/shadow"], &[], "leads out"),
            (&["batch", "exec", "-tmp", "a/../../b"], &[], "leads out"),
            (&["batch", "exec", "a\0"], &[], "leads out"),
            (&["batch", "exec"], &["TOKEN"], "entry 0 of the step's env"),
            (&["batch", "exec"], &["LD_PRELOAD=x.so"], "the step's variable LD_PRELOAD"),
        ] {
            let Err(Failure::Broke { message, .. }) = check(&job(command, env), true) else {
                panic!("{command:?}")
            };
            assert!(message.starts_with(WHAT) && message.contains(why), "{message}");
        }
    }
}
