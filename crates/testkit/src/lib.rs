//! What tests share: a clock that can be set, image archives, a disk that can be filled, a private authority,
//! loud skips.
//!
//! Invariant: a development dependency only.

mod clock;
mod disk;
pub mod image;
mod skip;
pub mod tls;

pub use clock::MockClock;
pub use disk::SmallDisk;
pub use skip::{have_root, missing_part};
