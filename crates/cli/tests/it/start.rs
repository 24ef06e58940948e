//! What is said, checked and made when a part starts.

use crate::leftovers::nothing_is_left;
use crate::support::{Process, SOON, System, system, text, wait};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM_DIRS: [&str; 5] = ["/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A search path on which there is an OCI runtime and git, and no program that makes file systems.
fn path_without_mkfs(system: &System) -> PathBuf {
    let dir = system.dir.path().join("programs");
    std::fs::create_dir(&dir).unwrap();
    for name in ["crun", "runc", "git"] {
        let found = PROGRAM_DIRS.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.exists());
        if let Some(program) = found {
            symlink(program, dir.join(name)).unwrap();
        }
    }
    dir
}

#[test]
fn the_agent_says_what_it_runs_jobs_with() {
    let Some(mut system) = system("the_agent_says_what_it_runs_jobs_with") else { return };
    let mut by_default = system.agent_command();
    by_default.env_remove("EXECUTOR_RUNTIME");
    let agent = Process::start(by_default, "agent ");
    let lines = agent.lines();
    let weaker = "warning: virtual machines are the documented default, and ";
    assert!(lines.iter().any(|line| line.starts_with(weaker)), "{lines:?}");
    let runtime = lines.iter().position(|line| line.starts_with("runtime oci: ") && line.contains(" at /"));
    let ready = lines.iter().position(|line| line.starts_with("agent agent1-"));
    assert!(runtime.is_some() && runtime < ready, "{lines:?}");
    let url = system.url();
    let ready = &lines[ready.unwrap()];
    assert!(ready.contains(&format!(" asks {url}")) && ready.contains(" for jobs of batches"), "{lines:?}");
}

#[test]
fn a_limit_that_cannot_be_kept_is_a_warning_and_strictly_a_refusal() {
    let Some(mut system) = system("a_limit_that_cannot_be_kept_is_a_warning_and_strictly_a_refusal") else {
        return;
    };
    let path = path_without_mkfs(&system);
    let strict = system.agent_command().env("PATH", &path).env("EXECUTOR_STRICT", "true").output().unwrap();
    assert_eq!(strict.status.code(), Some(3), "{}", text(&strict));
    let said = String::from_utf8_lossy(&strict.stderr);
    assert_eq!(said.trim_end().lines().count(), 1, "a refusal is one line: {said}");
    for part in ["EXECUTOR_STRICT", "disk limits can't be enforced", "mkfs.ext4", "install e2fsprogs"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    nothing_is_left(system.dir.path());

    let mut lenient = system.agent_command();
    lenient.env("PATH", &path);
    let lenient = Process::start(lenient, "agent ");
    let lines = lenient.lines();
    let warning = lines.iter().position(|line| line.starts_with("warning: disk limits can't be enforced: "));
    let ready = lines.iter().position(|line| line.starts_with("agent "));
    assert!(warning.is_some() && warning < ready, "{lines:?}");
    assert!(lines[warning.unwrap()].ends_with("; install e2fsprogs and give the executor loop devices"));
    let output = system.job("echo runs-without");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    lenient.stop();
    nothing_is_left(system.dir.path());
}

#[test]
fn only_their_owner_reads_what_the_first_start_makes() {
    let Some(system) = system("only_their_owner_reads_what_the_first_start_makes") else { return };
    let settings = system.dir.path().join("config/executor/client.json");
    for file in
        [system.server_dir().join("site-config.jsonc"), system.server_dir().join("api-token"), settings]
    {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

/// The same command under a limit, in the words of a shell's `ulimit`.
fn limited(limit: &str, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit {limit}; exec \"$@\""), "sh"]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited
}

#[test]
fn an_agent_that_may_open_few_files_does_not_start() {
    let Some(mut system) = system("an_agent_that_may_open_few_files_does_not_start") else { return };
    let refused = limited("-n 24", &system.agent_command()).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.lines().count() == 1 && said.contains("may have 24 open files"), "{said}");
    nothing_is_left(system.dir.path());
}

/// By itself the kernel ends who writes more, without a word.
#[test]
fn a_file_that_may_not_grow_is_an_error_with_words() {
    let Some(system) = system("a_file_that_may_not_grow_is_an_error_with_words") else { return };
    let path = |name: &str| system.dir.path().join(name).to_str().unwrap().to_owned();
    let import = ["image", "import", "--data-dir", &path("other"), "other", &path("busybox.tar")];
    let refused = limited("-f 8", &system.executor(&import)).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    assert!(text(&refused).contains("File too large"), "{}", text(&refused));
}

/// A wrong secret is said once, with what to do, and then rarely; so is that it is right again.
#[test]
fn an_agent_that_is_refused_says_so_once_and_says_when_it_is_accepted() {
    let Some(mut system) = system("an_agent_that_is_refused_says_so_once_and_says_when_it_is_accepted")
    else {
        return;
    };
    let said = system.dir.path().join("agent-said");
    let mut command = system.agent_command();
    command.env("EXECUTOR_FRONTEND_PASSWORD", "another-secret-of-enough-length");
    command.stderr(std::fs::File::create(&said).unwrap());
    let _agent = Process::start(command, "agent ");
    let lines = |what: &str| {
        let said = std::fs::read_to_string(&said).unwrap();
        said.lines().filter(|line| line.contains(what)).map(str::to_owned).collect::<Vec<_>>()
    };
    let refused = wait(SOON, "a word of the refusal", || lines("refuses this executor").pop());
    assert!(refused.contains("401") && refused.contains("executors.accessToken"), "{refused}");
    let file = system.server_dir().join("site-config.jsonc");
    let site = std::fs::read_to_string(&file).unwrap();
    let site = site.replace(&system.shared_secret(), "another-secret-of-enough-length");
    std::fs::write(&file, site).unwrap();
    wait(SOON, "a word of the end of it", || lines("accepts this executor now").pop());
    assert_eq!(lines("refuses this executor").len(), 1, "{:?}", lines(""));
    assert!(system.job("true").status.success());
}
