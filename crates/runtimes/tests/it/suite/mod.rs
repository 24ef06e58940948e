//! The contract, part by part.

pub(crate) mod basics;
pub(crate) mod death;
pub(crate) mod ends;
pub(crate) mod exits;
pub(crate) mod launch;
pub(crate) mod limits;
pub(crate) mod mounts;
pub(crate) mod output;
pub(crate) mod room;
pub(crate) mod security;
pub(crate) mod shared;
pub(crate) mod users;
