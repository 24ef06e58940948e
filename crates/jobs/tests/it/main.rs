//! Properties of the state machine.

mod life;
mod specs;
