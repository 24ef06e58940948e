//! A cable between two networks, which a test can pull: the agent is at its far end, everything else that the test
//! starts at the near one. Nobody refuses anything then; what is sent just does not arrive.

use crate::support::{SOON, text, wait};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Child, Command};

/// Where the far end finds the near one.
pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// How long a network is kept at most, should the test be killed. In seconds.
const LONGEST: &str = "900";

/// Two networks of their own. The thread that lays it is at its near end from then on.
pub(crate) struct Cable {
    far: Keeper,
}

/// A process whose network it is.
struct Keeper(Child);

impl Keeper {
    fn new() -> Self {
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let keeper = Self(Command::new("unshare").args(["--net", "sleep", LONGEST]).spawn().unwrap());
        wait(SOON, "a network", || {
            std::fs::read_link(keeper.network()).is_ok_and(|theirs| theirs != own).then_some(())
        });
        keeper
    }

    fn network(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Cable {
    /// Lays it, or says why the test is skipped.
    pub(crate) fn lay(test: &str) -> Option<Self> {
        if !testkit::have_root() {
            testkit::missing_part(test, "root");
            return None;
        }
        if Command::new("ip").arg("-V").output().is_err() {
            testkit::missing_part(test, "the ip program");
            return None;
        }
        let near = Keeper::new();
        let network = File::open(near.network()).unwrap();
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let cable = Self { far: Keeper::new() };
        let far = cable.far.0.id().to_string();
        ip(&["link", "set", "lo", "up"]);
        ip(&["link", "add", "near", "type", "veth", "peer", "name", "far", "netns", &far]);
        ip(&["address", "add", "10.99.0.1/24", "dev", "near"]);
        ip(&["link", "set", "near", "up"]);
        for args in
            [["link", "set", "lo", "up"].as_slice(), &["address", "add", "10.99.0.2/24", "dev", "far"]]
        {
            succeed(Command::new("nsenter").arg(cable.entrance()).arg("ip").args(args));
        }
        succeed(Command::new("nsenter").arg(cable.entrance()).args(["ip", "link", "set", "far", "up"]));
        Some(cable)
    }

    #[expect(clippy::unused_self, reason = "there is none to pull without one")]
    pub(crate) fn pull(&self) {
        ip(&["link", "set", "near", "down"]);
    }

    #[expect(clippy::unused_self, reason = "there is none to plug without one")]
    pub(crate) fn plug(&self) {
        ip(&["link", "set", "near", "up"]);
    }

    /// The same command at the far end, with no other variables than it names itself.
    pub(crate) fn at_far_end(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.env_clear().arg(self.entrance()).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                inside.env(name, value);
            }
        }
        inside
    }

    fn entrance(&self) -> String {
        format!("--net={}", self.far.network())
    }
}

fn ip(args: &[&str]) {
    succeed(Command::new("ip").args(args));
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
}
