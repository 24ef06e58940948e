//! What must hold, whatever happens.

use store::StoreError;

/// A rule, with its name and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invariant {
    /// Stable.
    pub name: &'static str,
    /// For people.
    pub says: &'static str,
}

macro_rules! invariants {
    ($($constant:ident = $name:literal, $says:literal;)*) => {
        $(pub(crate) const $constant: Invariant = Invariant { name: $name, says: $says };)*
        /// All of them.
        pub const ALL: &[Invariant] = &[$($constant),*];
    };
}

invariants! {
    SUBMITTED_ONCE = "submitted-once", "an acknowledged submission is there, and its job is there once";
    DURABLE = "durable", "what was committed is there after the death of the server";
    ONE_HOLDER = "one-holder", "no two executors run a job while each believes in its lease, nor is one taken from who does";
    CURRENT_EPOCH = "current-epoch", "only the holder of the current epoch changes a job, and as the rules of its life say";
    END_STAYS = "end-stays", "a job that ended stays as it is";
    CANCELED = "canceled", "a job whose cancel was acknowledged is not given out again";
    BUDGETS = "budgets", "resets, faults and failures stay within their budgets, and each is charged to its own";
    LIMITS = "limits", "no more jobs of a queue, or with a key, run than may";
    CLOSED = "closed", "a paused queue gives out nothing, and an executor in maintenance gets nothing";
    ORDER = "order", "who asks gets the job that is next of those it can run, and one if there is one";
    LOGS = "logs", "the log of a try that ended is what its executor wrote: every byte, once";
    COUNTS = "counts", "what a queue says it holds is what it holds";
    ENDS = "ends-or-waits", "once nothing goes wrong any more every job ends, or waits for what an explanation names";
    WORKS = "works", "the store does what is asked";
}

/// A rule that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// What was seen.
    pub detail: String,
}

/// The result of a step of a schedule.
pub(crate) type Step<T = ()> = Result<T, Broken>;

impl Invariant {
    /// Breaks unless `holds`.
    pub(crate) fn check(self, holds: bool, detail: impl FnOnce() -> String) -> Step {
        if holds { Ok(()) } else { Err(self.broken(detail())) }
    }

    pub(crate) const fn broken(self, detail: String) -> Broken {
        Broken { invariant: self, detail }
    }
}

impl From<StoreError> for Broken {
    fn from(fault: StoreError) -> Self {
        WORKS.broken(format!("{fault}: {fault:?}"))
    }
}
