//! Where things are kept on this host.

use crate::env::EnvReader;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The directories of one user, resolved once.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The client's settings file.
    pub(crate) settings: PathBuf,
    /// `EXECUTOR_DATA_DIR`, if set.
    pub(crate) data_dir_from_env: Option<PathBuf>,
    /// The data directory where nothing else names one.
    pub(crate) default_data_dir: PathBuf,
}

impl Paths {
    /// Reads what decides them. Without a home directory everything is below `/var/lib/executor`.
    pub(crate) fn read(env: &EnvReader<'_>) -> Self {
        let home = env.text("HOME").map(PathBuf::from);
        let below_home = |variable, sub: &str| {
            let given = env.text(variable).map(PathBuf::from).filter(|path| path.is_absolute());
            given.or_else(|| home.as_ref().map(|home| home.join(sub)))
        };
        let system = PathBuf::from("/var/lib/executor");
        let config = below_home("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("executor"));
        let data = below_home("XDG_DATA_HOME", ".local/share").map(|dir| dir.join("executor"));
        Self {
            settings: config.unwrap_or_else(|| system.clone()).join("client.json"),
            data_dir_from_env: env.text("EXECUTOR_DATA_DIR").map(PathBuf::from),
            default_data_dir: if is_root() { system } else { data.unwrap_or(system) },
        }
    }

    /// The data directory of `up` and `server`.
    pub(crate) fn server_data_dir(&self, given: Option<PathBuf>) -> PathBuf {
        self.named_data_dir(given).unwrap_or_else(|| self.default_data_dir.clone())
    }

    /// The data directory that an option or the environment names.
    pub(crate) fn named_data_dir(&self, given: Option<PathBuf>) -> Option<PathBuf> {
        given.or_else(|| self.data_dir_from_env.clone())
    }

    /// The data directory of the agent and of `executor image`: both must find the same one, so both
    /// The data directory of the agent and of `executor image`, which must find the same one. `last_up` is the
    /// directory of the user's last `executor up`.
    pub(crate) fn agent_data_dir(&self, given: Option<PathBuf>, last_up: Option<PathBuf>) -> PathBuf {
        self.server_data_dir(self.named_data_dir(given).or(last_up))
    }
}

/// Where images live below a data directory.
pub(crate) fn images(data_dir: &Path) -> PathBuf {
    data_dir.join("images")
}

/// Where the agent keeps the state of running jobs, below a data directory.
pub(crate) fn agent(data_dir: &Path) -> PathBuf {
    data_dir.join("agent")
}

/// The certificates that steps are given, where they are given any.
pub(crate) fn certificates(data_dir: &Path) -> PathBuf {
    data_dir.join("certificates.pem")
}

/// The script of this content that steps run first: agents of one data directory may have several.
pub(crate) fn startup_script(data_dir: &Path, content: &[u8]) -> PathBuf {
    data_dir.join("startup-scripts").join(hex::encode(&Sha256::digest(content)[..8]))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
