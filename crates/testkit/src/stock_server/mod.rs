//! A stock instance as its documentation describes it, scripted: it hands out the jobs it was given, serves
//! every call of the executor protocol, and lets go wrong what a test wants to go wrong.
//!
//! It stands on bare sockets, so that it sees requests byte for byte and can lose answers, cut connections and
//! go away. It knows none of this project's additions to the protocol, and objects to whatever a stock instance
//! would not understand.

mod answer;
mod auth;
mod front;
mod git;
mod instance;
mod job_calls;
mod payload;
mod queue_calls;
mod request;
mod shapes;
mod talk;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Fault, Hold};
pub use instance::{Entry, RECOMMENDED_SRC, Record, State};
pub use payload::StockJob;
pub use request::Request;

use front::Front;
use instance::Instance;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The keys of the log entries that come before those of the steps, of a job with a clone that goes well.
pub const CLONED: [&str; 7] = [
    "setup.git.init",
    "setup.git.add-remote",
    "setup.git.disable-gc",
    "setup.git.fetch",
    "setup.git.checkout",
    "setup.git.set-remote",
    "setup.fs.extras",
];

/// A running stock instance. It ends when it is dropped.
pub struct StockServer {
    instance: Arc<Mutex<Instance>>,
    address: SocketAddr,
    front: Option<Front>,
    base: String,
}

impl StockServer {
    /// Starts one on loopback that has this shared secret.
    pub fn start(secret: &str) -> Self {
        Self::start_below(secret, "")
    }

    /// The same, below a path such as `/base`.
    pub fn start_below(secret: &str, base: &str) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, secret, base)
    }

    /// The same, on another address of this host.
    pub fn start_at(host: Ipv4Addr, secret: &str, base: &str) -> Self {
        let instance = Arc::new(Mutex::new(Instance::new(secret, base)));
        let mut server =
            Self { instance, address: SocketAddr::from((host, 0)), front: None, base: base.to_owned() };
        server.come_back();
        server
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, self.base)
    }

    /// Closes the port and every connection.
    pub fn go_away(&mut self) {
        self.front = None;
    }

    /// Listens again, on the same port.
    pub fn come_back(&mut self) {
        let instance = Arc::clone(&self.instance);
        let front = Front::open(self.address, Arc::new(move |connection| talk::serve(&instance, connection)));
        self.address = front.address;
        self.front = Some(front);
    }

    /// Hands `job` out to whoever asks next for its queue. One that was handed out before is taken from whoever
    /// has it.
    pub fn give(&self, job: StockJob) {
        self.lock().queued.push_back(job);
    }

    /// Has a file for download, named by bucket and key.
    pub fn keep_file(&self, name: &str, content: &[u8]) {
        self.lock().files.insert(name.to_owned(), content.to_vec());
    }

    /// Serves the repositories below `root`.
    pub fn serve_repositories(&self, root: &Path) {
        self.lock().repositories = Some(root.to_owned());
    }

    /// Lets this go wrong with the next requests of `call` (see [`Request::call`]), one after the other.
    pub fn fault(&self, call: &str, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.entry(call.to_owned()).or_default().extend(faults);
    }

    /// Nothing more goes wrong with `call`.
    pub fn mend(&self, call: &str) {
        self.lock().faults.remove(call);
    }

    /// How many of the faults for `call` are still to come.
    pub fn faults_left(&self, call: &str) -> usize {
        self.lock().faults.get(call).map_or(0, std::collections::VecDeque::len)
    }

    /// Wants a job to end.
    pub fn cancel(&self, queue: &str, id: i64) {
        self.change(queue, id, |record| record.cancel = true);
    }

    /// Gives a job to another executor.
    pub fn give_away(&self, queue: &str, id: i64) {
        self.change(queue, id, |record| {
            "another-executor".clone_into(&mut record.owner);
            record.token = None;
        });
    }

    fn change(&self, queue: &str, id: i64, change: impl FnOnce(&mut Record)) {
        change(self.lock().records.get_mut(&(queue.to_owned(), id)).expect("the job was handed out"));
    }

    /// A job as it stands, if it was handed out.
    pub fn record(&self, queue: &str, id: i64) -> Option<Record> {
        self.lock().records.get(&(queue.to_owned(), id)).cloned()
    }

    /// Everything that came in.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// The requests of one call (see [`Request::call`]).
    pub fn named(&self, call: &str) -> Vec<Request> {
        self.lock().requests.iter().filter(|request| request.call() == call).cloned().collect()
    }

    /// What in the requests so far a stock instance would not have understood.
    pub fn objections(&self) -> Vec<String> {
        self.lock().objections.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Instance> {
        lock(&self.instance)
    }
}

fn lock(instance: &Mutex<Instance>) -> MutexGuard<'_, Instance> {
    // A test that panicked is over; others may still look.
    instance.lock().unwrap_or_else(PoisonError::into_inner)
}
