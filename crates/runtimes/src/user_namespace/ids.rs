//! Which numbers a user may have besides its own.

use crate::RuntimeError;
use std::fs;

/// Where the host says which numbers are given to whom.
const UIDS: &str = "/etc/subuid";
const GIDS: &str = "/etc/subgid";
/// What numbers to give are chosen from.
const FIRST: u64 = 100_000;
/// Images know users up to 65534, nobody.
pub(super) const ENOUGH: u64 = 1 << 16;

/// First and count.
pub(super) type Given = (u32, u32);

/// Whoever runs this program.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) uid: u32,
    pub(super) gid: u32,
    name: Option<String>,
}

/// What was given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) uids: Vec<Given>,
    pub(super) gids: Vec<Given>,
}

impl Person {
    pub(super) fn current() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self { uid, gid: rustix::process::getegid().as_raw(), name: name_of(&known, uid) }
    }

    /// What the host gives it.
    pub(super) fn numbers(&self) -> Result<Numbers, RuntimeError> {
        self.find(UIDS, GIDS, &[UIDS, GIDS].map(|file| fs::read_to_string(file).unwrap_or_default()))
    }

    fn find(&self, uid_file: &str, gid_file: &str, texts: &[String; 2]) -> Result<Numbers, RuntimeError> {
        let [uids, gids] = [&texts[0], &texts[1]].map(|text| self.given(text).collect::<Vec<_>>());
        let missing = if uids.is_empty() { uid_file } else { gid_file };
        if !uids.is_empty() && !gids.is_empty() {
            return Ok(Numbers { uids, gids });
        }
        let free = texts.iter().flat_map(|text| text.lines()).filter_map(parse);
        let free = free.map(|(_, (first, count))| u64::from(first) + u64::from(count)).fold(FIRST, u64::max);
        let (who, range) = (self.name(), format!("{free}-{}", free + ENOUGH - 1));
        Err(RuntimeError::Host(format!(
            "the user {who} may have no other users, which jobs need: {missing} gives it none; as root, \
             `usermod --add-subuids {range} --add-subgids {range} {who}`, or run executor as root"
        )))
    }

    fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }

    fn given(&self, text: &str) -> impl Iterator<Item = Given> {
        let number = self.uid.to_string();
        let is_ours = move |who: &str| who == number || self.name.as_deref() == Some(who);
        text.lines().filter_map(parse).filter(move |(who, _)| is_ours(who)).map(|(_, given)| given)
    }
}

fn name_of(known: &str, uid: u32) -> Option<String> {
    known.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Whose, and which: a line of `/etc/subuid` or its like.
fn parse(line: &str) -> Option<(&str, Given)> {
    let mut fields = line.split(':').map(str::trim);
    let (who, first, count) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    (count > 0).then_some((who, (first, count)))
}

/// What a program that maps is told: from 0 on, inside, the user itself, and then what it was given.
pub(super) fn map(own: u32, given: &[Given]) -> Vec<String> {
    let mut inside = 0_u32;
    let mut told = Vec::new();
    for (outside, count) in std::iter::once((own, 1)).chain(given.iter().copied()) {
        // More than there are numbers inside can't be used.
        let count = count.min(u32::MAX - inside);
        if count > 0 {
            told.extend([inside, outside, count].map(|number| number.to_string()));
            inside += count;
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str =
        "other:100000:65536\nann:165536:1000\n# no line\nann:x:7\nann:5:0\n1000:300000:65536\n";

    fn ann() -> Person {
        let known = "root:x:0:0::/:/bin/sh\nann:x:1000:1000:A:/home/ann:/bin/sh\n";
        Person { uid: 1000, gid: 1001, name: name_of(known, 1000) }
    }

    fn found(uids: &str, gids: &str) -> Result<Numbers, String> {
        ann().find("U", "G", &[uids.to_owned(), gids.to_owned()]).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_given_is_found_by_name_and_by_number() {
        let ranges = vec![(165_536, 1_000), (300_000, 65_536)];
        assert_eq!(found(GIVEN, GIVEN), Ok(Numbers { uids: ranges.clone(), gids: ranges }));
        let told = map(1000, &[(165_536, 1_000), (300_000, 65_536)]);
        assert_eq!(told, ["0", "1000", "1", "1", "165536", "1000", "1001", "300000", "65536"]);
    }

    #[test]
    fn more_numbers_than_there_are_inside_are_left_out() {
        let told = map(7, &[(8, u32::MAX), (9, 5)]);
        assert_eq!(told, ["0", "7", "1", "1", "8", "4294967294"]);
    }

    #[test]
    fn whoever_is_given_none_is_told_what_to_do() {
        for (uids, gids, missing) in
            [("", GIVEN, "U gives"), (GIVEN, "other:1:2\n", "G gives"), ("", "", "U gives")]
        {
            let said = found(uids, gids).unwrap_err();
            assert!(said.contains(missing) && said.contains(" ann ") && !said.contains('\n'), "{said}");
        }
        let said = found(GIVEN, "").unwrap_err();
        let free = "--add-subuids 365536-431071 --add-subgids 365536-431071 ann`";
        assert!(said.contains(free), "after all that is given to anybody: {said}");
        let nameless = Person { name: None, ..ann() };
        let said = nameless.find("U", "G", &[String::new(), String::new()]).unwrap_err().to_string();
        assert!(said.contains("--add-subuids 100000-165535 --add-subgids 100000-165535 1000`"), "{said}");
    }
}
