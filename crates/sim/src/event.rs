//! What can happen, and what is said over the network.

use jobs::claims::{Start, Void, Word};
use jobs::{Capacity, JobId, Lease};
use std::time::Duration;
use store::{Finish, NewJob, QueueRules};

/// Who speaks with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    /// Whoever submits and cancels jobs.
    Client,
    /// Whoever looks after the queues.
    Operator,
    /// An executor, by its index.
    Host(usize),
}

/// A request on its way.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    /// The call that it is of; a request that arrives twice is of one call.
    pub(crate) call: u64,
    pub(crate) from: Party,
    pub(crate) request: Request,
    /// Which start of the server it waits for, where that stood still when it came: it is lost with that.
    pub(crate) waits_for: Option<u32>,
}

/// A dequeue.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) executor: String,
    pub(crate) start: Start,
    pub(crate) number: u64,
    pub(crate) capacity: Capacity,
    pub(crate) queues: Vec<String>,
}

/// What is asked of the server.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Submit { submission: usize, job: Box<NewJob> },
    Cancel(JobId),
    Rules { queue: String, rules: QueueRules },
    Maintenance { executor: String, away: bool },
    Dequeue(Asked),
    Heartbeat { executor: String, capacity: Capacity, ids: Vec<JobId>, word: Word },
    AddEntry { job: JobId, lease: Lease, token: String, started: Duration },
    Append { job: JobId, lease: Lease, token: String, entry: i64, offset: u64, text: String },
    Finish { job: JobId, lease: Lease, token: String, run: u64, finish: Finish },
}

/// A job as an executor gets it.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) job: JobId,
    pub(crate) lease: Lease,
    pub(crate) token: String,
    /// For how long the request was held.
    pub(crate) held: Duration,
}

/// What the server says.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Submitted(JobId),
    Done,
    Job {
        given: Given,
        term: Duration,
    },
    Nothing,
    Heard {
        known: Vec<JobId>,
        cancel: Vec<JobId>,
        term: Duration,
    },
    Entry(i64),
    Length(u64),
    Gap(u64),
    /// The job is not the caller's, or there is none.
    NotYours,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    Refused,
    TimedOut,
}

/// What somebody waits for who made a call.
#[derive(Debug, Clone)]
pub(crate) enum Context {
    Submission(usize),
    Cancel(JobId),
    Order(Request),
    Dequeue { host: usize, start: u64, number: u64, sent: Duration },
    Heartbeat { host: usize, start: u64, sent: Duration, runs: Vec<u64> },
    Run { host: usize, run: u64 },
}

/// What happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request arrives at the server.
    Arrives(Box<Packet>),
    /// An answer arrives at who asked.
    Returns {
        call: u64,
        answer: Result<Answer, NoAnswer>,
    },
    Server(ServerEvent),
    Host(usize, HostEvent),
    Client(ClientEvent),
    Misfortune(Misfortune),
    /// Nothing goes wrong any more.
    Heals,
    /// Somebody looks whether all is done.
    Looks,
}

/// Of the server's own; those of an earlier start of it come to nothing.
#[derive(Debug)]
pub(crate) enum ServerEvent {
    Starts,
    Moves,
    Scan {
        start: u32,
        planned: Duration,
    },
    Due {
        start: u32,
    },
    Tidies {
        start: u32,
    },
    /// A dequeue that waits is looked at again.
    LookAgain {
        start: u32,
        waiting: u64,
    },
    /// The answer of a claim did not leave.
    Undelivered {
        start: u32,
        job: JobId,
        lease: Lease,
    },
    /// A claim came to nothing, as a heartbeat says.
    TakeBack {
        start: u32,
        void: Void,
    },
}

/// Of an executor's.
#[derive(Debug)]
pub(crate) enum HostEvent {
    AgentStarts {
        boot: u32,
    },
    Settles {
        start: u64,
    },
    /// A pause between heartbeats is over; one that was replaced by another comes to nothing.
    Beats {
        start: u64,
        pause: u64,
    },
    Asks {
        start: u64,
    },
    /// The agent hands the job to a process of its own, which begins it.
    Begins {
        run: u64,
    },
    /// The job writes a line, or ends.
    Goes {
        run: u64,
    },
    /// The lease may be over.
    LeaseOver {
        run: u64,
    },
    /// The next call about the job is due.
    Calls {
        run: u64,
    },
    /// What was told to end has ended.
    Ended {
        run: u64,
    },
    Moves,
}

/// Of those who submit jobs.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    Submits(usize),
    Cancels(JobId),
    Orders(Request),
}

/// What goes wrong.
#[derive(Debug)]
pub(crate) enum Misfortune {
    Partition(Party, Duration),
    AgentDies(usize),
    AgentStops(usize),
    SupervisorDies(usize),
    HostDies(usize),
    HostFreezes(usize, Duration),
    ServerDies(Doom, Duration),
    ServerStandsStill(Duration),
    /// The database's clock is set, by so many microseconds.
    ClockSet(i64),
    /// The server is started again with leases of this length.
    LeaseChanges(Duration, Duration),
}

/// When the server dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doom {
    Now,
    /// With the next request, before anything of it is committed.
    BeforeCommit,
    /// With the next request, when all of it is committed and nothing answered.
    AfterCommit,
}
