//! The bytes on the wire, pinned by golden files and read and written in both directions.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod golden;
mod names;
mod shapes;
