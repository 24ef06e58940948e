//! Image references such as `debian:12` or `registry.example:5000/team/tool@sha256:…`.
/// A normalised image reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {}
