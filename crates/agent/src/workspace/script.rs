//! The shell script of a step.

use super::DATA;
use super::paths::normalize;
use crate::job::Failure;
use crate::text::begin;
use runtimes::STARTUP_SCRIPT;
use wire::Job;

/// Where scripts are, below the workspace.
pub(crate) const SCRIPTS_DIR: &str = ".sourcegraph-executor";
/// The longest name most file systems take.
const LONGEST_NAME: usize = 255;

/// Runs a step's lines by bash where the image has one, without forking for it: the first run looks
/// for bash and becomes it, marked by an argument. Then every line is echoed, and none but the last
/// decides how the step ends.
///
/// The protocol looks for bash as `command -p -v bash` does, whose answer is only to be had by a
/// fork, and then at `/bin/bash`. The default path of dash and of bash is POSIX's `_CS_PATH`, which
/// is `/bin:/usr/bin` in glibc and musl; busybox adds `/sbin` and `/usr/sbin`, where nobody puts a
/// shell. So these two places are all there is. A bash elsewhere, such as in `/usr/local/bin`, is
/// not looked for.
const PROLOGUE: &str = r#"
if [ -z "$1" ]; then
  for executor_bash in /bin/bash /usr/bin/bash; do
    if [ -x "$executor_bash" ]; then exec "$executor_bash" "$0" skip-check; fi
  done
  unset executor_bash
fi
"#;

/// What comes before the commands themselves.
const BEGIN: &str = "set +e\nset -x\n\n";

/// Where it is noted, in the workspace's root, that a step got no further than the operator's script: an exit
/// code alone would be anybody's.
pub(crate) const STARTUP_FAILED: &str = ".executor-startup-script-failed";
/// The most that is noted there, in bytes.
pub(crate) const LONGEST_CODE: u64 = 64;

/// Runs the operator's script by the shell that runs the step.
fn startup() -> String {
    format!(
        r#"if [ -n "$1" ]; then executor_shell=$BASH; else executor_shell=/bin/sh; fi
"$executor_shell" {STARTUP_SCRIPT} || {{
  executor_code=$?
  echo "failed to run startup script: command failed with exit code $executor_code" >&2
  echo "$executor_code" > {DATA}/{STARTUP_FAILED}
  exit "$executor_code"
}}
unset executor_shell
"#
    )
}

/// The script that runs `commands`, after the operator's script if there is one.
pub(super) fn content(commands: &[String], startup_script: bool) -> String {
    let startup = if startup_script { startup() } else { String::new() };
    format!("{PROLOGUE}{startup}{BEGIN}{}\n", commands.join("\n"))
}

/// The script's file name in [`SCRIPTS_DIR`]: `<job>.<step>_<repository>@<commit>.sh`.
pub(crate) fn file_name(job: &Job, step: usize) -> String {
    let what = format!("_{}@{}", job.repository_name, job.commit).replace(['/', '\0'], "_");
    let number = format!("{}.{step}", job.id);
    let room = LONGEST_NAME - number.len() - ".sh".len();
    format!("{number}{}.sh", begin(&what, room))
}

