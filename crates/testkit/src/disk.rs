//! A disk that a test can fill.

use std::fs::{self, File};
use std::io::{ErrorKind, Seek, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What is written at a time until a disk is full.
const PIECE: usize = 16 << 10;

/// A small ext4 in a file, mounted for as long as this lives.
#[derive(Debug)]
pub struct SmallDisk {
    place: TempDir,
}

impl SmallDisk {
    /// A disk of `size` bytes, 8 MiB or more; `None`, once `test` was reported as skipped, where none
    /// can be mounted.
    pub fn mount(test: &str, size: u64) -> Option<Self> {
        let made = Self::try_mount(size);
        if made.is_none() {
            crate::missing_part(test, "root, mkfs.ext4 or a loop device, to mount a small disk");
        }
        made
    }

    fn try_mount(size: u64) -> Option<Self> {
        let place = tempfile::tempdir().ok()?;
        let disk = Self { place };
        let image = disk.place.path().join("image");
        File::create(&image).and_then(|file| file.set_len(size)).ok()?;
        fs::create_dir(disk.path()).ok()?;
        let done = run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))
            && run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.path()));
        done.then_some(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.place.path().join("disk")
    }

    /// Writes until nothing more fits, and then frees `rest` bytes.
    pub fn fill(&self, rest: u64) {
        let mut filler = File::create(self.filler()).expect("a file can be made");
        write_while_it_fits(&mut filler);
        let written = filler.stream_position().expect("it is a file");
        filler.set_len(written - rest).expect("so much was written");
    }

    /// Takes what others freed since [`Self::fill`].
    pub fn fill_again(&self) {
        let filler = File::options().append(true).open(self.filler());
        write_while_it_fits(&mut filler.expect("it was filled"));
    }

    /// Removes what [`Self::fill`] wrote.
    pub fn make_room(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    /// Makes files until no more can be made, though there is room; they go with what this gives.
    pub fn use_up_files(&self) -> TempDir {
        let many = tempfile::tempdir_in(self.path()).expect("a directory can be made");
        for number in 0_u64.. {
            match File::create(many.path().join(number.to_string())) {
                Ok(_) => {}
                Err(fault) if fault.kind() == ErrorKind::StorageFull => break,
                Err(fault) => panic!("file {number} can't be made: {fault}"),
            }
        }
        many
    }

    /// What root may still write to it, in bytes.
    pub fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.path()).expect("it is mounted");
        stat.f_bfree * stat.f_frsize
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What a test still has open there must not keep the mount.
        run(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

fn write_while_it_fits(filler: &mut File) {
    let mut piece = PIECE;
    while piece > 0 {
        match filler.write(&[1; PIECE][..piece]) {
            Ok(_) => {}
            Err(fault) if fault.kind() == ErrorKind::StorageFull => piece /= 2,
            Err(fault) => panic!("the disk can't be filled: {fault}"),
        }
    }
}

fn run(command: &mut Command) -> bool {
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn it_can_be_filled_and_emptied_and_leaves_no_mount() {
        let Some(disk) = SmallDisk::mount("it_can_be_filled_and_emptied_and_leaves_no_mount", 16 << 20)
        else {
            return;
        };
        let mounted = |at: &Path| fs::read_to_string("/proc/mounts").unwrap().contains(at.to_str().unwrap());
        let file = disk.path().join("file");
        disk.fill(0);
        assert_eq!(fs::write(&file, "x").unwrap_err().kind(), ErrorKind::StorageFull);
        disk.make_room();
        fs::write(&file, vec![0; 1 << 20]).unwrap();
        disk.fill(0);
        fs::remove_file(&file).unwrap();
        disk.fill_again();
        assert_eq!(fs::write(&file, "x").unwrap_err().kind(), ErrorKind::StorageFull);
        let at = disk.path();
        assert!(mounted(&at));
        drop(disk);
        assert!(!mounted(&at) && !at.exists());
    }
}
