//! Keeps the images of an agent within bounds: what was pulled goes when nobody used it for long, and
//! sooner while the disk is short of room, so that jobs are not turned away for images that none of
//! them needs.

use images::{ImageStore, Keep, LetGo};
use rustix::fs::statvfs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::time::{MissedTickBehavior, interval};

/// How often to look. It costs one question to the disk and one small file for each image.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Images that were used within this time stay even when the disk is short: the next job of the same kind
/// would only pull them again.
const ALWAYS_WITHIN: Duration = Duration::from_mins(10);
/// The disk is short while less than this many times its floor is free: well before jobs are refused.
const FLOORS: u64 = 2;

/// Which images an agent keeps.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Those that were used within this time.
    pub(crate) used_within: Duration,
    /// Bytes that must be free on the disk for a job to be taken, 0 if any number will do; `None` for what
    /// fits the disk.
    pub(crate) disk_floor: Option<u64>,
}

/// Looks now and every minute, for as long as the program runs. `dir` is the store's.
pub(crate) fn watch(store: ImageStore, dir: PathBuf, rules: Rules) {
    tokio::spawn(async move {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (store, dir, rules) = (store.clone(), dir.clone(), rules.clone());
            if tokio::task::spawn_blocking(move || look(&store, &dir, &rules)).await.is_err() {
                return;
            }
        }
    });
}

fn look(store: &ImageStore, dir: &Path, rules: &Rules) {
    match let_go(store, dir, rules, SystemTime::now()) {
        Ok(LetGo { images, collected }) => {
            for image in images {
                tracing::info!(image = %image.reference, "removed an image that was not used lately");
            }
            if collected.layers > 0 {
                tracing::info!(
                    layers = collected.layers,
                    bytes = collected.bytes,
                    "removed layers of images"
                );
            }
        }
        Err(fault) => {
            tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "can't look for images that nobody uses"
            );
        }
    }
}

fn let_go(
    store: &ImageStore,
    dir: &Path,
    rules: &Rules,
    now: SystemTime,
) -> Result<LetGo, images::ImageError> {
    store.let_go_of_unused(&Keep {
        now,
        used_within: rules.used_within,
        always_within: ALWAYS_WITHIN,
        is_short: &|| is_short(dir, rules.disk_floor),
    })
}

/// A disk that can't be looked at is not short: whoever needs it will say more.
fn is_short(dir: &Path, floor: Option<u64>) -> bool {
    statvfs(dir).is_ok_and(|stat| {
        let files = if floor == Some(0) { 0 } else { agent::fitting_files_floor(stat.f_files) };
        let floor = floor.unwrap_or_else(|| agent::fitting_disk_floor(stat.f_blocks * stat.f_frsize));
        stat.f_bavail * stat.f_frsize < floor.saturating_mul(FLOORS) || stat.f_favail < files * FLOORS
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::image::{Archive, Layer};

    const DAY: Duration = Duration::from_hours(24);

    /// A store with an image that says it was imported, or pulled.
    fn store_with(dir: &Path, pulled: bool) -> ImageStore {
        let archive = dir.join("archive.tar");
        let layer = Layer::new().file("a", b"1");
        std::fs::write(&archive, Archive::new().layer(layer).docker()).unwrap();
        let store = ImageStore::open(dir.join("images")).unwrap();
        store.import(&"example:1".parse().unwrap(), &archive).unwrap();
        for name in std::fs::read_dir(dir.join("images/names")).unwrap() {
            let path = name.unwrap().path();
            let mut record: serde_json::Value =
                serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(record["pulled"], false, "{record}");
            record["pulled"] = pulled.into();
            std::fs::write(&path, record.to_string()).unwrap();
        }
        store
    }

    /// How many images go after `later`, with a disk whose floor is `disk_floor`.
    fn gone(pulled: bool, later: Duration, disk_floor: u64) -> usize {
        let dir = tempfile::tempdir().unwrap();
        let store = store_with(dir.path(), pulled);
        let rules = Rules { used_within: 7 * DAY, disk_floor: Some(disk_floor) };
        let gone = let_go(&store, dir.path(), &rules, SystemTime::now() + later).unwrap().images.len();
        assert_eq!(store.list().unwrap().len() + gone, 1);
        gone
    }

    #[test]
    fn a_pulled_image_goes_after_a_week_and_sooner_when_the_disk_is_short() {
        let short = u64::MAX / 4;
        for (pulled, later, floor, expected) in [
            (true, 6 * DAY, 0, 0),
            (true, 8 * DAY, 0, 1),
            (true, DAY, short, 1),
            (true, ALWAYS_WITHIN / 2, short, 0),
            (false, 800 * DAY, short, 0),
        ] {
            assert_eq!(gone(pulled, later, floor), expected, "{pulled} {later:?} {floor}");
        }
    }

    #[test]
    fn a_disk_is_short_below_twice_its_floor() {
        let dir = std::env::temp_dir();
        let stat = statvfs(&dir).unwrap();
        let total = stat.f_blocks * stat.f_frsize;
        assert!(!is_short(&dir, Some(0)));
        assert!(is_short(&dir, Some(total / 2 + 1)));
        assert!(is_short(&dir, Some(u64::MAX)));
        assert!(!is_short(Path::new("/nowhere"), Some(u64::MAX)));
        let Some(small) = testkit::SmallDisk::mount("a_disk_is_short_below_twice_its_floor", 8 << 20) else {
            return;
        };
        assert!(!is_short(&small.path(), Some(1)));
        let _many = small.use_up_files();
        assert!(is_short(&small.path(), Some(1)) && !is_short(&small.path(), Some(0)));
    }
}
