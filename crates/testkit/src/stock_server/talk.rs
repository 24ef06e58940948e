//! One connection: requests in, answers and faults out.

use super::answer::{self, Answer, Fault};
use super::front::Connection;
use super::instance::{Instance, Served};
use super::lock;
use super::request::Request;
use std::io::{BufReader, Write};
use std::sync::Mutex;

/// Serves a connection until either side ends it.
pub(super) fn serve(instance: &Mutex<Instance>, connection: Connection) {
    if talk(instance, &connection) == End::Reset {
        connection.reset();
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Close,
    Reset,
}

fn talk(instance: &Mutex<Instance>, connection: &Connection) -> End {
    let mut from = BufReader::new(&*connection.stream);
    let mut to = &*connection.stream;
    // What can't be read is a connection that was cut, or not HTTP: either way it is over.
    while let Ok(Some(request)) = Request::read(&mut from) {
        let fault = lock(instance).note(&request);
        let answer = if fault.is_served() { Some(answer(instance, &request)) } else { None };
        let mut bytes = answer.map(|answer| answer.bytes(request.method == "HEAD")).unwrap_or_default();
        match fault {
            Fault::None => {}
            Fault::Instead(other) | Fault::ServedBut(other) => bytes = other.bytes(false),
            Fault::Reset | Fault::ServedReset => return End::Reset,
            Fault::ServedCut => {
                // It is about to be cut anyway.
                let _ = to.write_all(&bytes[..bytes.len() / 2]);
                return End::Close;
            }
            Fault::Held(hold) => hold.wait(),
            Fault::Endless => {
                // The client ends it.
                let _ = answer::write_endlessly(&mut to);
                return End::Close;
            }
        }
        if to.write_all(&bytes).is_err() {
            return End::Close;
        }
    }
    End::Close
}

fn answer(instance: &Mutex<Instance>, request: &Request) -> Answer {
    let served = lock(instance).serve(request);
    match served {
        Served::Answered(answer) => answer,
        Served::ByGit(backend) => backend.answer(request),
    }
}
