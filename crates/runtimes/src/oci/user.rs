//! Whom a step runs as: the image's user, by name or number.
//!
//! `/etc/passwd` and `/etc/group` are the image's and not to be trusted: they are read layer by
//! layer, only as plain files of a bounded size, and without following any link.

use super::users;
use crate::RuntimeError;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, getxattr, open, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A longer file is read as if it ended here, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// Whom a step runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Further groups, by the image's `/etc/group`.
    pub(super) groups: Vec<u32>,
    /// What `HOME` becomes, unless the image or the step sets it.
    pub(super) home: String,
}

impl User {
    /// Refuses ids that a job with users of its own does not have.
    pub(super) fn check_range(&self) -> Result<(), RuntimeError> {
        match [self.uid, self.gid].iter().chain(&self.groups).find(|id| **id >= users::SIZE) {
            None => Ok(()),
            Some(id) => Err(RuntimeError::Refused(format!(
                "the image wants to run as user or group {id}, and a job's own end with {}: set \
                 EXECUTOR_USER_NAMESPACE=false to run it with the host's",
                users::SIZE - 1
            ))),
        }
    }
}

/// Resolves `user[:group]` of an image; `layers` are its layers, lowest first.
pub(super) fn resolve(wanted: &str, layers: &[PathBuf]) -> Result<User, RuntimeError> {
    let (user, group) = wanted.split_once(':').map_or((wanted, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    let passwd = read_plain(layers, "etc/passwd");
    let entry = passwd.lines().filter_map(Account::parse).find(|entry| entry.is(user));
    let number = user.parse().ok();
    let Some(uid) = entry.as_ref().map(|entry| entry.uid).or(number) else {
        return Err(RuntimeError::Refused(format!(
            "the image wants to run as user {user:?}, which is not in its /etc/passwd: name a user by number"
        )));
    };
    let groups = read_plain(layers, "etc/group");
    let gid = match group.filter(|group| !group.is_empty()) {
        None => entry.as_ref().map_or(0, |entry| entry.gid),
        Some(group) => find_group(&groups, group).ok_or_else(|| {
            RuntimeError::Refused(format!(
                "the image wants to run as group {group:?}, which is not in its /etc/group: name a group by number"
            ))
        })?,
    };
    let name = entry.as_ref().map(|entry| entry.name);
    let further =
        name.filter(|_| group.is_none()).map(|name| memberships(&groups, name, gid)).unwrap_or_default();
    // The kernel takes this number for "leave it as it is", which is root.
    if [uid, gid].iter().chain(&further).any(|id| *id == u32::MAX) {
        return Err(RuntimeError::Refused(format!(
            "the image wants to run as {wanted:?}, which comes to the number {}: no user or group may have it",
            u32::MAX
        )));
    }
    let home = entry.map(|entry| entry.home).filter(|home| home.starts_with('/')).unwrap_or("/");
    Ok(User { uid, gid, groups: further, home: home.to_owned() })
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _, uid, gid, _, home) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        Some(Self { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    }

    fn is(&self, wanted: &str) -> bool {
        self.name == wanted || wanted.parse() == Ok(self.uid)
    }
}

/// Name, number and members of each group.
fn parse_groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid, members) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        Some((name, gid.parse().ok()?, members))
    })
}

fn find_group(text: &str, wanted: &str) -> Option<u32> {
    let named = parse_groups(text).find(|(name, ..)| *name == wanted).map(|(_, gid, _)| gid);
    named.or_else(|| wanted.parse().ok())
}

fn memberships(text: &str, user: &str, own: u32) -> Vec<u32> {
    let has = |members: &str| members.split(',').any(|member| member == user);
    let mut groups: Vec<u32> = parse_groups(text)
        .filter(|(_, gid, members)| *gid != own && has(members))
        .map(|(_, gid, _)| gid)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// The file as the topmost layer that says anything about it has it; empty when it is not there,
/// was deleted, or is anything but a plain file.
fn read_plain(layers: &[PathBuf], path: &str) -> String {
    for layer in layers.iter().rev() {
        match open_plain(layer, path) {
            Ok(file) => {
                let mut bytes = Vec::new();
                let read = file.take(LONGEST_FILE).read_to_end(&mut bytes);
                return read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            }
            Err(Errno::NOENT) if !hides_lower(layer) => {}
            Err(_) => return String::new(),
        }
    }
    String::new()
}

fn open_plain(layer: &Path, path: &str) -> Result<File, Errno> {
    let root = open(layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let confined = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    // A FIFO or a device would block or act when it is opened for reading: look first.
    let seen = openat2(&root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), confined)?;
    if FileType::from_raw_mode(fstat(&seen)?.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(openat2(&root, path, flags, Mode::empty(), confined)?))
}

/// Whether this layer's `/etc` stands alone, in overlayfs' own form.
fn hides_lower(layer: &Path) -> bool {
    // The second is an ordinary user's.
    [c"trusted.overlay.opaque", c"user.overlay.opaque"].into_iter().any(|attribute| {
        let mut value = [0; 1];
        getxattr(layer.join("etc"), attribute, &mut value).is_ok_and(|length| &value[..length] == b"y")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn layer(passwd: &str, group: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        fs::write(dir.path().join("etc/group"), group).unwrap();
        let layers = vec![dir.path().to_owned()];
        (dir, layers)
    }

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/srv/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\napp:x:1001:\nextra:x:50:someone,app\n";

    #[test]
    fn names_numbers_and_groups() {
        let (_dir, layers) = layer(PASSWD, GROUP);
        let app = User { uid: 1000, gid: 1001, groups: vec![50], home: "/srv/app".into() };
        assert_eq!(resolve("app", &layers).unwrap(), app);
        assert_eq!(resolve("1000", &layers).unwrap(), app);
        assert_eq!(resolve("app:extra", &layers).unwrap(), User { gid: 50, groups: vec![], ..app });
        let root = User { uid: 0, gid: 0, groups: vec![], home: "/root".into() };
        assert_eq!(resolve("", &layers).unwrap(), root);
        let nobody = User { uid: 77, gid: 88, groups: vec![], home: "/".into() };
        assert_eq!(resolve("77:88", &layers).unwrap(), nobody);
        assert!(resolve("nosuch", &layers).unwrap_err().to_string().contains("\"nosuch\""));
        assert!(resolve("app:nosuch", &layers).is_err());
    }

    #[test]
    fn a_link_to_the_host_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("outside"), "evil:x:0:0::/:/bin/sh\n").unwrap();
        std::os::unix::fs::symlink("../outside", dir.path().join("etc/passwd")).unwrap();
        assert!(resolve("evil", &[dir.path().to_owned()]).is_err());
    }

    #[test]
    fn the_topmost_layer_wins() {
        let (_low, mut layers) = layer(PASSWD, GROUP);
        let (_top, top) = layer("app:x:7:7::/:/bin/sh\n", "");
        layers.extend(top);
        assert_eq!(resolve("app", &layers).unwrap().uid, 7);
    }
}
