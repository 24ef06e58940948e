//! How long what was counted is believed.

use std::time::Duration;

/// At least.
pub(super) const SHORTEST: Duration = Duration::from_secs(5);
/// As a multiple of how long the count took: where rows that are gone can't be cleared away, because somebody holds an old
/// transaction open, it walks over all of them, and that is not to be what the database does all day.
const FOR_COUNTS: u32 = 200;
/// At most.
pub(super) const LONGEST: Duration = Duration::from_mins(5);

/// How long a count is believed that took so long.
pub(super) fn of_count(took: Duration) -> Duration {
    took.saturating_mul(FOR_COUNTS).clamp(SHORTEST, LONGEST)
}
