//! A proxy in front of a control plane, which a test can kill: connections to it are refused then.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Passes connections on. Dropping it closes its port and every connection.
pub(crate) struct Forwarder {
    address: SocketAddr,
    closing: Arc<AtomicBool>,
    connections: Connections,
    accepting: Option<JoinHandle<()>>,
}

/// Both sides of each connection, by its number.
type Connections = Arc<Mutex<BTreeMap<usize, [TcpStream; 2]>>>;

impl Forwarder {
    /// Forwards to `url`, which has a host and a port.
    pub(crate) fn to(url: &str) -> Self {
        let target: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (closing, connections) = (Arc::new(AtomicBool::new(false)), Connections::default());
        let (ends, all) = (Arc::clone(&closing), Arc::clone(&connections));
        let accepting = std::thread::spawn(move || {
            for (number, near) in listener.incoming().enumerate() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(near) = near else { continue };
                let Ok(far) = TcpStream::connect(target) else { continue };
                forward(&all, number, [near, far]);
            }
        });
        Self { address, closing, connections, accepting: Some(accepting) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Copies both ways until one side has had enough.
fn forward(all: &Connections, number: usize, [near, far]: [TcpStream; 2]) {
    let copy = |stream: &TcpStream| stream.try_clone().unwrap();
    all.lock().unwrap().insert(number, [copy(&near), copy(&far)]);
    for (mut from, mut to) in [(copy(&near), copy(&far)), (far, near)] {
        let all = Arc::clone(all);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
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
