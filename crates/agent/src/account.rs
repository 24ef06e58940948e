//! What is told of a job once it is over: to metrics and to the audit log.

use crate::metrics::Counts;
use runtimes::Usage;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::additions::EndDetail;

/// The reason of a job whose end nobody told, because another executor has it now.
pub(crate) const DROPPED: &str = "dropped";
/// The reason of a job whose end is not known here.
const UNKNOWN: &str = "unknown";

/// How a job went. Plain data: whoever runs a job elsewhere can send it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Account {
    /// Why it ended, with the evidence.
    pub(crate) end: Option<Box<EndDetail>>,
    /// Steps that ran to an end of their own.
    pub(crate) steps: u64,
    /// CPU time of all steps, in milliseconds, as far as it could be read.
    pub(crate) cpu_ms: u64,
    /// The most memory of any step, in bytes, as far as it could be read.
    pub(crate) peak_memory: u64,
    /// What the process counted that ran it, if it was another one.
    pub(crate) counts: Box<Counts>,
}

impl Account {
    /// The name of the reason.
    pub(crate) fn reason(&self) -> &str {
        self.end.as_ref().map_or(UNKNOWN, |end| end.reason.as_str())
    }
}

/// An account while it is made. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Account>>);

impl Ledger {
    /// A step ended, and used this.
    pub(crate) fn step_ran(&self, usage: &Usage) {
        let mut account = self.lock();
        account.steps += 1;
        account.cpu_ms += usage.cpu.unwrap_or_default().as_millis() as u64;
        account.peak_memory = account.peak_memory.max(usage.peak_memory.unwrap_or_default());
    }

    /// The job is over, for this reason.
    pub(crate) fn ended(&self, end: EndDetail) {
        self.lock().end = Some(Box::new(end));
    }

    /// The job is over, and its end is not ours to tell.
    pub(crate) fn dropped(&self) {
        let reason = DROPPED.to_owned();
        self.ended(EndDetail { reason, ..EndDetail::default() });
    }

    /// What somebody else wrote down of the job.
    pub(crate) fn take_over(&self, account: Account) {
        *self.lock() = account;
    }

    /// All of it.
    pub(crate) fn account(&self) -> Account {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        // Each entry is whole by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn steps_add_up_and_the_end_has_a_name() {
        let ledger = Ledger::default();
        assert_eq!(ledger.account().reason(), "unknown");
        let usage = |cpu, peak_memory| Usage { cpu, peak_memory, ..Usage::default() };
        ledger.step_ran(&usage(Some(Duration::from_millis(1_500)), Some(10)));
        ledger.step_ran(&usage(None, Some(30)));
        ledger.step_ran(&usage(Some(Duration::from_millis(1)), None));
        ledger.dropped();
        let account = ledger.account();
        assert_eq!((account.steps, account.cpu_ms, account.peak_memory), (3, 1_501, 30));
        assert_eq!(account.reason(), "dropped");
        let sent = serde_json::to_string(&account).unwrap();
        assert_eq!(serde_json::from_str::<Account>(&sent).unwrap(), account);
        assert_eq!(serde_json::from_str::<Account>("{\"later\":1}").unwrap(), Account::default());
    }
}
