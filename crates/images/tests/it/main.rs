//! The image store against real archives, registries and attacks.

mod attacks;
mod fake;
mod garbage;
mod import;
mod overlay;
mod pull;
mod registry;
mod support;
