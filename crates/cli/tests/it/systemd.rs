//! What systemd is told and what it is given: notifications of the real program, and the unit files.

use crate::support::{GATE, Process, SOON, system, text, wait};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A manager that hears what it is told.
struct Manager {
    socket: UnixDatagram,
    told: Vec<String>,
}

impl Manager {
    fn listen(dir: &Path) -> Self {
        let socket = UnixDatagram::bind(dir.join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(25))).unwrap();
        Self { socket, told: Vec::new() }
    }

    fn watches(command: &mut Command, dir: &Path) {
        command.env("NOTIFY_SOCKET", dir.join("notify")).env("WATCHDOG_USEC", "300000");
    }

    /// Waits until it has been told so.
    fn hears(&mut self, wanted: &str) {
        let mut message = [0; 1000];
        wait(SOON, &format!("{wanted:?}"), || {
            while let Ok(length) = self.socket.recv(&mut message) {
                self.told.push(String::from_utf8(message[..length].to_vec()).unwrap());
            }
            self.told.iter().any(|told| told.contains(wanted)).then_some(())
        });
    }

    fn forgets(&mut self) {
        self.told.clear();
    }
}

#[test]
fn an_agent_says_that_it_is_ready_moves_and_drains() {
    let Some(mut system) = system("an_agent_says_that_it_is_ready_moves_and_drains") else { return };
    let mut manager = Manager::listen(system.dir.path());
    let mut command = system.agent_command();
    Manager::watches(&mut command, system.dir.path());
    let agent = Process::start(command, "agent ");
    manager.hears("READY=1");
    manager.hears("STATUS=0 jobs run");
    manager.hears("WATCHDOG=1");
    let id = system.submit(GATE);
    manager.hears("STATUS=1 jobs run");
    agent.signal("TERM");
    manager.hears("STOPPING=1");
    manager.hears("STATUS=draining: 1 jobs run");
    manager.forgets();
    manager.hears("WATCHDOG=1");
    system.open_gates(&agent);
    system.wait_for_state(&id, "completed");
}

#[test]
fn a_control_plane_says_that_it_is_ready_answers_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::listen(dir.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
    command.args(["server", "--listen", "127.0.0.1:0", "--data-dir"]).arg(dir.path().join("data"));
    command.env("XDG_CONFIG_HOME", dir.path().join("config"));
    Manager::watches(&mut command, dir.path());
    let server = Process::start(command, "listening on ");
    manager.hears("READY=1");
    manager.hears("STATUS=answering requests on 127.0.0.1:");
    manager.hears("WATCHDOG=1");
    server.stop();
    manager.hears("STOPPING=1");
}

/// The unit as it is printed.
fn printed(name: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_executor"))
        .args(["install", "systemd-unit", name])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn units_are_printed_as_they_are_shipped_and_systemd_takes_them() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/systemd");
    let dir = tempfile::tempdir().unwrap();
    for name in ["executor", "executor-server", "executor-user"] {
        let unit = printed(name);
        assert!(unit.lines().any(|line| line == "LimitCORE=0"), "a core dump would hold secrets");
        assert_eq!(unit, std::fs::read_to_string(shipped.join(format!("{name}.service"))).unwrap());
        // The program is not installed here, nor is there a configuration.
        let unit = unit.replace("/usr/local/bin/executor", "/bin/true");
        std::fs::write(dir.path().join(format!("{name}.service")), unit).unwrap();
    }
    let system = ["executor.service", "executor-server.service"];
    for (manager, units) in [("--system", &system[..]), ("--user", &["executor-user.service"])] {
        let verified = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no", manager])
            .args(units.iter().map(|name| dir.path().join(name)))
            .env("XDG_RUNTIME_DIR", dir.path())
            .output();
        let Ok(verified) = verified else {
            testkit::missing_part(
                "units_are_printed_as_they_are_shipped_and_systemd_takes_them",
                "systemd-analyze",
            );
            return;
        };
        assert!(verified.status.success() && verified.stderr.is_empty(), "{}", text(&verified));
    }
}

/// The doctor's opinion of units is the same as ours.
#[test]
fn the_agents_units_have_what_the_doctor_looks_for() {
    for unit in ["executor", "executor-user"].map(printed) {
        for line in ["Delegate=yes", "KillMode=process", "LimitNOFILE=65536", "TasksMax=infinity"] {
            assert!(unit.lines().any(|seen| seen == line), "{line}");
        }
        assert!(unit.contains("WatchdogSec=30s"), "a stuck agent must be found while its jobs' leases last");
    }
}

/// To reload it is to replace the agent: what is run then, run here, makes it leave its jobs, and it is started again.
#[test]
fn to_reload_the_agents_unit_leaves_jobs_to_the_next_agent() {
    let unit = printed("executor");
    assert!(unit.lines().any(|line| line == "Restart=always"), "{unit}");
    let reload = unit.lines().find_map(|line| line.strip_prefix("ExecReload=")).unwrap().to_owned();
    let script = reload.strip_prefix("/bin/sh -c '").and_then(|rest| rest.strip_suffix('\'')).unwrap();
    let Some(mut system) = system("to_reload_the_agents_unit_leaves_jobs_to_the_next_agent") else { return };
    let mut agent = system.agent();
    let id = system.submit(&format!("echo begun; {GATE}"));
    system.wait_for_log(&id, "begun");
    let pid = agent.pid().to_string();
    let status = Command::new("/bin/sh").args(["-c", script]).env("MAINPID", pid).status().unwrap();
    assert!(status.success());
    assert!(agent.wait_exit().success());
    let next = system.agent();
    system.open_gates(&next);
    let job = system.wait_for_state(&id, "completed");
    assert_eq!(job["attempt"], 1, "{job}");
    next.stop();
}
