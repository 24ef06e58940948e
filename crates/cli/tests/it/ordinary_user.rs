//! Agents of an ordinary user: without root, and without anything that root has set up but `/etc/subuid`.

use crate::leftovers::leftovers;
use crate::support::{GATE, Process, SOON, System, files_below, text, wait};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use testkit::MadeUpUser;

/// A system whose agents are the user's.
struct Ordinary(System, MadeUpUser);

impl Ordinary {
    fn new(test: &str) -> Option<Self> {
        let system = System::with(test, &[("EXECUTOR_JOB_PIDS", "64"), ("EXECUTOR_MAXIMUM_NUM_JOBS", "2")])?;
        let user = MadeUpUser::new(test, system.dir.path())?;
        let ordinary = Self(system, user);
        ordinary.1.own_dir(&ordinary.home());
        let archive = dir_of(&ordinary.0, "busybox.tar");
        let mut command =
            ordinary.as_user(Command::new("executor").args(["image", "import", "busybox", &archive]));
        let imported = command.output().unwrap();
        assert!(imported.status.success(), "{}", text(&imported));
        Some(ordinary)
    }

    /// Everything that the user has: no variable names a directory but its home.
    fn home(&self) -> PathBuf {
        self.0.dir.path().join("agent-data-elsewhere")
    }

    /// The same command, run by the user.
    fn as_user(&self, command: &Command) -> Command {
        let mut wrapped = self.1.command(&[], Path::new(env!("CARGO_BIN_EXE_executor")));
        wrapped.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        for variable in ["EXECUTOR_DATA_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            wrapped.env_remove(variable);
        }
        wrapped.env("HOME", self.home()).stdin(Stdio::null());
        wrapped
    }

    fn agent(&mut self) -> Process {
        let command = self.0.agent_command();
        Process::start(self.as_user(&command), "agent ")
    }

    /// Lets all steps go on that wait at a [`GATE`]; at least one must.
    fn open_gates(&self) {
        wait(SOON, "a step at its gate", || {
            let gates = files_below(&self.home(), &|path| path.ends_with("gate"));
            for gate in &gates {
                let _ = std::fs::remove_file(gate);
            }
            (!gates.is_empty()).then_some(())
        });
    }

