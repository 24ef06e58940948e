//! Properties of the state machine.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod life;
mod specs;
