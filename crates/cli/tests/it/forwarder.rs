//! A proxy in front of a control plane, which a test can kill: connections to it are refused then.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// What becomes of the answers to dequeues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    Arrive,
    /// They are taken from the control plane, and go nowhere.
    AreSwallowed,
    /// The same, and the connection is cut.
    AreCut,
}

/// Passes connections on. Dropping it closes its port and every connection.
pub(crate) struct Forwarder {
    address: SocketAddr,
    /// And how many answers came to nothing so far.
    answers: Arc<Mutex<(Answers, usize)>>,
    closing: Arc<AtomicBool>,
    connections: Connections,
    heartbeats: Heartbeats,
    accepting: Option<JoinHandle<()>>,
}

/// Both sides of each connection, by its number.
type Connections = Arc<Mutex<BTreeMap<usize, [TcpStream; 2]>>>;

/// When each heartbeat came by.
type Heartbeats = Arc<Mutex<Vec<Instant>>>;

impl Forwarder {
    /// Forwards to `url`, which has a host and a port.
    pub(crate) fn to(url: &str) -> Self {
        let target: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (closing, connections) = (Arc::new(AtomicBool::new(false)), Connections::default());
        let (ends, all) = (Arc::clone(&closing), Arc::clone(&connections));
        let answers = Arc::new(Mutex::new((Answers::Arrive, 0)));
        let what = Arc::clone(&answers);
        let heartbeats = Heartbeats::default();
        let heard = Arc::clone(&heartbeats);
        let accepting = std::thread::spawn(move || {
            for (number, near) in listener.incoming().enumerate() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(near) = near else { continue };
                let Ok(far) = TcpStream::connect(target) else { continue };
                forward(&all, number, [near, far], &what, &heard);
            }
        });
        Self { address, answers, closing, connections, heartbeats, accepting: Some(accepting) }
    }

    /// What becomes of the answers to dequeues from now on.
    pub(crate) fn let_answers(&self, what: Answers) {
        self.answers.lock().unwrap().0 = what;
    }

    /// How many of them came to nothing.
    pub(crate) fn lost(&self) -> usize {
        self.answers.lock().unwrap().1
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// When heartbeats came by, the oldest first.
    pub(crate) fn heartbeats(&self) -> Vec<Instant> {
        self.heartbeats.lock().unwrap().clone()
    }
}

/// Copies both ways until one side has had enough.
fn forward(
    all: &Connections,
    number: usize,
    [near, far]: [TcpStream; 2],
    answers: &Arc<Mutex<(Answers, usize)>>,
    heartbeats: &Heartbeats,
) {
    let copy = |stream: &TcpStream| stream.try_clone().unwrap();
    all.lock().unwrap().insert(number, [copy(&near), copy(&far)]);
    // Whether it was a dequeue that was sent last.
    let dequeues = Arc::new(AtomicBool::new(false));
    for (mut from, mut to, answering) in [(copy(&near), copy(&far), false), (far, near, true)] {
        let (all, answers, dequeues) = (Arc::clone(all), Arc::clone(answers), Arc::clone(&dequeues));
        let heartbeats = Arc::clone(heartbeats);
        std::thread::spawn(move || {
            let mut piece = vec![0; 64 << 10];
            while let Ok(length @ 1..) = from.read(&mut piece) {
                let bytes = &piece[..length];
                let mut what = Answers::Arrive;
                if answering && dequeues.load(Ordering::SeqCst) {
                    let mut answers = answers.lock().unwrap();
                    what = answers.0;
                    answers.1 += usize::from(what != Answers::Arrive);
                }
                if !answering && bytes.starts_with(b"POST ") {
                    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
                    dequeues.store(line.ends_with(b"/dequeue HTTP/1.1"), Ordering::SeqCst);
                    // They have connections of their own, so one always begins a piece.
                    if line.ends_with(b"/heartbeat HTTP/1.1") {
                        heartbeats.lock().unwrap().push(Instant::now());
                    }
                }
                match what {
                    Answers::Arrive if to.write_all(bytes).is_ok() => {}
                    Answers::AreSwallowed => {}
                    _ => break,
                }
            }
            end(all.lock().unwrap().remove(&number));
        });
    }
}

fn end(connection: Option<[TcpStream; 2]>) {
    for stream in connection.into_iter().flatten() {
        // Its peer may have closed it already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // The thread wakes for one more connection, and leaves.
        let woken = TcpStream::connect(self.address);
        if let (Ok(_), Some(thread)) = (woken, self.accepting.take()) {
            let _ = thread.join();
        }
        for connection in std::mem::take(&mut *self.connections.lock().unwrap()).into_values() {
            end(Some(connection));
        }
    }
}
