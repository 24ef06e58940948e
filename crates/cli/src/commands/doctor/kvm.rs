//! Whether virtual machines would run at a useful speed.
//!
//! That the device is there, and opens, says little: some clouds' kernels offer one that runs a guest's kernel
//! instruction by instruction, a thousand times slower, until it meets one that it does not know. So a loop is
//! timed in a virtual machine.

use super::finding::{Finding, info};

const ID: &str = "kernel.kvm";
#[cfg(target_arch = "x86_64")]
const DEVICE: &str = "/dev/kvm";

/// Blocking; takes some 0.2 s where KVM is not what it seems.
#[cfg(target_arch = "x86_64")]
pub(super) fn finding() -> Finding {
    if !std::path::Path::new(DEVICE).exists() {
        return info(ID, format!("there is no {DEVICE}: no virtual machines here"));
    }
    judge(machine::time_a_loop())
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn finding() -> Finding {
    info(ID, "whether virtual machines run here is not looked at on this architecture")
}

#[cfg(target_arch = "x86_64")]
fn judge(taken: Result<std::time::Duration, String>) -> Finding {
    let rounds = machine::ROUNDS;
    match taken {
        Ok(taken) if taken <= machine::AT_MOST => info(
            ID,
            format!("virtual machines run at the processor's own speed ({rounds} rounds in {taken:.1?})"),
        ),
        Ok(taken) => info(
            ID,
            format!(
                "{DEVICE} is there, but its machines are emulated, too slow for jobs: {rounds} rounds of a loop took {taken:.1?}"
            ),
        ),
        Err(why) => info(ID, format!("{DEVICE} is there, but no virtual machine runs: {why}")),
    }
}

/// The smallest machine that can count.
#[cfg(target_arch = "x86_64")]
mod machine {
    #![expect(unsafe_code, reason = "a guest's memory is ours, and the kernel is told where it is")]

    use kvm_bindings::kvm_userspace_memory_region;
    use kvm_ioctls::{Kvm, VcpuExit};
    use std::time::{Duration, Instant};

    pub(super) const ROUNDS: u64 = 100_000;
    /// A processor takes a fraction of a millisecond; an emulator more than 100.
    pub(super) const AT_MOST: Duration = Duration::from_millis(20);
    const PAGE: usize = 4096;
    /// Where the page is in the guest.
    const ADDRESS: u64 = 0x1000;
    /// `dec ecx`, back to it unless that made zero, `hlt`; in real mode.
    const PROGRAM: [u8; 5] = [0x66, 0x49, 0x75, 0xfc, 0xf4];

    #[repr(C, align(4096))]
    struct Page([u8; PAGE]);

    pub(super) fn time_a_loop() -> Result<Duration, String> {
        let told = |what: &'static str| move |error: kvm_ioctls::Error| format!("{what}: {error}");
        let mut memory = Box::new(Page([0; PAGE]));
        memory.0[..PROGRAM.len()].copy_from_slice(&PROGRAM);
        let kvm = Kvm::new().map_err(told("it can't be opened"))?;
        let machine = kvm.create_vm().map_err(told("none can be made"))?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: ADDRESS,
            memory_size: PAGE as u64,
            userspace_addr: (&raw mut *memory) as u64,
        };
        // SAFETY: the page is ours, aligned and of this size, and outlives the machine: it was made first.
        unsafe { machine.set_user_memory_region(region) }.map_err(told("it takes no memory"))?;
        let mut processor = machine.create_vcpu(0).map_err(told("it gets no processor"))?;
        let mut segments = processor.get_sregs().map_err(told("its registers can't be read"))?;
        (segments.cs.base, segments.cs.selector) = (0, 0);
        processor.set_sregs(&segments).map_err(told("its registers can't be set"))?;
        let mut registers = processor.get_regs().map_err(told("its registers can't be read"))?;
        // The second bit of the flags is always set.
        (registers.rip, registers.rcx, registers.rflags) = (ADDRESS, ROUNDS, 2);
        processor.set_regs(&registers).map_err(told("its registers can't be set"))?;
        let begun = Instant::now();
        match processor.run().map_err(told("it does not run"))? {
            VcpuExit::Hlt => Ok(begun.elapsed()),
            other => Err(format!("it stopped with {other:?}")),
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_device_alone_proves_nothing() {
        assert!(judge(Ok(Duration::from_micros(100))).seen.contains("own speed"));
        assert!(judge(Ok(Duration::from_millis(180))).seen.contains("emulated"));
        assert!(judge(Err("no".to_owned())).seen.contains("no virtual machine runs"));
    }

    #[test]
    fn this_machine_is_told_one_or_the_other() {
        assert_eq!(finding().id, ID);
    }
}
