//! What may be shown of settings: nothing that is secret, or may be.

use super::{AgentSettings, Connection};
use std::fmt;

impl fmt::Debug for AgentSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("AgentSettings");
        shown.field("runtime", &self.runtime).field("conflicts", &self.conflicts);
        shown.field("watching", &self.watching).field("max_jobs", &self.max_jobs);
        shown.field("docker_config", &self.docker_config).finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    /// A query of the URL may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str();
        f.debug_struct("Connection")
            .field("host", &host)
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}
