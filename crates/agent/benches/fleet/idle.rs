//! A runtime for executors that are given no jobs.

use async_trait::async_trait;
use runtimes::{Finding, Isolation, Reaped, Runtime, RuntimeError, Sandbox, SandboxSpec};
use std::path::PathBuf;

pub(crate) struct IdleRuntime;

#[async_trait]
impl Runtime for IdleRuntime {
    fn name(&self) -> &'static str {
        "idle"
    }

    fn isolation(&self) -> Isolation {
        Isolation::None
    }

    async fn preflight(&self) -> Vec<Finding> {
        Vec::new()
    }

    async fn fills(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    async fn open(&self, _spec: SandboxSpec) -> Result<Box<dyn Sandbox>, RuntimeError> {
        Err(RuntimeError::Host("no job is to be run here".to_owned()))
    }

    async fn reap(&self) -> Result<Reaped, RuntimeError> {
        Ok(Reaped::default())
    }
}
