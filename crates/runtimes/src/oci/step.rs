//! One step, from what is written down of it to what its end means.

use super::config::Container;
use super::launcher::{Plan, Started};
use super::outcome::{self, NotStarted};
use super::program::Family;
use super::room::Seen;
use super::root::{self, ROOT, SKELETON, WORKSPACE};
use super::sandbox::OciSandbox;
use super::slot::Slot;
use super::stages;
use super::supervise::{Asking, Ended, supervise};
use super::user;
use super::users::{self, Range};
use super::witness::Witness;
use crate::grace::Grace;
use crate::{Exit, ExitStatus, Output, RuntimeError, Step, Stream, Timeline, Usage};
use images::Image;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

impl OciSandbox {
    /// Runs a step whose image is there, to its end.
    pub(super) async fn run_image(
        &mut self,
        step: &Step,
        image: &Image,
        out: &mut dyn Output,
        stop: &CancellationToken,
        begun: Instant,
    ) -> Result<Exit, RuntimeError> {
        let resolved = begun.elapsed();
        let number = self.steps;
        self.steps += 1;
        let plan = self.plan(step, image, number)?;
        self.connect().await?;
        let group = &self.slot()?.group;
        group.reset_peak();
        let before = group.read();
        let prepared = begun.elapsed();
        let launched = self.start(&plan).await?;
        let witness = self.witness(&launched);
        let started = Instant::now();
        let timeline = Timeline {
            image: resolved,
            prepare: prepared.saturating_sub(resolved),
            start: begun.elapsed().saturating_sub(prepared),
        };
        tracing::debug!(sandbox = self.hostname, step = number, ?timeline, "started a step");
        self.shared.filter.learn(self.container_state(number));

        let slot = self.slot()?;
        let (volume, host_disk) = (&slot.volume, &self.shared.host_disk);
        let asking = self.asking(slot, step, number);
        let mut seen = Seen::default();
        let ended = tokio::select! {
            ended = self.wait(launched, &plan, out, stop, &asking) => ended?,
            never = seen.watch(volume, host_disk) => match never {},
            failure = network_failure(slot) => return Err(failure),
        };
        stages::tell(plan.stages.as_deref(), &self.hostname);
        let after = slot.group.read();
        let signal = match (outcome::maybe_signal(ended.status), witness) {
            (None, _) => None,
            (Some(_), Some(witness)) => witness.signal().await,
            (Some(_), None) => outcome::signal(&plan.log),
        };
        let mut status = outcome::status(ended.status, signal);
        if status != ExitStatus::Code(0) && !ended.stopped {
            status = self.judge_failure(status, &plan, step, out).await?;
        }
        let failed = status != ExitStatus::Code(0);
        let mut cause = outcome::cause(status, ended.stopped, &self.limits, (before, after));
        if cause.is_none() {
            cause = seen.judge(volume, host_disk, failed).await?.filter(|_| failed);
        }
        if let (Some(signal), None) = (ended.status.signal(), cause) {
            // The step's own end comes as a code; this is somebody's who killed the runtime.
            let name = self.shared.program.family.name();
            return Err(RuntimeError::Host(format!("the OCI runtime {name} was killed by signal {signal}")));
        }
        let cpu = after.cpu.zip(before.cpu).map(|(after, before)| after.saturating_sub(before));
        let usage = Usage { wall: started.elapsed(), cpu, peak_memory: after.peak_memory };
        tracing::debug!(sandbox = self.hostname, step = number, ?status, ?cause, ?usage, "a step ended");
        Ok(Exit { status, cause, usage, timeline })
    }

    /// Has the job's network there, and closed to what is the host's by now.
    async fn connect(&mut self) -> Result<(), RuntimeError> {
        let shared = std::sync::Arc::clone(&self.shared);
        let network = self.slot.as_mut().and_then(|slot| slot.network.as_mut());
        let (Some(network), Ok(means)) = (network, &shared.network) else { return Ok(()) };
        network.renew(means).map_err(RuntimeError::io("close a job's network to this host"))?;
        network.up().await
    }