    /// `kill -9` of each agent, supervisor, guardian and whatever else the user has here.
    fn kill_all(&self) {
        for pid in self.1.processes() {
            // It may have gone with another.
            let _ =
                Command::new("kill").args(["-s", "KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        }
    }

    /// Waits until the user has no process, nor an agent of its any state or mount.
    fn nothing_is_left(&self) {
        wait(SOON, "all that the user had to go", || {
            (self.1.processes().is_empty() && leftovers(self.0.dir.path()).is_empty()).then_some(())
        });
    }
}

fn dir_of(system: &System, name: &str) -> String {
    system.dir.path().join(name).to_string_lossy().into_owned()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_ordinary_user_runs_jobs_and_hears_what_holds() {
    let Some(mut ordinary) = Ordinary::new("an_ordinary_user_runs_jobs_and_hears_what_holds") else {
        return;
    };
    let agent = ordinary.agent();
    let lines = agent.lines().join("\n");
    for said in [
        "runtime oci: an ordinary user runs the jobs, in a user namespace with 65537 users",
        "runtime oci: control groups: none that this user may use",
        "runtime oci: root in a job is, to the host, the user that runs executor",
        "warning: there is no memory controller: memory limits can't be enforced; ",
        "warning: there is no pids controller: ",
        "warning: there is no cpu controller: ",
        "warning: disk limits can't be enforced: ",
    ] {
        assert!(lines.contains(said), "{said:?} in {lines}");
    }
    let system = &ordinary.0;
    let (path, _) = system.git_repository();
    system.ok(&["repo", "add", "app", &path]);
    let steps = [
        "id -u; cat sub/file.txt; grep ^Groups: /proc/self/status; cut -d ' ' -f 6 /proc/self/stat",
        "touch mine other; chown 1000:50 other; stat -c %u:%g mine other; exit 7",
    ];
    let steps: Vec<&str> = steps.iter().flat_map(|step| ["--step", step]).collect();
    let ran = system.run(&[&["job", "run", "--repo", "app", "--image", "busybox"], &steps[..]].concat());
    assert_eq!(ran.status.code(), Some(1), "{}", text(&ran));
    let lines: Vec<String> = printed(&ran).lines().map(|line| line.trim().to_owned()).collect();
    assert_eq!(lines[..3], ["0", "two", "Groups:"], "root, of no group of the user's: {}", text(&ran));
    assert_ne!(lines[3], "0", "its session is not the one of whoever started the agent");
    assert_eq!(lines[4..], ["0:0", "1000:50"]);
    assert_eq!(system.newest()["steps"][1]["exitCode"], 7);

    let endless = system.submit("trap '' TERM; setsid sleep 600 & echo begun; sleep 600");
    system.wait_for_log(&endless, "begun");
    let files = files_below(&ordinary.home(), &|path| path.ends_with("job.json"));
    let owned = |path: &PathBuf| std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path).unwrap());
    assert_eq!(
        files.iter().map(owned).collect::<Vec<_>>(),
        [ordinary.1.uid()],
        "its records are the user's own"
    );
    system.ok(&["job", "cancel", &endless]);
    assert_eq!(system.wait_for_state(&endless, "canceled")["reason"], "canceled");
    agent.stop();
    ordinary.nothing_is_left();
}

#[test]
fn the_jobs_of_an_ordinary_user_outlive_its_agent_and_nothing_outlives_them() {
    let test = "the_jobs_of_an_ordinary_user_outlive_its_agent_and_nothing_outlives_them";
    let Some(mut ordinary) = Ordinary::new(test) else { return };
    let mut first = ordinary.agent();
    let id = ordinary.0.submit(&format!("echo begun; {GATE}; echo done"));
    ordinary.0.wait_for_log(&id, "begun");
    first.kill();
    let second = ordinary.agent();
    let canceled = ordinary.0.submit("echo begun; sleep 600");
    ordinary.0.wait_for_log(&canceled, "begun");
    ordinary.open_gates();
    let job = ordinary.0.wait_for_state(&id, "completed");
    assert_eq!(job["attempt"], 1, "the next agent took care of it: {job}");
    ordinary.0.ok(&["job", "cancel", &canceled]);
    ordinary.0.wait_for_state(&canceled, "canceled");

    // Whoever is killed: what the job has started goes, within a moment and without anybody's help.
    let id = ordinary.0.submit("setsid sleep 600 & (setsid sleep 600 &) ; echo begun; sleep 600");
    ordinary.0.wait_for_log(&id, "begun");
    ordinary.kill_all();
    wait(Duration::from_secs(5), "all that the user had to go", || {
        ordinary.1.processes().is_empty().then_some(())
    });
    drop(second);
    let third = ordinary.agent();
    ordinary.0.ok(&["job", "cancel", &id]);
    ordinary.0.wait_for_state(&id, "canceled");
    third.stop();
    ordinary.nothing_is_left();
}

#[test]
fn an_ordinary_user_without_others_is_told_what_to_do() {
    let Some(mut ordinary) = Ordinary::new("an_ordinary_user_without_others_is_told_what_to_do") else {
        return;
    };
    let command = ordinary.0.agent_command();
    let refused = MadeUpUser::without_others(&mut ordinary.as_user(&command)).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(said.trim_end().lines().count(), 1, "a refusal is one line: {said}");
    for part in ["/etc/subuid", "usermod --add-subuids 100000-165535 ", "ordinary", "as root"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    let strict = ordinary.as_user(&command).env("EXECUTOR_STRICT", "true").output().unwrap();
    assert_eq!(strict.status.code(), Some(3), "{}", text(&strict));
    for finding in ["oci.users", "cgroup.memory", "cgroup.pids", "cgroup.cpu", "disk.limit"] {
        assert!(String::from_utf8_lossy(&strict.stderr).contains(finding), "{finding} in {}", text(&strict));
    }
    let mut doctor = Command::new("executor");
    doctor
        .args(["doctor", "--json"])
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let doctor = ordinary.as_user(&doctor).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let severity = |id: &str| {
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["id"] == id);
        found.unwrap_or_else(|| panic!("{id} in {report:#}"))["severity"].clone()
    };
    assert_eq!(severity("oci.ordinary"), "info");
    assert_eq!(severity("oci.mounts"), "ok");
    for limit in ["cgroup.memory", "cgroup.pids", "cgroup.cpu", "disk.limit"] {
        assert_eq!(severity(limit), "warning", "{limit}");
    }
    ordinary.nothing_is_left();
}
