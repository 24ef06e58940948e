//! The contract, part by part.

pub(crate) mod basics;
pub(crate) mod exits;