    /// A runtime that failed ends with a code like any step. Its log tells them apart.
    async fn judge_failure(
        &self,
        status: ExitStatus,
        plan: &Plan,
        step: &Step,
        out: &mut dyn Output,
    ) -> Result<ExitStatus, RuntimeError> {
        match outcome::not_started(&plan.log) {
            None => Ok(status),
            Some(NotStarted::Directory(why)) => {
                Err(RuntimeError::Refused(format!("the step can't begin in {:?}: {why}", step.cwd)))
            }
            Some(NotStarted::Runtime(detail)) => {
                Err(RuntimeError::Start { runtime: self.shared.program.family.name().to_owned(), detail })
            }
            Some(NotStarted::Program { code, why }) => {
                let line = format!("failed to run {:?}: {why}\n", step.argv[0]);
                out.write(Stream::Stderr, line.as_bytes())
                    .await
                    .map_err(RuntimeError::io("pass on the output of a step"))?;
                Ok(ExitStatus::Code(code))
            }
        }
    }

    /// Writes down what is to run, and what is to be mounted before.
    fn plan(&self, step: &Step, image: &Image, number: u32) -> Result<Plan, RuntimeError> {
        let (slot, instance, program) = (self.slot()?, &self.shared.instance, &self.shared.program);
        let disk = RuntimeError::io("prepare the root file system of a step");
        let writable = root::make_writable(&slot.volume.path, slot.root(), number).map_err(disk)?;
        let user = user::resolve(&image.config.user, &image.layers)?;
        if slot.range().is_some() {
            user.check_range()?;
        }
        let here = self.shared.here();
        let system = slot.network.is_some().then(|| slot.range().map(|_| users::system())).flatten();
        let container = Container {
            step,
            image: &image.config,
            user: &user,
            users: slot.range().map(Range::root),
            has_network: slot.network.is_some(),
            system: system.as_deref(),
            hostname: &self.hostname,
            root: &here.join(ROOT),
            workspace: &here.join(WORKSPACE),
            skeleton: &here.join(SKELETON),
            // An ordinary user's runtime stays in ours, where there are any.
            group: (program.family.makes_groups() && !self.shared.ordinary)
                .then(|| self.shared.group_for_runtime(&slot.id)),
        };
        let spec = self
            .shared
            .writer
            .spec(&container, self.shared.filter.known())
            .map_err(|error| RuntimeError::Host(error.to_string()))?;
        let json = serde_json::to_vec(&spec).map_err(io::Error::from);
        let written = json.and_then(|json| fs::write(slot.bundle.join("config.json"), json));
        written.map_err(RuntimeError::io("write the configuration of a step"))?;
        let log = slot.bundle.join(format!("log-{number}"));
        let id = container_id(&slot.id, number);
        let pid_file = program.family.leaves().then(|| slot.bundle.join(format!("pid-{number}")));
        let state = instance.runtime_state();
        Ok(Plan {
            layers: self.layers(slot, image)?,
            skeleton: writable.skeleton.to_owned(),
            upper: writable.upper,
            work: writable.work,
            root: ROOT.to_owned(),
            owner: slot.root(),
            additional: self.shared.additional.clone(),
            users: slot.range().map(Range::namespace),
            ordinary: self.shared.ordinary,
            make_cwd: (!program.family.makes_cwd()).then(|| PathBuf::from(&step.cwd)),
            program: program.path.clone(),
            arguments: program.run_arguments(&state, &log, pid_file.as_deref(), (&slot.bundle, &id)),
            here,
            stages: stages::file_beside(&log),
            log,
            pid_file,
        })
    }

