//! What tests share: a clock that can be set, image archives, loud skips.
//!
//! Invariant: a development dependency only.

mod clock;
pub mod image;
mod skip;

pub use clock::MockClock;
pub use skip::{have_root, missing_part};
