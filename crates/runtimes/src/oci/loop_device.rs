//! Files as block devices, and throwing a file system away without writing it out.
#![expect(
    unsafe_code,
    reason = "ioctl(2) is typed by its number only; each call here names its argument's type"
)]

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::ioctl::{Setter, ioctl, opcode};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

const LOOP_CTL_GET_FREE: u32 = 0x4C82;
const LOOP_CONFIGURE: u32 = 0x4C0A;
/// The device frees itself with its last user.
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const EXT4_IOC_SHUTDOWN: u32 = opcode::read::<u32>(b'X', 125);
/// Nothing more is written, not even the journal.
const EXT4_GOING_FLAGS_NOLOGFLUSH: u32 = 2;

/// Others may take the free device first; this often.
const ATTEMPTS: usize = 64;

/// `struct loop_config` of `linux/loop.h`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    /// Of `struct loop_info64`, in order: device, inode, rdevice, offset, sizelimit.
    numbers: [u64; 5],
    /// number, `encrypt_type`, `encrypt_key_size`.
    encryption: [u32; 3],
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopConfig>() == 304, "the size that the kernel knows");

/// A file that can be mounted. The device is freed when this is dropped and nothing is mounted.
pub(super) struct LoopDevice {
    pub(super) path: PathBuf,
    _open: OwnedFd,
}

impl LoopDevice {
    pub(super) fn attach(file: &File) -> io::Result<Self> {
        let control = open("/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        for _ in 0..ATTEMPTS {
            let path = PathBuf::from(format!("/dev/loop{}", free_number(&control)?));
            let device = open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
            match configure(&device, file) {
                Err(Errno::BUSY) => {}
                result => return result.map(|()| Self { path, _open: device }).map_err(io::Error::from),
            }
        }
        Err(Errno::BUSY.into())
    }
}

fn free_number(control: &OwnedFd) -> Result<i32, Errno> {
    /// The number is what the call returns, not what it fills in.
    struct GetFree;
    // SAFETY: LOOP_CTL_GET_FREE takes no argument.
    unsafe impl rustix::ioctl::Ioctl for GetFree {
        type Output = i32;
        const IS_MUTATING: bool = false;
        fn opcode(&self) -> u32 {
            LOOP_CTL_GET_FREE
        }
        fn as_ptr(&mut self) -> *mut rustix::ffi::c_void {
            std::ptr::null_mut()
        }
        unsafe fn output_from_ptr(returned: i32, _: *mut rustix::ffi::c_void) -> rustix::io::Result<i32> {
            Ok(returned)
        }
    }
    // SAFETY: as above.
    unsafe { ioctl(control, GetFree) }
}

fn configure(device: &OwnedFd, file: &File) -> Result<(), Errno> {
    let config = LoopConfig {
        fd: file.as_raw_fd().cast_unsigned(),
        block_size: 0,
        numbers: [0; 5],
        encryption: [0; 3],
        flags: LO_FLAGS_AUTOCLEAR,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads a `struct loop_config`, whose layout is asserted above.
    unsafe { ioctl(device, Setter::<LOOP_CONFIGURE, LoopConfig>::new(config)) }
}

/// Makes the ext4 file system that holds `directory` forget what it has not written. It can only
/// be unmounted afterwards.
pub(super) fn shut_down(directory: &Path) -> io::Result<()> {
    let root = open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: EXT4_IOC_SHUTDOWN reads a u32.
    unsafe { ioctl(root.as_fd(), Setter::<EXT4_IOC_SHUTDOWN, u32>::new(EXT4_GOING_FLAGS_NOLOGFLUSH)) }?;
    Ok(())
}
