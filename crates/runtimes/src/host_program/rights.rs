//! What root may do that works for a job.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};
use std::io;

/// Files in a workspace belong to whatever users its containers have had.
const KEPT: CapabilitySet =
    CapabilitySet::CHOWN.union(CapabilitySet::DAC_OVERRIDE).union(CapabilitySet::FOWNER);

/// Gives up what is not kept, for good: no program that this process becomes or starts has more.
pub(super) fn leave_all_but_those_over_files() -> io::Result<()> {
    for number in 0..u64::BITS {
        let right = CapabilitySet::from_bits_retain(1 << number);
        if KEPT.contains(right) {
            continue;
        }
        match remove_capability_from_bounding_set(right) {
            Ok(()) => {}
            // There are no more.
            Err(Errno::INVAL) => break,
            Err(fault) => return Err(fault.into()),
        }
    }
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: none })?;
    Ok(set_no_new_privs(true)?)
}
