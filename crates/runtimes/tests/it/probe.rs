//! Programs of one system call each, made on the spot: nothing in a small image makes the calls
//! that a sandbox must refuse.

/// A program that makes system call `number` with `arguments` and ends with its error number.
#[cfg(target_arch = "x86_64")]
pub(crate) fn program(number: u32, [first, second]: [u32; 2]) -> Vec<u8> {
    program_of_three(number, [first, second, 0])
}

/// The same with one argument more.
#[cfg(target_arch = "x86_64")]
pub(crate) fn program_of_three(number: u32, arguments: [u32; 3]) -> Vec<u8> {
    let mut code = vec![0xBF];
    code.extend(arguments[0].to_le_bytes()); // mov edi, first
    code.push(0xBE);
    code.extend(arguments[1].to_le_bytes()); // mov esi, second
    code.push(0xBA);
    code.extend(arguments[2].to_le_bytes()); // mov edx, third
    code.extend([0x4D, 0x31, 0xD2]); // xor r10, r10
    code.extend([0x4D, 0x31, 0xC0]); // xor r8, r8
    code.push(0xB8);
    code.extend(number.to_le_bytes()); // mov eax, number
    code.extend([0x0F, 0x05]); // syscall
    code.extend([0xF7, 0xD8]); // neg eax
    code.extend([0x89, 0xC7]); // mov edi, eax
    code.extend([0xB8, 60, 0, 0, 0]); // mov eax, exit
    code.extend([0x0F, 0x05]); // syscall
    elf(62, &code)
}

/// A program that does what only the kernel may: the kernel kills it with a segmentation fault.
pub(crate) fn crash() -> Vec<u8> {
    elf(62, &[0xF4]) // hlt
}

/// The smallest 64-bit file that Linux runs: one header, one segment, the code right behind.
fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let length = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend(2_u16.to_le_bytes()); // executable
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend((BASE + HEADERS).to_le_bytes()); // entry
    file.extend(64_u64.to_le_bytes()); // program headers
    file.extend(0_u64.to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    for value in [64_u16, 56, 1, 0, 0, 0] {
        file.extend(value.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes()); // loaded
    file.extend(5_u32.to_le_bytes()); // read, execute
    for value in [0, BASE, BASE, length, length, 0x1000] {
        file.extend(value.to_le_bytes());
    }
    file.extend(code);
    file
}
