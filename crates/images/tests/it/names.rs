//! Registries whose names can't be resolved, for good or for now, by this system's own resolver.

use crate::support::{Place, told};
use images::{ImageError, RegistryCredentials};
use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const NAME_SERVER: &str = "127.0.0.1:53";
/// Waits as briefly as a resolver can.
const RESOLVER: &str = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
/// Runs what follows in a network of its own, with a resolver's configuration of its own.
const ALONE: &str = r#"ip link set lo up; mount --bind "$1" /etc/resolv.conf; shift; exec "$@""#;

#[test]
fn a_name_that_is_nobodys_is_told_from_one_that_nobody_can_tell() {
    let test = "names::a_name_that_is_nobodys_is_told_from_one_that_nobody_can_tell";
    if !testkit::have_root() {
        return testkit::missing_part(test, "root");
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let resolver = directory.path().join("resolv.conf");
    fs::write(&resolver, RESOLVER).expect("it is written");
    let ran = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-ec", ALONE, "sh"])
        .arg(resolver)
        .arg(std::env::current_exe().expect("this test"))
        .args(["names::names_are_told_apart", "--exact", "--ignored"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .expect("util-linux is everywhere");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[tokio::test]
#[ignore = "started by a_name_that_is_nobodys_is_told_from_one_that_nobody_can_tell"]
async fn names_are_told_apart() {
    let server = NameServer::start();
    let error = asked("nowhere.test/a:1").await;
    assert!(matches!(error, ImageError::UnknownHost { .. }) && !error.is_temporary(), "{}", told(&error));
    assert!(told(&error).starts_with("there is no registry nowhere.test: "), "{}", told(&error));
    for name in ["broken.test/a:1", "empty.test/a:1"] {
        is_for_now(&asked(name).await, name);
    }
    server.stop();
    is_for_now(&asked("nowhere.test/a:1").await, "no name server");
    let down = Command::new("ip").args(["link", "set", "lo", "down"]).status();
    assert!(down.expect("ip starts").success());
    is_for_now(&asked("nowhere.test/a:1").await, "no network");
}

async fn asked(image: &str) -> ImageError {
    let asked = Place::new().resolve(image, &RegistryCredentials::default()).await;
    asked.expect_err("there is no such registry")
}

fn is_for_now(error: &ImageError, what: &str) {
    assert!(matches!(error, ImageError::Network { .. }) && error.is_temporary(), "{what}: {}", told(error));
}

/// Says that there is no `nowhere.test`, that it can't ask for `broken.test`, that `empty.test` has no address.
struct NameServer {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl NameServer {
    fn start() -> Self {
        let socket = UdpSocket::bind(NAME_SERVER).expect("the port is free in a network of one's own");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a time limit can be set");
        let stopped = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            let mut query = [0; 512];
            while !told.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
                if let Some(answer) = answer(&query[..length]) {
                    socket.send_to(&answer, from).expect("it is sent");
                }
            }
        });
        Self { stopped, thread }
    }

    /// From now on its port is nobody's.
    fn stop(self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.join().expect("it did not panic");
    }
}

/// The answer to a query: its header and question, with a code and without any record.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let name = HEADER + query.get(HEADER..)?.iter().position(|byte| *byte == 0)?;
    let code = match query.get(HEADER + 1..)?.first()? {
        b'n' => 3,
        b'b' => 2,
        b'e' => 0,
        _ => return None,
    };
    let mut answer = query.get(..name + 5)?.to_vec();
    // It is an answer, recursion was wanted and can be had; one question and no records follow.
    answer[2..HEADER].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0]);
    Some(answer)
}
