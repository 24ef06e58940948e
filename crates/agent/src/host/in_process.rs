//! Jobs as tasks of the agent's own process: they end with it.

use super::{JobHost, Ran};
use crate::job::{self, Assigned, Surroundings};
use crate::watched;
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

    async fn run(&self, assigned: Assigned) -> Ran {
        watched::write_begin(self.around.api.config(), &assigned);
        Ran { completed: job::run(self.around.clone(), assigned).await, written: false }
    }
}
