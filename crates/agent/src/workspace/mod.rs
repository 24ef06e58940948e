//! Fills a job's workspace: the clone, the files, the step scripts; and keeps it where that is
//! wanted. Everything that is written
//! goes through [`Confined`]; everything a repository or a payload names is checked first.

pub(crate) mod command;
mod confined;
mod files;
mod git;
mod keep;
mod paths;
mod proxy;
mod rights;
pub(crate) mod script;
mod serve;

pub(crate) use confined::Confined;
pub(crate) use files::write_all;
pub(crate) use git::clone_repository;
pub(crate) use keep::keep;
pub(crate) use paths::normalize;
pub(crate) use script::{SCRIPTS_DIR, file_name};

/// The workspace as steps see it.
pub(crate) const DATA: &str = "/data";
