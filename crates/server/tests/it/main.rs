//! The server over real HTTP, on a real store in a temporary directory, with the real git.
#![expect(clippy::unwrap_used, reason = "a helper of a test may panic like the test itself")]

mod access;
mod artifacts;
mod attacks;
mod auth;
mod claims;
mod connections;
mod dequeue;
mod documented;
mod fetch;
mod files;
mod harness;
mod heartbeat;
mod identities;
mod jobs_api;
mod lifecycle;
mod logs;
mod long_poll;
mod marks;
mod metrics;
mod openapi;
mod pages;
mod queueing;
mod repositories_api;
mod retention;
mod scaling;
mod secrecy;
mod secrets_api;
mod source;
mod stream;
mod tls;
mod tokens;
mod undelivered;
mod uploads;
mod users;
mod whole_jobs;
