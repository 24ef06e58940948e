//! The image store against real archives, registries and attacks.

mod attacks;
mod fake;
mod garbage;
mod helpers;
mod import;
mod mirrors;
mod names;
mod overlay;
mod private;
mod pull;
mod real;
mod registry;
mod support;
mod tokens;
mod unused;
