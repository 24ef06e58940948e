//! A script of the operator's that every step runs before its commands.

use crate::env::EnvReader;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The variable.
pub(crate) const NAME: &str = "EXECUTOR_STEP_STARTUP_SCRIPT_PATH";
/// The largest script, in bytes: every step gets a copy.
const LARGEST: u64 = 1 << 20;
/// Whoever else may write to it would run what he likes in everybody's jobs.
const WRITABLE_BY_OTHERS: u32 = 0o002;

/// Where it is, if there is one; one that is of no use is a fault.
pub(super) fn read(env: &mut EnvReader<'_>) -> Option<PathBuf> {
    let text = env.text(NAME)?;
    let path = PathBuf::from(&text);
    if let Err(fault) = check(&path) {
        env.fault(format!("invalid value {text:?} for {NAME}: {fault}"));
    }
    Some(path)
}

/// What it says, judged as it was at start.
pub(crate) fn content(path: &Path) -> io::Result<Vec<u8>> {
    let content = fs::read(path)?;
    if content.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, too_large()));
    }
    Ok(content)
}

fn check(path: &Path) -> Result<(), String> {
    if !path.is_absolute() {
        return Err("it must be an absolute path".to_owned());
    }
    let found = fs::metadata(path).map_err(|fault| format!("the script can't be read: {fault}"))?;
    judge(&found)?;
    fs::File::open(path).map(drop).map_err(|fault| format!("the script can't be read: {fault}"))
}

fn judge(found: &Metadata) -> Result<(), String> {
    let mode = found.permissions().mode();
    if !found.is_file() {
        Err("it must be a regular file".to_owned())
    } else if mode & WRITABLE_BY_OTHERS != 0 {
        Err(format!(
            "everybody may write to it (mode {:04o}), and so decide what all jobs run: chmod o-w",
            mode & 0o7777
        ))
    } else if found.len() > LARGEST {
        Err(too_large())
    } else {
        Ok(())
    }
}

fn too_large() -> String {
    format!("it may have {LARGEST} bytes at most")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_config::tests::{faults, read};

    #[test]
    fn what_is_of_no_use_is_told_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for (name, mode, size) in [("good", 0o644, 3), ("open", 0o666, 3), ("large", 0o644, LARGEST + 1)] {
            let file = fs::File::create(path(name)).unwrap();
            file.set_len(size).unwrap();
            file.set_permissions(PermissionsExt::from_mode(mode)).unwrap();
        }
        assert!(read(&[(NAME, &path("good"))]).unwrap().1.runtime.startup_script.is_some());
        assert!(read(&[(NAME, "")]).unwrap().1.runtime.startup_script.is_none());
        for (value, why) in [
            ("script.sh".to_owned(), "an absolute path"),
            (path("missing"), "can't be read: No such file"),
            (path(""), "a regular file"),
            (path("open"), "chmod o-w"),
            (path("large"), "1048576 bytes at most"),
        ] {
            let told = faults(&[(NAME, &value)]);
            let start = format!("invalid value {value:?} for {NAME}: ");
            assert!(told.len() == 1 && told[0].starts_with(&start) && told[0].contains(why), "{told:?}");
        }
    }
}
