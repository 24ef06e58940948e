//! The scripted instance itself.

use super::*;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Sends a request on a connection of its own; gives everything that comes back.
fn ask(server: &StockServer, path: &str, headers: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server.address)?;
    let length = body.len();
    let request = format!("POST {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes())?;
    // Where the connection was reset meanwhile, reading tells so.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn dequeue(server: &StockServer) -> std::io::Result<String> {
    let headers = "Authorization: token-executor secret\r\nContent-Type: application/json\r\n";
    let body = r#"{"executorName":"e","version":"5.6.0"}"#;
    ask(server, "/.executors/queue/batches/dequeue", headers, body)
}

#[test]
fn a_lost_answer_is_a_call_that_was_served() {
    let server = StockServer::start("secret");
    server.give(StockJob::new("batches", 1));
    server.fault("dequeue", [Fault::Reset, Fault::status(503), Fault::ServedCut]);
    assert_eq!(dequeue(&server).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(dequeue(&server).unwrap().starts_with("HTTP/1.1 503 "));
    assert!(server.record("batches", 1).is_none());
    let answer = dequeue(&server).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.ends_with('}'), "{answer}");
    assert_eq!(server.record("batches", 1).unwrap().state, State::Processing);
    assert!(dequeue(&server).unwrap().starts_with("HTTP/1.1 204 "));
    assert_eq!(server.objections(), Vec::<String>::new());
}

#[test]
fn a_port_that_was_closed_is_opened_again() {
    let mut server = StockServer::start("secret");
    let mut idle = TcpStream::connect(server.address).unwrap();
    server.go_away();
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0, "the connection is closed");
    assert!(dequeue(&server).is_err());
    server.come_back();
    assert!(dequeue(&server).unwrap().starts_with("HTTP/1.1 204 "));
}

#[test]
fn what_a_stock_instance_would_not_understand_is_told() {
    let server = StockServer::start("secret");
    let answer = ask(&server, "/.executors/queue/batches/dequeue", "User-Agent: x\r\n", r#"{"name":"e"}"#);
    assert!(answer.unwrap().starts_with("HTTP/1.1 401 "));
    let told = server.objections().join("\n");
    for part in ["User-Agent", "Content-Type", "\"name\" is not documented", "\"version\" is missing"] {
        assert!(told.contains(part), "{part:?} in {told}");
    }
}
