//! The port: a thread for each connection, and a way to close all of them at once, as a crash does.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a port may be in use by what was closed.
const PORT_LIMIT: Duration = Duration::from_secs(10);

/// Serves one connection.
pub(super) type Serve = Arc<dyn Fn(Connection) + Send + Sync>;

/// An open port. Dropping it closes the port and every connection.
pub(super) struct Front {
    pub(super) address: SocketAddr,
    closing: Arc<AtomicBool>,
    connections: Connections,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Clone, Default)]
struct Connections(Arc<Mutex<BTreeMap<usize, Arc<TcpStream>>>>);

impl Connections {
    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<usize, Arc<TcpStream>>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One connection, while its thread serves it.
pub(super) struct Connection {
    pub(super) stream: Arc<TcpStream>,
    number: usize,
    among: Connections,
}

impl Connection {
    /// Resets the connection: what the client has not read yet is lost.
    pub(super) fn reset(self) {
        // It fails only where the client has reset it already.
        let _ = rustix::net::sockopt::set_socket_linger(&*self.stream, Some(Duration::ZERO));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.among.change(|all| all.remove(&self.number));
    }
}

impl Front {
    /// Listens at `address`; port 0 is any.
    pub(super) fn open(address: SocketAddr, serve: Serve) -> Self {
        let listener = listen(address);
        let address = listener.local_addr().expect("it has an address");
        let (closing, connections) = (Arc::new(AtomicBool::new(false)), Connections::default());
        let (ends, all) = (Arc::clone(&closing), connections.clone());
        let accepting = std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream.map(Arc::new) else { continue };
                // An answer in two writes must not wait for the client to acknowledge the first.
                let _ = stream.set_nodelay(true);
                all.change(|all| all.insert(number, Arc::clone(&stream)));
                let (serve, among) = (Arc::clone(&serve), all.clone());
                std::thread::spawn(move || serve(Connection { stream, number, among }));
            }
        });
        Self { address, closing, connections, accepting: Some(accepting) }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // The thread wakes for one more connection, and leaves.
        let woken = TcpStream::connect(self.address);
        if let (Ok(_), Some(thread)) = (woken, self.accepting.take()) {
            let _ = thread.join();
        }
        self.connections.change(|all| {
            for stream in std::mem::take(all).into_values() {
                // The client may have closed it already.
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }
}

/// The port may still be in use for a moment by connections that are being closed.
fn listen(address: SocketAddr) -> TcpListener {
    let began = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(fault) => assert!(began.elapsed() < PORT_LIMIT, "port {}: {fault}", address.port()),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
