//! An emulator of the instructions that kernels use, so that code for wider vectors than this CPU has is tested on it.
//!
//! It runs the instructions that the assembler wrote, on the memories that they name: addresses are those of this process.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use std::collections::BTreeMap;

const WIDTH: usize = 16;
type Vector = [u32; WIDTH];

/// The number of a vector or mask register.
fn number(register: Register) -> usize {
    let first = match register {
        Register::K0
        | Register::K1
        | Register::K2
        | Register::K3
        | Register::K4
        | Register::K5
        | Register::K6
        | Register::K7 => Register::K0,
        _ => Register::ZMM0,
    };
    register as usize - first as usize
}

/// The 64-bit register that a general register is part of.
fn full(register: Register) -> Register {
    match register {
        Register::EAX => Register::RAX,
        other => other,
    }
}

/// The state of the CPU.
struct Cpu {
    general: BTreeMap<Register, u64>,
    vectors: [Vector; 32],
    masks: [u16; 8],
    below: bool,
    code: u64,
}

/// Runs a function whose instructions these are, with its offsets, on a table of addresses.
///
/// # Safety
/// The table must hold the addresses of memories as the function expects them.
pub unsafe fn run(
    code: &[u8],
    start: u64,
    instructions: &[(u64, Instruction)],
    table: *const *mut f32,
) {
    let mut stack = vec![0u64; 1 << 14];
    let mut cpu = Cpu {
        general: BTreeMap::new(),
        vectors: [[0x7fc0_0000; WIDTH]; 32],
        masks: [0; 8],
        below: false,
        code: code.as_ptr() as u64,
    };
    let top = stack.as_mut_ptr() as u64 + (1 << 16);
    cpu.general.insert(Register::RSP, top);
    cpu.general.insert(Register::RDI, table as u64);
    let at = |offset: u64| instructions.iter().position(|(at, _)| *at == offset);
    let mut next = at(start).unwrap();
    loop {
        let instruction = &instructions[next].1;
        next += 1;
        match instruction.mnemonic() {
            Mnemonic::Ret => break,
            Mnemonic::Jb if cpu.below => next = at(instruction.near_branch_target()).unwrap(),
            Mnemonic::Jb => {}
            _ => cpu.step(instruction),
        }
    }
    assert_eq!(cpu.general[&Register::RSP], top, "the stack is as it was");
}

impl Cpu {
    fn address(&self, i: &Instruction) -> u64 {
        if i.memory_base() == Register::RIP {
            return self.code + i.memory_displacement64();
        }
        let of = |register: Register| match register {
            Register::None => 0,
            register => self.general[&register],
        };
        let scaled = of(i.memory_index()) * u64::from(i.memory_index_scale());
        of(i.memory_base())
            .wrapping_add(scaled)
            .wrapping_add(i.memory_displacement64())
    }

    fn general(&self, register: Register) -> u64 {
        self.general.get(&full(register)).copied().unwrap_or(0)
    }

    /// The last operand of a vector instruction.
    fn vector(&self, i: &Instruction, k: u32) -> Vector {
        match i.op_kind(k) {
            OpKind::Register => self.vectors[number(i.op_register(k))],
            // SAFETY: the caller of `run` vouches for the addresses.
            _ => unsafe { std::ptr::read_unaligned(self.address(i) as *const Vector) },
        }
    }

    fn write(&mut self, i: &Instruction, value: Vector) {
        let mask = match i.op_mask() {
            Register::None => u16::MAX,
            mask => self.masks[number(mask)],
        };
        if i.op_kind(0) == OpKind::Memory {
            assert_eq!(mask, u16::MAX, "stores are whole");
            // SAFETY: as above.
            unsafe { std::ptr::write_unaligned(self.address(i) as *mut Vector, value) };
            return;
        }
        let to = &mut self.vectors[number(i.op_register(0))];
        for k in 0..WIDTH {
            if mask >> k & 1 == 1 {
                to[k] = value[k];
            } else if i.zeroing_masking() {
                to[k] = 0;
            }
        }
    }

    fn map(&mut self, i: &Instruction, f: impl Fn(f32, f32, f32) -> f32) {
        let d = self.vectors[number(i.op_register(0))];
        let (a, b) = (self.vector(i, 1), self.vector(i, i.op_count() - 1));
        let of = |k: usize| {
            f(
                f32::from_bits(d[k]),
                f32::from_bits(a[k]),
                f32::from_bits(b[k]),
            )
        };
        self.write(i, std::array::from_fn(|k| of(k).to_bits()));
    }

    fn bits(&mut self, i: &Instruction, f: impl Fn(u32, u32) -> u32) {
        let (a, b) = (self.vector(i, 1), self.vector(i, 2));
        self.write(i, std::array::from_fn(|k| f(a[k], b[k])));
    }

