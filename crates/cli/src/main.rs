//! The `executor` binary.
fn main() {}
