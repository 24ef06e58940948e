//! Ending git together with the helpers it started.

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// The process group of a running git. Dropped before git has ended, it ends all of the group.
pub(super) struct Group(Option<Pid>);

impl Group {
    /// The group of a child that was started with a group of its own.
    pub(super) fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(id.cast_signed())))
    }

    /// Git has ended and was waited for, so its number may soon be somebody else's.
    pub(super) fn has_ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.take() {
            // It fails only when the group is gone already.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
