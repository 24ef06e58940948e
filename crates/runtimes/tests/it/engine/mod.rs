//! The runtime of container engines, besides what every runtime must do.

mod bench;
mod death;
mod disk;
mod door;
mod operator;
mod outage;
mod output;
mod overhead;
mod plain_user;
mod preflight;
mod private;
mod pull;
mod sight;

pub(crate) use bench::run;
