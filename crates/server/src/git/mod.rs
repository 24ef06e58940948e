//! Git: mirrors of the repositories that jobs use, and serving them to executors.

mod command;
mod fault;
mod inflight;
mod mirror;
mod ready;
mod repositories;
mod size;
mod socks;
mod source;
pub(crate) mod upload_pack;
mod way;

pub(crate) use command::check_installed;
pub(crate) use fault::GitFault;
pub(crate) use repositories::Repositories;
pub(crate) use source::Source;
