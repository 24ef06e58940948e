//! The executor itself.
