//! What the tests here share.

mod control_plane;
mod harness;
pub(crate) mod repository;
mod runtime;

pub(crate) use control_plane::{Call, ControlPlane, Entry, Plan, STRANGE};
pub(crate) use harness::{Harness, job, step};
pub(crate) use runtime::{Act, FakeRuntime};
pub(crate) use testkit::Told;

use std::time::{Duration, Instant};

/// How long a test waits for something that has to happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Waits until `look` sees what it looks for.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < LIMIT, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
