//! The data directory: whose it is, what it lies on, and how fast that is.

use super::{Known, blocking};
use crate::commands::doctor::finding::{Finding, fatal, info, ok, warning};
use crate::commands::doctor::room::{State, existing, look};
use crate::commands::doctor::sizes::told;
use rustix::fs::{statfs, statvfs};
use rustix::process::geteuid;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Less free than this part of a disk is little, and than this many bytes is none.
const LITTLE: u64 = 10;
const NONE: u64 = 256 << 20;
/// Writes that are timed, and how many bytes each has.
const WRITES: usize = 15;
const BYTES: [u8; 4096] = [7; 4096];
/// A commit waits for one of them: slower than this, a few dozen jobs a second are all there is.
const SLOW: Duration = Duration::from_millis(20);

/// File systems, by the number that the kernel has for each.
const NETWORKS: [(u64, &str); 5] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
];
const MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
const OVERLAY: u64 = 0x794c_7630;

pub(super) async fn findings(known: &Known) -> Vec<Finding> {
    let dir = known.data_dir.clone();
    blocking("server.data-dir", move || {
        let mut findings = vec![directory(&dir)];
        findings.extend(room(&dir));
        findings.extend(kind(&dir));
        // A directory that is not there yet lies where it will be made.
        findings.push(speed(existing(&dir)));
        findings
    })
    .await
}

fn directory(dir: &Path) -> Finding {
    const ID: &str = "server.data-dir";
    let remedy = "name a directory of the server's own user with --data-dir";
    match look(dir) {
        State::Bad(why) => return fatal(ID, format!("{} can't be used: {why}", dir.display()), remedy),
        State::Below(_) => {
            return info(ID, format!("{} is not there yet: the first start makes it", dir.display()));
        }
        State::There => {}
    }
    let Ok(found) = dir.metadata() else {
        return fatal(ID, format!("{} can't be looked at", dir.display()), remedy);
    };
    judge(dir, found.uid(), geteuid().as_raw(), found.mode() & 0o777)
}

fn judge(dir: &Path, owner: u32, own: u32, mode: u32) -> Finding {
    const ID: &str = "server.data-dir";
    let dir = dir.display();
    if owner != own {
        let seen = format!("{dir} belongs to user {owner}, and this is user {own}");
        return warning(ID, seen, "run the doctor and the server as the user whose it is, or chown it");
    }
    if mode & 0o077 != 0 {
        let seen = format!("{dir} has mode {mode:o}: others may look into it, and secrets lie there");
        return warning(ID, seen, format!("chmod 700 {dir}"));
    }
    ok(ID, format!("{dir} is this user's alone"))
}

fn room(dir: &Path) -> Option<Finding> {
    let found = statvfs(existing(dir)).ok()?;
    Some(enough(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize))
}

fn enough(free: u64, total: u64) -> Finding {
    const ID: &str = "server.disk";
    let seen = format!("{} of {} are free", told(free), told(total));
    let remedy = "free some space, lower executors.endedJobsKeptDays, or take a larger disk";
    if free < NONE {
        return fatal(ID, format!("{seen}: no job can be taken"), remedy);
    }
    if free < total / LITTLE { warning(ID, seen, remedy) } else { ok(ID, seen) }
}

fn kind(dir: &Path) -> Option<Finding> {
    let found = statfs(existing(dir)).ok()?;
    kind_of(u64::try_from(found.f_type).ok()?)
}

fn kind_of(number: u64) -> Option<Finding> {
    const ID: &str = "server.file-system";
    if let Some((_, name)) = NETWORKS.iter().find(|(of, _)| *of == number) {
        let seen = format!("the data directory is on {name}: locks and what was written may be lost there");
        return Some(warning(
            ID,
            seen,
            "take a local disk, or keep jobs in PostgreSQL (--database-url-file)",
        ));
    }
    if MEMORY.contains(&number) {
        let seen = "the data directory is in memory: everything is gone when this host starts again";
        return Some(warning(ID, seen, "name a directory on a disk with --data-dir"));
    }
    let overlay = "the data directory is in a container's own layer: it is gone with the container";
    (number == OVERLAY).then(|| warning(ID, overlay, "mount a volume there"))
}

fn speed(dir: &Path) -> Finding {
    const ID: &str = "server.fsync";
    match time(dir) {
        Ok(took) => fast_enough(took),
        Err(fault) => info(ID, format!("nothing could be written to {}: {fault}", dir.display())),
    }
}

fn fast_enough(took: Duration) -> Finding {
    const ID: &str = "server.fsync";
    let seen = format!("a write is on the disk after {:.1} ms", took.as_secs_f64() * 1000.0);
    if took <= SLOW {
        return ok(ID, seen);
    }
    let remedy =
        "take a faster disk for the data directory, or for PostgreSQL: each commit waits for one such write";
    warning(ID, format!("{seen}, which is slow"), remedy)
}

/// The median of a few writes, each waited for.
fn time(dir: &Path) -> io::Result<Duration> {
    let mut file = tempfile::tempfile_in(dir)?;
    let mut took = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let begun = Instant::now();
        file.write_all(&BYTES)?;
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took[WRITES / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Severity::{self, Fatal, Ok, Warning};

    #[test]
    fn what_is_seen_is_judged() {
        let dir = Path::new("/data");
        let severity = |finding: Finding| finding.severity;
        assert_eq!(severity(judge(dir, 7, 7, 0o700)), Ok);
        assert_eq!(severity(judge(dir, 7, 7, 0o750)), Warning);
        assert_eq!(severity(judge(dir, 0, 7, 0o700)), Warning);
        let of = |free, total| severity(enough(free, total));
        assert_eq!([of(1 << 30, 1 << 32), of(1 << 30, 1 << 40), of(1, 1 << 40)], [Ok, Warning, Fatal]);
        let kind = |number| kind_of(number).map(severity);
        assert_eq!(
            [kind(0x6969), kind(0x0102_1994), kind(OVERLAY), kind(0xef53)],
            [Some(Warning), Some(Warning), Some(Warning), None::<Severity>]
        );
        assert_eq!(severity(fast_enough(Duration::from_millis(1))), Ok);
        assert_eq!(severity(fast_enough(Duration::from_millis(21))), Warning);
    }
}
