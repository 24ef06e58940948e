//! What happened, a line each. The same seed gives the same lines, byte for byte.

use std::fmt::Display;
use std::time::Duration;

/// The lines of a schedule so far.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    pub(crate) lines: Vec<String>,
    now: Duration,
}

impl Timeline {
    /// What is told from now on happens then.
    pub(crate) const fn at(&mut self, now: Duration) {
        self.now = now;
    }

    /// Tells what somebody did, or what befell them.
    pub(crate) fn tell(&mut self, who: impl Display, what: impl Display) {
        let seconds = self.now.as_secs();
        let micros = self.now.subsec_micros();
        self.lines.push(format!("{seconds:>5}.{micros:06} {who:<9} {what}"));
    }
}
