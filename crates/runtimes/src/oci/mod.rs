//! The daemonless container runtime.