    fn step(&mut self, i: &Instruction) {
        match i.mnemonic() {
            Mnemonic::Vaddps => self.map(i, |_, a, b| a + b),
            Mnemonic::Vsubps => self.map(i, |_, a, b| a - b),
            Mnemonic::Vmulps => self.map(i, |_, a, b| a * b),
            Mnemonic::Vdivps => self.map(i, |_, a, b| a / b),
            Mnemonic::Vminps => self.map(i, |_, a, b| if a < b { a } else { b }),
            Mnemonic::Vmaxps => self.map(i, |_, a, b| if a > b { a } else { b }),
            Mnemonic::Vsqrtps => self.map(i, |_, _, b| b.sqrt()),
            Mnemonic::Vfmadd231ps => self.map(i, |d, a, b| a.mul_add(b, d)),
            Mnemonic::Vfmsub231ps => self.map(i, |d, a, b| a.mul_add(b, -d)),
            Mnemonic::Vfnmadd231ps => self.map(i, |d, a, b| (-a).mul_add(b, d)),
            Mnemonic::Vfmadd213ps => self.map(i, |d, a, b| d.mul_add(a, b)),
            Mnemonic::Vfmsub213ps => self.map(i, |d, a, b| d.mul_add(a, -b)),
            Mnemonic::Vfnmadd213ps => self.map(i, |d, a, b| (-d).mul_add(a, b)),
            Mnemonic::Vfmadd132ps => self.map(i, |d, a, b| d.mul_add(b, a)),
            Mnemonic::Vfmsub132ps => self.map(i, |d, a, b| d.mul_add(b, -a)),
            Mnemonic::Vfnmadd132ps => self.map(i, |d, a, b| (-d).mul_add(b, a)),
            Mnemonic::Vandps => self.bits(i, |a, b| a & b),
            Mnemonic::Vxorps => self.bits(i, |a, b| a ^ b),
            Mnemonic::Vpaddd => self.bits(i, u32::wrapping_add),
            Mnemonic::Vcvtps2dq => {
                let a = self.vector(i, 1);
                let whole = |x: u32| f32::from_bits(x).round_ties_even() as i32 as u32;
                self.write(i, a.map(whole));
            }
            Mnemonic::Vpslld => {
                let a = self.vector(i, 1);
                self.write(i, a.map(|x| x << i.immediate(2)));
            }
            Mnemonic::Vmovaps | Mnemonic::Vmovups => {
                let a = self.vector(i, 1);
                self.write(i, a);
            }
            Mnemonic::Vbroadcastss => {
                // SAFETY: as above.
                let x = unsafe { std::ptr::read_unaligned(self.address(i) as *const u32) };
                self.write(i, [x; WIDTH]);
            }
            Mnemonic::Vblendmps => {
                let (a, b) = (self.vector(i, 1), self.vector(i, 2));
                let mask = self.masks[number(i.op_mask())];
                let to = number(i.op_register(0));
                self.vectors[to] =
                    std::array::from_fn(|k| if mask >> k & 1 == 1 { b[k] } else { a[k] });
            }
            Mnemonic::Vcmpps => self.compare(i),
            Mnemonic::Korw | Mnemonic::Kandw => {
                let of = |k: u32| self.masks[number(i.op_register(k))];
                let (a, b) = (of(1), of(2));
                let both = if i.mnemonic() == Mnemonic::Korw {
                    a | b
                } else {
                    a & b
                };
                self.masks[number(i.op_register(0))] = both;
            }
            Mnemonic::Kmovw => {
                let bits = self.general(i.op_register(1)) as u16;
                self.masks[number(i.op_register(0))] = bits;
            }
            Mnemonic::Vzeroupper | Mnemonic::Stmxcsr | Mnemonic::Ldmxcsr => {}
            _ => self.whole(i),
        }
    }

    fn compare(&mut self, i: &Instruction) {
        let (a, b) = (self.vector(i, 1), self.vector(i, 2));
        let holds = |a: f32, b: f32| match i.immediate(3) {
            0x00 => a == b,
            0x04 => a != b,
            0x11 => a < b,
            0x12 => a <= b,
            0x1d => a >= b,
            0x1e => a > b,
            other => panic!("comparison {other}"),
        };
        let mut bits = 0;
        for k in 0..WIDTH {
            let holds = holds(f32::from_bits(a[k]), f32::from_bits(b[k]));
            bits |= u16::from(holds) << k;
        }
        if i.op_mask() != Register::None {
            bits &= self.masks[number(i.op_mask())];
        }
        self.masks[number(i.op_register(0))] = bits;
    }

    /// The instructions on general registers.
    fn whole(&mut self, i: &Instruction) {
        let read = |cpu: &Cpu, k: u32| match i.op_kind(k) {
            OpKind::Register => cpu.general(i.op_register(k)),
            OpKind::Memory => {
                // SAFETY: as above.
                unsafe { std::ptr::read_unaligned(cpu.address(i) as *const u64) }
            }
            _ => i.immediate(k),
        };
        let target = full(i.op0_register());
        match i.mnemonic() {
            Mnemonic::Mov if i.op_kind(0) == OpKind::Memory => {
                let x = read(self, 1);
                // SAFETY: as above.
                unsafe { std::ptr::write_unaligned(self.address(i) as *mut u64, x) };
            }
            Mnemonic::Mov => {
                let x = read(self, 1);
                self.general.insert(target, x);
            }
            Mnemonic::Add => {
                let x = read(self, 0).wrapping_add(read(self, 1));
                self.general.insert(target, x);
            }
            Mnemonic::And => {
                let x = read(self, 0) & read(self, 1);
                self.general.insert(target, x);
            }
            Mnemonic::Or => {
                let x = read(self, 0) | read(self, 1);
                self.general.insert(target, x);
            }
            Mnemonic::Xor => {
                let x = read(self, 0) ^ read(self, 1);
                self.general.insert(target, x);
            }
            Mnemonic::Cmp => self.below = read(self, 0) < read(self, 1),
            Mnemonic::Push => {
                let (x, top) = (read(self, 0), self.general[&Register::RSP] - 8);
                self.general.insert(Register::RSP, top);
                // SAFETY: the stack is that of `run`.
                unsafe { std::ptr::write_unaligned(top as *mut u64, x) };
            }
            Mnemonic::Pop => {
                let top = self.general[&Register::RSP];
                // SAFETY: the stack is that of `run`.
                let x = unsafe { std::ptr::read_unaligned(top as *const u64) };
                self.general.insert(target, x);
                self.general.insert(Register::RSP, top + 8);
            }
            other => panic!("the emulator lacks {other:?}"),
        }
    }
}
