//! The queue and its leases under simulated faults.
//!
//! One thread, virtual time, and a seed: everything that happens in a *schedule* follows from it. Clients submit and cancel
//! jobs, operators pause queues, executors ask for jobs and run them, the server dies and comes back, the network loses,
//! delays and repeats what they say, clocks go wrong. What decides is the real thing: the store on SQLite, the rules of
//! leases on both sides ([`jobs::tenure`], [`jobs::attention`], [`jobs::claims`]), the life of a job ([`jobs::state`]).
//! What is left out is what carries it: HTTP, processes, sandboxes.
//!
//! After every event the [`invariant`]s are checked. A schedule that breaks one is told with its seed, which repeats it
//! byte for byte; [`Flaw`] plants mistakes to see that they are found.

mod agenda;
mod checks;
mod client;
mod clock;
mod event;
mod faults;
mod flaw;
mod ground;
mod host;
pub mod invariant;
mod network;
mod place;
mod plan;
mod processor;
mod rng;
mod serving;
mod timeline;
mod world;

pub use faults::{Fault, Faults};
pub use flaw::Flaw;

use ground::Ground;
use invariant::Broken;
use place::Place;
use plan::Plan;
use rng::Rng;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::SqlStore;
use world::World;

/// What a schedule is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// How many executors there are; at least 1.
    pub executors: usize,
    /// How many jobs are submitted; at most 200.
    pub jobs: usize,
    /// What may go wrong.
    pub faults: Faults,
    /// A mistake to plant.
    pub flaw: Option<Flaw>,
}

impl Options {
    /// A few executors and jobs, with everything that can go wrong: enough for them to get into each other's way.
    pub fn new(seed: u64) -> Self {
        Self { seed, executors: 3, jobs: 8, faults: Faults::default(), flaw: None }
    }
}

/// What came of a schedule.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// How many events there were.
    pub events: u64,
    /// How long it lasted, in virtual time.
    pub lasted: Duration,
    /// What happened, a line each.
    pub timeline: Vec<String>,
    /// The rule that did not hold, if there was one.
    pub broken: Option<Broken>,
}

/// The simulator itself could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// There is no room for schedules.
    #[error("no directory for the databases of schedules in {place}")]
    Place {
        /// Where it was tried.
        place: String,
        /// How that failed.
        #[source]
        source: std::io::Error,
    },
    /// There is no runtime.
    #[error("no runtime for the store")]
    Runtime(#[source] std::io::Error),
    /// The first database could not be made.
    #[error("no empty database: {0}")]
    Template(String),
}

/// Runs schedules, one at a time.
pub struct Simulator {
    runtime: tokio::runtime::Runtime,
    place: Place,
}

impl Simulator {
    /// One whose databases are in memory where there is a file system for that, so that no disk is waited for: what is
    /// tried survives the death of processes, not the loss of power. What simulators left that were killed is removed. The
    /// calling thread stays on one processor from then on.
    pub fn new() -> Result<Self, SimError> {
        processor::stay();
        let shm = Path::new("/dev/shm");
        let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let place = Place::make(&parent)
            .map_err(|source| SimError::Place { place: parent.display().to_string(), source })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let simulator = Self { runtime: runtime.map_err(SimError::Runtime)?, place };
        simulator.make_template()?;
        Ok(simulator)
    }

    /// An empty database, so that not every schedule has to make the schema.
    fn make_template(&self) -> Result<(), SimError> {
        let options = ground::options(self.template(), Arc::new(clock::SimClock::default()))
            .map_err(|broken| SimError::Template(broken.detail))?;
        let made = self.runtime.block_on(async { SqlStore::open(options).await?.close().await });
        made.map_err(|fault| SimError::Template(format!("{fault}: {fault:?}")))
    }

    fn template(&self) -> PathBuf {
        self.place.path().join("template")
    }

    /// Runs the schedule of a seed.
    pub fn run(&self, options: &Options) -> Outcome {
        self.runtime.block_on(async {
            let mut world = match self.world(options).await {
                Ok(world) => world,
                Err(broken) => return Outcome { broken: Some(broken), ..Outcome::none(options.seed) },
            };
            let ran = world.run().await;
            world.ground.close().await;
            if let Err(broken) = &ran {
                world.tell("BROKEN", format_args!("{}: {}", broken.invariant.name, broken.detail));
            }
            Outcome {
                seed: options.seed,
                events: world.events,
                lasted: world.now,
                timeline: world.timeline.lines,
                broken: ran.err(),
            }
        })
    }

    /// Everybody in the schedule of a seed, before anything happens.
    async fn world(&self, options: &Options) -> Result<World, Broken> {
        let mut rng = Rng::new(options.seed);
        let executors = options.executors.max(1);
        let plan = Plan::draw(&mut rng, &options.faults, executors, options.jobs);
        let ground = Ground::open(self.place.path(), &self.template(), plan.lease, options.flaw).await?;
        Ok(World::new(rng, plan, ground, executors, options.flaw))
    }
}

impl Outcome {
    const fn none(seed: u64) -> Self {
        Self { seed, events: 0, lasted: Duration::ZERO, timeline: Vec::new(), broken: None }
    }
}
