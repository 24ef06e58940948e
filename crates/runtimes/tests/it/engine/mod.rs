//! The runtime of container engines, besides what every runtime must do.

mod bench;

pub(crate) use bench::run;
