//! Jobs as tasks of the agent's own process: they end with it.

use super::JobHost;
use crate::job::{self, Assigned, Surroundings};
use async_trait::async_trait;

/// Runs jobs beside everything else that the agent does.
pub(crate) struct InProcess {
    around: Surroundings,
}

impl InProcess {
    pub(crate) fn new(around: Surroundings) -> Self {
        Self { around }
    }
}

#[async_trait]
impl JobHost for InProcess {
    async fn warm(&self) {
        self.around.runtime.warm().await;
    }

    async fn run(&self, assigned: Assigned) -> bool {
        job::run(self.around.clone(), assigned).await
    }
}
