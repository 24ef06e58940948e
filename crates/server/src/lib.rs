//! The control plane: the executor API, our public API, git.

pub mod api;
