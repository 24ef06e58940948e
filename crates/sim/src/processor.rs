//! One processor for all threads of a simulator.

use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

/// Keeps this thread on the processor where it is, and with it every thread that it starts: those of the database. They
/// take turns, two for each statement, and to wake one another across processors costs a third more in all.
pub(crate) fn stay() {
    let mut here = CpuSet::new();
    here.set(sched_getcpu());
    // It is only quicker.
    let _ = sched_setaffinity(None, &here);
}