    /// Where the launcher finds the image's layers, the topmost first.
    fn layers(&self, slot: &Slot, image: &Image) -> Result<Vec<PathBuf>, RuntimeError> {
        let layers = root::topmost_first(&image.layers);
        if slot.range().is_none() {
            return Ok(layers);
        }
        let all = self.shared.images.layers();
        let shown = |layer: PathBuf| match layer.strip_prefix(&all) {
            Ok(name) => Ok(users::layers().join(name)),
            Err(_) => {
                Err(RuntimeError::Host(format!("the layer {} is not among the others", layer.display())))
            }
        };
        layers.into_iter().map(shown).collect()
    }

    /// Starts the step by the launcher that waits, or by a new one.
    async fn start(&mut self, plan: &Plan) -> Result<Started, RuntimeError> {
        let waiting = self.slot.as_mut().and_then(|slot| slot.launcher.take());
        if let Some(waiting) = waiting {
            match waiting.start(plan).await {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                result => return result.map_err(RuntimeError::io("start a step")),
            }
        }
        self.start_afresh(plan).await
    }

    async fn start_afresh(&self, plan: &Plan) -> Result<Started, RuntimeError> {
        let context = || RuntimeError::io("start a step");
        let fresh = self.slot()?.launcher(&self.shared).map_err(context())?;
        fresh.start(plan).await.map_err(context())
    }

    /// Waits for the step's end. A launcher that does not take its plan is replaced, once.
    async fn wait(
        &self,
        mut started: Started,
        plan: &Plan,
        out: &mut dyn Output,
        stop: &CancellationToken,
        asking: &Asking,
    ) -> Result<Ended, RuntimeError> {
        let group = &self.slot()?.group;
        let (child, deaf) = started.parts(stop);
        tokio::select! {
            ended = supervise(child, group, out, stop, asking) => return ended,
            () = deaf => {}
        }
        tracing::warn!(sandbox = self.hostname, "a launcher does not answer");
        started.child.kill().await.map_err(RuntimeError::io("end a launcher"))?;
        group.kill().await.map_err(RuntimeError::io("end a launcher"))?;
        if started.has_plan() {
            // It woke up meanwhile: nothing may be run twice.
            return Err(RuntimeError::Host(
                "the process that starts a step did not answer in time".to_owned(),
            ));
        }
        let mut fresh = self.start_afresh(plan).await?;
        supervise(&mut fresh.child, group, out, stop, asking).await
    }

    fn asking(&self, slot: &Slot, step: &Step, number: u32) -> Asking {
        let (program, state) = (&self.shared.program, self.shared.instance.runtime_state());
        let arguments = program.family.is_asked_by_command().then(|| {
            let id = container_id(&slot.id, number);
            ["--root".into(), state.into(), "kill".into(), id.into(), "TERM".into()].to_vec()
        });
        Asking {
            grace: Grace { time: self.shared.grace, at_once: step.at_once.clone() },
            by: arguments.map(|arguments| (program.path.clone(), arguments)),
            own_processes: self.shared.ordinary,
        }
    }

    /// Where a runtime stays and tells a signal as a code, somebody who knows.
    fn witness(&self, launched: &Started) -> Option<Witness> {
        let tells_codes = self.shared.program.family == Family::Crun;
        let launcher = launched.child.id().filter(|_| tells_codes)?;
        Some(Witness::of(launcher, self.shared.ordinary))
    }

    /// Where the OCI runtime keeps what it knows of a step while it runs.
    fn container_state(&self, number: u32) -> Option<PathBuf> {
        let slot = self.slot.as_ref()?;
        Some(self.shared.instance.runtime_state().join(container_id(&slot.id, number)))
    }
}

/// Waits for the end of the job's network, if it has one, though nobody wanted that.
async fn network_failure(slot: &Slot) -> RuntimeError {
    match &slot.network {
        Some(network) => network.failure().await,
        None => std::future::pending().await,
    }
}

/// What a step is called towards the runtime.
pub(super) fn container_id(slot: &str, step: u32) -> String {
    format!("{slot}.{step}")
}
