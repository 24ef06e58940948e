//! Which of several servers tells a cloud: the same sizes told by each would be so many times the calls, and the bill.

use super::Scaling;
use crate::app::App;
use std::error::Error;
use std::time::Duration;

/// A server that says nothing for so long is succeeded by another one: three rounds at the documented pace.
const TERM: Duration = Duration::from_secs(15);
/// Rounds of a slower pace that it lasts for.
const ROUNDS: u32 = 3;

/// Telling one cloud, which one server at a time does.
pub(super) struct Duty {
    app: App,
    name: String,
    holder: String,
    term: Duration,
    is_ours: bool,
}

impl Duty {
    /// `holder`: what no other server is called. Servers that are told apart by their environment each tell of it.
    pub(super) fn new(app: &App, target: &str, scaling: &Scaling, holder: &str) -> Self {
        Self {
            app: app.clone(),
            name: format!("scaling {target} {}", scaling.environment),
            holder: holder.to_owned(),
            term: TERM.max(scaling.every * ROUNDS),
            is_ours: false,
        }
    }

    /// Whether this server has it for now. Ask before each round.
    pub(super) async fn is_ours(&mut self) -> bool {
        let held = self.app.store.hold_duty(&self.name, &self.holder, self.term).await;
        let ours = held.unwrap_or_else(|fault| {
            let error = &fault as &dyn Error;
            tracing::error!(error, duty = self.name, "can't find out which server tells queue sizes");
            false
        });
        if ours != std::mem::replace(&mut self.is_ours, ours) {
            let by = if ours { "this server" } else { "another server" };
            tracing::info!(duty = self.name, by, "queue sizes are told");
        }
        ours
    }

    /// Leaves it to the others at once. Where there are none, it is ours again when it is asked for.
    pub(super) async fn give_up(&self) {
        if self.is_ours
            && let Err(fault) = self.app.store.give_up_duty(&self.name, &self.holder).await
        {
            let error = &fault as &dyn Error;
            tracing::warn!(
                error,
                duty = self.name,
                "could not leave it to other servers: they wait for its end"
            );
        }
    }
}
