//! Memory that this process has used and needs no more.
//!
//! What a process was started with costs more than what it goes on with: whole pages of what was freed stay its
//! own, and so do those of the stack that it once reached down to. Of a process that does little but wait, and of
//! its copies, these are most.
#![expect(unsafe_code, reason = "malloc_trim(3) and madvise(2) have no safe wrapper")]

use rustix::process::getpid;
use rustix::thread::gettid;
use std::fs;

/// What is left alone below the stack pointer, in bytes: what is called from here, and signals' handlers.
const IN_USE: usize = 16 << 10;
/// Bytes.
const PAGE: usize = 4096;

/// Gives it back to the kernel. Takes a fraction of a millisecond; worth it where a process has got ready.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes nothing from anybody who has not freed it.
    unsafe {
        libc::malloc_trim(0);
    }
    if gettid() == getpid() {
        give_back_stack();
    }
}

/// What the first thread's stack, which the kernel lets grow and never shrinks, does not reach down to any more.
fn give_back_stack() {
    let here = [0_u8; 1];
    let end = (here.as_ptr().addr().saturating_sub(IN_USE)) & !(PAGE - 1);
    let Some(start) = fs::read_to_string("/proc/self/maps").ok().and_then(|maps| stack_start(&maps)) else {
        return;
    };
    if start < end {
        // SAFETY: these pages are of this thread's stack, below what is in use of it. The next who reaches down
        // there writes before reading, and finds zeros until then.
        unsafe {
            libc::madvise(std::ptr::with_exposed_provenance_mut(start), end - start, libc::MADV_DONTNEED)
        };
    }
}

/// Its lowest address, as `/proc/self/maps` tells it.
fn stack_start(maps: &str) -> Option<usize> {
    let line = maps.lines().find(|line| line.ends_with("[stack]"))?;
    usize::from_str_radix(line.split_once('-')?.0, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_is_found_where_the_kernel_says() {
        let maps = "7f00-7f10 r-xp 0 00:00 0 /x\n7ffc1000-7ffc3000 rw-p 0 00:00 0    [stack]\n7ffd-7ffe r 0 0 0 [vdso]\n";
        assert_eq!(stack_start(maps), Some(0x7ffc_1000));
        assert_eq!(stack_start("7f00-7f10 r-xp 0 00:00 0 /x\n"), None);
    }
}
