//! The server over real HTTP, on a real store in a temporary directory, with the real git.
#![expect(clippy::unwrap_used, reason = "a helper of a test may panic like the test itself")]

mod attacks;
mod auth;
mod claims;
mod connections;
mod dequeue;
mod fetch;
mod files;
mod harness;
mod heartbeat;
mod jobs_api;
mod lifecycle;
mod logs;
mod long_poll;
mod marks;
mod queueing;
mod repositories_api;
mod retention;
mod secrecy;
mod source;
mod stream;
mod undelivered;
