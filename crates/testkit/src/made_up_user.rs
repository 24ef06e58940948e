//! Ordinary users that are made up: what names one is mounted over the host's files where only its own processes
//! see it.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The first of such users, and a group that each is in besides its own.
const FIRST_USER: u32 = 61_384;
const GROUP: u32 = 61_383;
/// The first of their other users, in the range that distributions give from, how many each has, and how many have
/// them apart from each other.
const FIRST_OTHER: u32 = 0x6000_0000;
const OTHERS: u32 = 1 << 16;
const APART: u32 = 1 << 12;
/// How far apart the numbers of two users of one process are.
const NEXT: u32 = 1_009;
/// The programs that make one.
const PARTS: [&str; 4] = ["newuidmap", "newgidmap", "unshare", "setpriv"];
/// Which file says what other users it has.
const GIVEN: &str = "GIVEN";

/// Takes a directory, the user, a group and a program, which becomes `program` in that directory; then a command.
const AS_USER: &str = r#"set -e
dir=$1 user=$2 group=$3 program=$4; shift 4
mount --bind "$dir/passwd" /etc/passwd
mount --bind "$dir/${GIVEN:-given}" /etc/subuid
mount --bind "$dir/${GIVEN:-given}" /etc/subgid
mount --bind "$program" "$dir/program"
exec setpriv --reuid "$user" --regid "$user" --groups "$group" -- "$@""#;

/// A user called `ordinary`, other than that of any test that runs at the same time.
#[derive(Debug)]
pub struct MadeUpUser {
    dir: PathBuf,
    uid: u32,
}

impl MadeUpUser {
    /// Writes it down in `dir`, which everybody may pass through from then on; `None`, once `test` was reported as
    /// skipped, where a part for it is missing.
    pub fn new(test: &str, dir: &Path) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let is_there =
            |part: &&str| ["/usr/bin", "/bin"].iter().any(|dir| Path::new(dir).join(part).exists());
        let missing = PARTS.iter().find(|part| !is_there(part)).copied();
        if let Some(part) = missing.or((!crate::have_root()).then_some("root")) {
            crate::missing_part(test, part);
            return None;
        }
        let number = std::process::id().wrapping_add(MADE.fetch_add(1, Ordering::Relaxed) * NEXT);
        let made = Self { dir: dir.to_owned(), uid: FIRST_USER + number };
        let (uid, first) = (made.uid, made.others().start);
        let known = fs::read_to_string("/etc/passwd").expect("it is there");
        for (name, text) in [
            ("passwd", format!("{known}ordinary:x:{uid}:{uid}::/:/bin/sh\n")),
            ("given", format!("ordinary:{first}:{OTHERS}\n")),
            ("nothing", String::new()),
            ("program", String::new()),
        ] {
            fs::write(dir.join(name), text).expect("the directory can be written to");
        }
        fs::set_permissions(dir, fs::Permissions::from_mode(0o711)).expect("the directory is ours");
        Some(made)
    }

    /// Its number, which is its group's as well.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The other users that it is given.
    pub fn others(&self) -> Range<u32> {
        let first = FIRST_OTHER + (self.uid - FIRST_USER) % APART * OTHERS;
        first..first + OTHERS
    }

    /// Makes a directory of its own.
    pub fn own_dir(&self, path: &Path) {
        fs::create_dir(path).expect("the directory can be made");
        chown(path, Some(self.uid), Some(self.uid)).expect("root may give it away");
    }

    /// What starts `program` as this user. `through` is a command that gets it with its arguments.
    pub fn command(&self, through: &[&str], program: &Path) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "sh", "-c", AS_USER, "sh"]).arg(&self.dir);
        command.args([self.uid, GROUP].map(|id| id.to_string())).arg(program);
        command.args(through).arg(self.dir.join("program"));
        command
    }

    /// Has what [`Self::command`] gave find no other users.
    pub fn without_others(command: &mut Command) -> &mut Command {
        command.env(GIVEN, "nothing")
    }

    /// Its processes, and those of its other users.
    pub fn processes(&self) -> BTreeSet<u32> {
        let entries = fs::read_dir("/proc").expect("it is mounted").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_its = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let uid = field("Uid:").split_whitespace().next().and_then(|uid| uid.parse().ok()).unwrap_or(0);
            // One that has ended, of which the host's first process, which takes its time, has not taken note yet.
            let is_forgotten = field("State:").trim_start().starts_with('Z');
            (uid == self.uid || self.others().contains(&uid)) && !is_forgotten
        };
        pids.filter(is_its).collect()
    }
}
