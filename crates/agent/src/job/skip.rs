//! A step whose key ends in `.pre` may say which step comes next.

use super::Failure;
use crate::workspace::Confined;
use serde::Deserialize;

/// Where it says so, in the workspace's root.
const FILE: &str = "skip.json";
/// More than any step's key needs.
const LIMIT: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Skip {
    next_step: String,
}

/// Takes the file away and reads the key of the next step; `None` when there is none.
pub(super) fn read(confined: &Confined) -> Result<Option<String>, Failure> {
    let bad = |fault: String| Failure::bad_job(format!("checking for skip file: {fault}"));
    let Some(content) = confined.take(FILE, LIMIT).map_err(|fault| bad(fault.to_string()))? else {
        return Ok(None);
    };
    let skip: Skip =
        serde_json::from_slice(&content).map_err(|fault| bad(format!("unmarshalling skip file: {fault}")))?;
    Ok(Some(skip.next_step))
}

/// The index of the step called `wanted`, from `next` on. One that is not there is an error: to
/// leave out everything that remains would let the job complete without having done its work.
pub(super) fn to(
    wanted: &str,
    next: usize,
    count: usize,
    name: impl Fn(usize) -> String,
) -> Result<usize, Failure> {
    (next..count).find(|index| name(*index) == wanted).ok_or_else(|| {
        Failure::bad_job(format!(
            "{FILE} names {wanted:?} as the next step, but no step that follows has that key"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_step_that_follows_can_be_next() {
        let names = ["a.pre", "a.run", "b.pre", "b.run"];
        let find = |wanted, next| to(wanted, next, names.len(), |index| names[index].to_owned());
        assert_eq!(find("b.pre", 1), Ok(2));
        assert_eq!(find("a.run", 1), Ok(1));
        assert!(find("a.pre", 1).is_err());
        assert!(find("", 1).is_err());
    }
}
