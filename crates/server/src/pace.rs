//! How slowly a body may come: each byte buys time, so that nobody keeps a slot for a trickle.

use std::time::Duration;
use tokio::time::Instant;

/// What a body's sender is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How long nothing may come.
    pub(crate) idle: Duration,
    /// Bytes a second that must have come on average once that time is over.
    pub(crate) rate: u64,
    /// How long all of it may take.
    pub(crate) whole: Duration,
}

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Arrival {
    pace: Pace,
    begun: Instant,
    came: u64,
}

impl Pace {
    /// The body begins to come now.
    pub(crate) fn begin(self) -> Arrival {
        Arrival { pace: self, begun: Instant::now(), came: 0 }
    }
}

impl Arrival {
    /// When the next piece comes too late.
    pub(crate) fn late(&self) -> Instant {
        let Pace { idle, rate, whole } = self.pace;
        let bought = idle.saturating_add(Duration::from_secs(self.came / rate.max(1)));
        (self.begun + whole.min(bought)).min(Instant::now() + idle)
    }

    /// A piece came.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.came += bytes;
    }

    /// Bytes that came.
    pub(crate) fn bytes(&self) -> u64 {
        self.came
    }

    /// The sender was kept waiting so long, which is no fault of its own.
    pub(crate) fn was_kept_waiting(&mut self, so_long: Duration) {
        self.begun += so_long;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { idle: Duration::from_mins(1), rate: 100, whole: Duration::from_mins(10) };

    /// How much longer the next piece may take.
    fn left(arrival: &Arrival) -> u64 {
        arrival.late().saturating_duration_since(Instant::now()).as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_ends_and_what_comes_well_goes_on() {
        let mut trickle = PACE.begin();
        let mut well = PACE.begin();
        for _ in 0..5 {
            tokio::time::advance(Duration::from_secs(12)).await;
            trickle.add(1);
            well.add(2_400);
        }
        assert_eq!((left(&trickle), left(&well)), (0, 60));
        trickle.was_kept_waiting(Duration::from_secs(7));
        assert_eq!(left(&trickle), 7);
        well.add(u64::MAX / 2);
        tokio::time::advance(Duration::from_secs(530)).await;
        assert_eq!(left(&well), 10, "all of it has its time");
    }
}
