//! One module per command.

pub(crate) mod agent;
pub(crate) mod doctor;
mod engine;
pub(crate) mod image;
pub(crate) mod images_kept;
pub(crate) mod install;
pub(crate) mod job;
pub(crate) mod print;
pub(crate) mod queue;
pub(crate) mod repo;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod supervise;
pub(crate) mod up;
pub(crate) mod validate;
