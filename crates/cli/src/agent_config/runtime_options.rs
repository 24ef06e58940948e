//! What a runtime is given of the settings.

use super::{RuntimeSettings, SrcSteps, helper, mounts, owner, startup_script};
use crate::certificates;
use crate::env::RuntimeName;
use crate::exit::Failure;
use crate::systemd::scope::{self, Manager};
use crate::{for_jobs, paths};
use runtimes::PrivateMounts;
use runtimes::docker::DockerOptions;
use runtimes::oci::{Helper, OciOptions};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

impl RuntimeSettings {
    /// Whether steps of src may run on this host.
    pub(crate) fn runs_src(&self) -> bool {
        self.src_steps == SrcSteps::Run
    }

    /// Writes the bundle for steps, where they are to get one.
    pub(crate) fn write_certificates(&self, path: &Path) -> Result<(), Failure> {
        if self.gives_certificates { certificates::write(&self.images.roots, path) } else { Ok(()) }
    }

    /// Copies the script that steps run first to below `data_dir`, and goes on with the copy: what runs in jobs
    /// changes with the agent's next start, and not before.
    pub(crate) fn copy_startup_script(&mut self, data_dir: &Path) -> Result<(), Failure> {
        let Some(script) = &mut self.startup_script else { return Ok(()) };
        let content = startup_script::content(script).map_err(|fault| {
            Failure::system(format!("{} ({}) can't be read: {fault}", startup_script::NAME, script.display()))
        })?;
        *script = paths::startup_script(data_dir, &content);
        for_jobs::write("the startup script", &content, script)
    }

    /// The container runtime's options, with its state in `state_dir`. `certificates` is where a bundle
    /// for steps may be.
    pub(crate) fn oci_options(
        &self,
        state_dir: &Path,
        certificates: PathBuf,
        mounts: PrivateMounts,
    ) -> OciOptions {
        let mut options = OciOptions::new(mounts, state_dir.to_owned(), owner(state_dir), self.helper());
        options.runtime.clone_from(&self.oci_runtime);
        options.strict = self.strict;
        options.users = self.users;
        options.network.clone_from(&self.network);
        options.additional_mounts.clone_from(&self.additional_mounts);
        options.certificates = self.gives_certificates.then_some(certificates);
        options.startup_script.clone_from(&self.startup_script);
        if let Some(path) = &self.search_path {
            options.search_path = path.into();
        }
        if let Some(disk) = self.disk {
            options.spare_disk = disk;
        }
        options
    }
}

impl RuntimeSettings {
    /// The same for a container engine's, whose containers say that they are `executor`'s.
    pub(crate) fn docker_options(
        &self,
        state_dir: &Path,
        certificates: PathBuf,
        executor: &str,
    ) -> DockerOptions {
        let mut options = self.docker.options(state_dir, self.helper());
        executor.clone_into(&mut options.executor);
        options.limits = self.limits;
        options.oci_runtime.clone_from(&self.oci_runtime);
        options.mirrors.clone_from(&self.images.mirrors);
        options.strict = self.strict;
        options.certificates = self.gives_certificates.then_some(certificates);
        options.startup_script.clone_from(&self.startup_script);
        options
    }

    /// Variables that have a supervisor run its job by the same runtime and engine, whatever listens by then, and with the
    /// same mounts, whatever is there by then.
    pub(crate) fn chosen(&self) -> Vec<(String, Option<OsString>)> {
        let runtime = ("EXECUTOR_RUNTIME".to_owned(), Some(self.name.name().into()));
        let engine = ("DOCKER_HOST".to_owned(), Some(self.docker.address().into()));
        let by_engine = (self.name == RuntimeName::Docker).then_some(engine);
        let src = ("EXECUTOR_SRC_STEPS".to_owned(), Some(self.runs_src().to_string().into()));
        let script = self.startup_script.as_ref();
        let script = script.map(|script| (startup_script::NAME.to_owned(), Some(script.into())));
        // What is left out is left out by all.
        let mounts = (mounts::NAME.to_owned(), self.mounts_in_words.as_ref().map(Into::into));
        let here = (self.name == RuntimeName::Oci).then_some(mounts);
        [runtime, src].into_iter().chain(by_engine).chain(here).chain(script).collect()
    }

    /// What starts supervisors in a control group of systemd's, apart from the agent's, where jobs' groups are ours.
    /// That of an `ordinary` user is its own systemd.
    pub(crate) fn starter(&self, ordinary: bool) -> Vec<OsString> {
        if self.name != RuntimeName::Oci {
            return Vec::new();
        }
        let manager = match &self.runtime_dir {
            _ if !ordinary => Manager::System,
            Some(dir) => Manager::User(dir),
            None => return Vec::new(),
        };
        scope::starter(manager, self.search_path.as_deref().unwrap_or_default())
    }

    fn helper(&self) -> Helper {
        Helper { guardian: self.guardian.clone(), launcher: self.launcher.clone(), ..helper() }
    }
}
