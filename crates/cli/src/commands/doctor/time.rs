//! Whether something keeps this host's clock in step.
#![expect(
    unsafe_code,
    reason = "adjtimex(2) has no safe wrapper; it is only asked, with a structure of zeroes"
)]

use super::finding::{Finding, info, ok, warning};
use std::mem::zeroed;

/// What the kernel says: the state of its clock, and flags.
pub(super) fn finding() -> Finding {
    // SAFETY: all of `timex` are numbers, for which zero is a value; `modes` of zero changes nothing.
    let mut asked: libc::timex = unsafe { zeroed() };
    // SAFETY: the structure lives for the call.
    let state = unsafe { libc::adjtimex(&raw mut asked) };
    judge(state, asked.status)
}

fn judge(state: i32, flags: i32) -> Finding {
    const ID: &str = "host.time";
    if state < 0 {
        return info(ID, "the kernel does not tell whether its clock is kept in step");
    }
    if state != libc::TIME_ERROR && flags & libc::STA_UNSYNC == 0 {
        return ok(ID, "the clock is kept in step");
    }
    let remedy = "run systemd-timesyncd, chrony or another NTP client; a machine that gets its time from its host \
                  otherwise is fine as well";
    warning(ID, "the kernel knows of nobody who keeps its clock in step", remedy)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn what_the_kernel_says_is_understood() {
        assert_eq!(judge(libc::TIME_OK, 0).severity, Severity::Ok);
        assert_eq!(judge(libc::TIME_OK, libc::STA_UNSYNC).severity, Severity::Warning);
        assert_eq!(judge(libc::TIME_ERROR, 0).severity, Severity::Warning);
        assert_eq!(judge(-1, 0).severity, Severity::Info);
        assert_eq!(finding().id, "host.time");
    }
}
