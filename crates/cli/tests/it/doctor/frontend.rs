//! Control planes that can't be reached, are none, or don't want us.

use super::{Examined, LIMIT, Patient, SECRET, seen};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use testkit::stock_server::StockServer;

const CLOSE: &str = "Content-Length: 0\r\nConnection: close\r\n\r\n";

/// A server that sends `answer` to everybody; without one, nothing.
pub(super) fn server(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut silent: Vec<TcpStream> = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let Some(answer) = answer else {
                silent.push(stream);
                continue;
            };
            // Somebody who only looks whether the port is open says nothing.
            if matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    url
}

fn at(url: &str) -> Patient {
    Patient::new().with("EXECUTOR_FRONTEND_URL", url)
}

#[test]
fn a_stock_instance_is_taken_for_one() {
    let stock = StockServer::start_below(SECRET, "/base");
    let examined = at(&stock.url()).examined();
    examined.one("frontend.answer", "ok");
    examined.one("frontend.token", "ok");
    assert_eq!(stock.named("/base/.executors/test/auth").len(), 1, "it is asked once");
}

#[test]
fn a_wrong_secret_is_told_and_not_shown() {
    let stock = StockServer::start("another-password-of-many-letters");
    let examined = at(&stock.url()).examined();
    assert_eq!(examined.code(), Some(1));
    examined.one("frontend.answer", "ok");
    let finding = examined.one("frontend.token", "fatal");
    assert!(finding["remedy"].as_str().unwrap().contains("executors.accessToken"), "{finding}");
}

#[test]
fn nobody_listens() {
    let examined = at("http://127.0.0.1:1").examined();
    assert_eq!(examined.code(), Some(1));
    let finding = examined.one("frontend.reach", "fatal");
    assert!(seen(finding).contains("port 1 of 127.0.0.1"), "{finding}");
    assert_eq!(examined.found("frontend.answer").len(), 0, "it is told once");
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let examined = at(&server(None)).examined();
    assert_eq!(examined.code(), Some(1));
    examined.one("frontend.reach", "ok");
    let finding = examined.one("frontend.answer", "fatal");
    assert!(seen(finding).contains("no answer"), "{finding}");
    assert!(examined.took < LIMIT, "{:?}", examined.took);
}

#[test]
fn what_is_no_control_plane_is_told() {
    for (answer, part) in [
        (
            "HTTP/1.1 301 Moved Permanently\r\nLocation: https://sg.test/.executors/test/auth\r\n",
            "leads to https://sg.test/",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nServer: portal\r\n", "web page"),
        ("HTTP/1.1 404 Not Found\r\n", "knows no executors"),
        ("HTTP/1.1 503 Service Unavailable\r\n", "out of order"),
    ] {
        let answer: &'static str = format!("{answer}{CLOSE}").leak();
        let examined = at(&server(Some(answer))).examined();
        let finding = examined.one("frontend.answer", "fatal");
        assert!(seen(finding).contains(part), "{finding}");
    }
}

#[test]
fn clocks_that_differ_are_told() {
    let answer = format!("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n{CLOSE}").leak();
    let examined = at(&server(Some(answer))).examined();
    let finding = examined.one("frontend.clock", "warning");
    assert!(seen(finding).contains("ahead of"), "{finding}");
    assert!(!examined.fatal().contains("frontend.clock"));
}

/// Runs what follows in a network where nothing that is sent arrives, name servers included.
const LOST: &str = r#"
ip link set lo up
ip addr add 10.9.0.1/32 dev lo
ip route add default dev lo src 10.9.0.1
mount --bind "$1" /etc/resolv.conf
shift
exec "$@"
"#;

/// The doctor, in a network that drops every packet.
fn in_a_dead_network(test: &str, patient: &Patient) -> Option<Examined> {
    if !testkit::have_root() {
        testkit::missing_part(test, "root");
        return None;
    }
    let names = patient.path("resolv.conf");
    std::fs::write(&names, "nameserver 10.9.0.53\n").unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-ec", LOST, "sh"]).arg(names);
    command.arg(env!("CARGO_BIN_EXE_executor")).args(["doctor", "--json"]);
    command.env_clear().envs(patient.env.iter().map(|(name, value)| (name, value)));
    Some(Examined::of(&mut command))
}

#[test]
fn a_network_that_drops_everything_takes_no_longer() {
    let test = "a_network_that_drops_everything_takes_no_longer";
    // No mirror: Docker Hub is asked, and can't be.
    let patient = at("http://192.0.2.1:3080").with("EXECUTOR_DOCKER_REGISTRY_MIRROR_URL", "");
    let patient =
        patient.with("HTTPS_PROXY", "http://192.0.2.2:3128").with("DOCKER_HOST", "tcp://192.0.2.3:2375");
    let Some(examined) = in_a_dead_network(test, &patient) else { return };
    let finding = examined.one("frontend.reach", "fatal");
    assert!(seen(finding).contains("no answer within"), "{finding}");
    examined.one("registry.answer", "warning");
    assert!(examined.took < LIMIT, "{:?}", examined.took);

    let patient = at("https://sg.example.test").with("EXECUTOR_DOCKER_REGISTRY_MIRROR_URL", "");
    let examined = in_a_dead_network(test, &patient).unwrap();
    examined.one("frontend.dns", "fatal");
    assert!(examined.took < LIMIT, "{:?}", examined.took);
}