/// The path of the script's file below the workspace.
pub(super) fn path(job: &Job, step: usize) -> Result<String, Failure> {
    normalize(&format!("{SCRIPTS_DIR}/{}", file_name(job, step)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use wire::JobId;

    fn job(repository_name: &str, commit: &str) -> Job {
        Job {
            id: JobId(42),
            repository_name: repository_name.to_owned(),
            commit: commit.to_owned(),
            ..Job::default()
        }
    }

    #[test]
    fn files_are_named_as_documented() {
        let name = file_name(&job("github.com/foo/bar", "deadbeef"), 0);
        assert_eq!(name, "42.0_github.com_foo_bar@deadbeef.sh");
        assert_eq!(file_name(&job("", "deadbeef"), 3), "42.3_@deadbeef.sh");
        assert_eq!(file_name(&job("", "../../x"), 0), "42.0_@.._.._x.sh");
        assert!(file_name(&job(&"ü".repeat(300), "c"), 0).len() <= LONGEST_NAME);
    }

    /// Runs `lines` by each shell there is and checks exit code, standard output and the echo.
    fn check(lines: &[&str], code: i32, stdout: &str, echoed: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("s.sh");
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        std::fs::write(&script, content(&lines, false)).unwrap();
        let mut tried = 0;
        for shell in
            [&["/bin/dash"][..], &["/bin/bash"], &["/bin/busybox", "sh"], &["/usr/bin/busybox", "sh"]]
        {
            if !std::path::Path::new(shell[0]).exists() {
                continue;
            }
            tried += 1;
            // The second way leaves out the look for bash, so that the shell itself runs the lines.
            for mark in [&[][..], &["skip-check"]] {
                let output =
                    Command::new(shell[0]).args(&shell[1..]).arg(&script).args(mark).output().unwrap();
                assert_eq!(output.status.code(), Some(code), "{shell:?} {mark:?}");
                assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{shell:?} {mark:?}");
                let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
                for line in echoed {
                    assert!(stderr.lines().any(|seen| seen == *line), "{shell:?} {mark:?}: {stderr}");
                }
                assert!(!stderr.contains("executor_bash"), "the prologue is silent: {stderr}");
            }
        }
        assert!(tried > 0, "there is no shell here at all");
    }

    #[test]
    fn the_last_command_decides_and_every_command_is_echoed() {
        check(&["echo a", "false", "echo b"], 0, "a\nb\n", &["+ echo a", "+ false", "+ echo b"]);
        check(&["echo a", "exit 3"], 3, "a\n", &["+ exit 3"]);
        check(&["true", "false"], 1, "", &["+ false"]);
        check(&[], 0, "", &[]);
    }

    #[test]
    fn the_operators_script_is_run_by_the_shell_that_runs_the_step() {
        let text = content(&["echo own".to_owned()], true);
        let dir = tempfile::tempdir().unwrap();
        let (script, first, failed) =
            (dir.path().join("s.sh"), dir.path().join("first"), dir.path().join("failed"));
        let text = text.replace(STARTUP_SCRIPT, first.to_str().unwrap());
        let text = text.replace(&format!("{DATA}/{STARTUP_FAILED}"), failed.to_str().unwrap());
        std::fs::write(&script, text).unwrap();
        let run = |shell: &str, lines: &str| {
            std::fs::write(&first, lines).unwrap();
            let output = Command::new(shell).arg(&script).output().unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        let has_bash = std::path::Path::new("/bin/bash").exists();
        for shell in ["/bin/sh", "/bin/bash"].into_iter().filter(|shell| *shell == "/bin/sh" || has_bash) {
            let seen = run(shell, "echo ${BASH_VERSION:+bash}\n");
            assert_eq!(seen, (Some(0), if has_bash { "bash\nown\n" } else { "\nown\n" }.to_owned()));
            assert!(!failed.exists());
            assert_eq!(run(shell, "exit 7\n"), (Some(7), String::new()));
            assert_eq!(std::fs::read_to_string(&failed).unwrap(), "7\n");
            std::fs::remove_file(&failed).unwrap();
        }
    }

    #[test]
    fn bash_is_looked_for_on_the_shells_default_path() {
        let dirs: Vec<&str> = PROLOGUE
            .split_whitespace()
            .filter_map(|word| word.trim_end_matches(';').strip_suffix("/bash"))
            .collect();
        let output = Command::new("getconf").arg("PATH").output().unwrap();
        assert_eq!(dirs.join(":"), String::from_utf8(output.stdout).unwrap().trim());
    }

    #[test]
    fn bash_runs_the_lines_where_there_is_one() {
        if std::path::Path::new("/bin/bash").exists() {
            let dir = tempfile::tempdir().unwrap();
            let script = dir.path().join("s.sh");
            std::fs::write(&script, content(&["a=(x y); echo ${a[1]}".to_owned()], false)).unwrap();
            let output = Command::new("/bin/sh").arg(&script).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), "y\n");
        }
    }
}
