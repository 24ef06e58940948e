//! The job's device: made with its namespace, and there until that is gone.
//!
//! One that a program makes for itself is taken down by the kernel while that program ends, which makes whoever waits
//! for its end wait for some 20 ms more. This one is taken down with the namespace, for which nobody waits.
#![expect(
    unsafe_code,
    reason = "ioctl(2) is typed by its number only; each call here names its argument's type"
)]

use super::DEVICE;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, Opcode, Updater, ioctl, opcode};
use std::ffi::c_int;
use std::io;
use std::os::fd::OwnedFd;

/// Where such devices come from.
pub(super) const TUN: &str = "/dev/net/tun";
const TUNSETIFF: Opcode = opcode::write::<c_int>(b'T', 202);
const TUNSETPERSIST: Opcode = opcode::write::<c_int>(b'T', 203);
const TUNSETOWNER: Opcode = opcode::write::<c_int>(b'T', 204);
/// Whole frames, and nothing before them: as both programs ask for it.
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;

/// `struct ifreq` of `linux/if.h`.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u16; 11],
}

const _: () = assert!(size_of::<Request>() == 40, "the size that the kernel knows");

/// Who may take what leaves by it without rights over the namespace: nobody's user, which no job begins as. Without an owner
/// everybody might who can open [`TUN`].
const OWNER: usize = 65_534;
/// Whose it is where that user can't be told, as in a container that has fewer.
const OWNER_OF_FEW: usize = 0;

/// Makes it in the namespace that this thread is in.
pub(super) fn make() -> io::Result<()> {
    let tun = attach()?;
    // SAFETY: TUNSETOWNER takes a number.
    let own = |user| unsafe { ioctl(&tun, IntegerSetter::<TUNSETOWNER>::new_usize(user)) };
    own(OWNER).or_else(|_| own(OWNER_OF_FEW)).map_err(context)?;
    // SAFETY: TUNSETPERSIST takes a number.
    unsafe { ioctl(&tun, IntegerSetter::<TUNSETPERSIST>::new_usize(1)) }.map_err(context)
}

/// Takes what leaves by it, as the programs do, which may have made it themselves.
pub(super) fn attach() -> io::Result<OwnedFd> {
    let tun = open(TUN, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(context)?;
    let mut request = Request { name: [0; 16], flags: IFF_TAP | IFF_NO_PI, rest: [0; 11] };
    request.name[..DEVICE.len()].copy_from_slice(DEVICE.as_bytes());
    // SAFETY: TUNSETIFF reads and writes a `struct ifreq`, whose size is asserted above.
    unsafe { ioctl(&tun, Updater::<TUNSETIFF, Request>::new(&mut request)) }.map_err(context)?;
    Ok(tun)
}

fn context(error: Errno) -> io::Error {
    io::Error::new(error.kind(), format!("{TUN}: {error}"))
}
