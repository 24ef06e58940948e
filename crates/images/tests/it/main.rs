//! The image store against real archives, registries and attacks.

mod attacks;
mod import;
mod support;
