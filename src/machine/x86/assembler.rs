//! The instructions that kernels use, for 256 and 512 bits.

use super::Isa;
use iced_x86::{Code, Encoder, Instruction, MemoryOperand, OpKind, Register};

/// A memory operand: `[base + index * scale + offset]`.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub base: Register,
    pub index: Register,
    pub offset: i64,
}

/// The last operand of an operation.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    Vector(u32),
    Memory(At),
}

/// Operations on vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    And,
    Xor,
    /// The addition of whole numbers.
    AddWhole,
    /// The operation `d = a b + d`.
    MulAddTo,
    /// The operation `d = a b - d`.
    MulSubTo,
    /// The operation `d = d - a b`.
    NegMulAddTo,
    /// The operation `d = d a + b`.
    TimesAdd,
    /// The operation `d = d a - b`.
    TimesSub,
    /// The operation `d = b - d a`.
    NegTimesAdd,
    /// The operation `d = d b + a`.
    ScaleAdd,
    /// The operation `d = d b - a`.
    ScaleSub,
    /// The operation `d = a - d b`.
    NegScaleAdd,
}

/// Comparisons, which are false for NaN except `NotEqual`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    Equal = 0x00,
    NotEqual = 0x04,
    Less = 0x11,
    LessEqual = 0x12,
    GreaterEqual = 0x1d,
    Greater = 0x1e,
}

/// The mask registers: the stored part of the last panel, two for intermediate results, and those of values.
pub const TAIL: Register = Register::K1;
pub const MASK: Register = Register::K2;
pub const MASK2: Register = Register::K3;
pub const MASKS: [Register; 4] = [Register::K4, Register::K5, Register::K6, Register::K7];

/// A writer of instructions.
pub struct Assembler {
    isa: Isa,
    encoder: Encoder,
    at: u64,
    /// True to count instructions without writing them.
    pub counting: bool,
    pub counts: Counts,
    /// Distances of jumps ahead, by the offsets where they are written.
    pub patches: Vec<(usize, u32)>,
    /// All instructions with their offsets.
    #[cfg(test)]
    pub log: Vec<(u64, Instruction)>,
}

/// The instructions of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All but those of the loop itself.
    pub instructions: usize,
    /// Those that read a vector or a number from memory.
    pub reads: usize,
    /// The writes of values that found no register.
    pub spills: usize,
}

pub(super) const VALID: &str = "the operands fit the instruction";

impl Assembler {
    pub fn new(isa: Isa) -> Assembler {
        Assembler {
            isa,
            encoder: Encoder::new(64),
            at: 0,
            counting: false,
            counts: Counts::default(),
            patches: Vec::new(),
            #[cfg(test)]
            log: Vec::new(),
        }
    }

    /// The offset of the next instruction.
    pub fn here(&self) -> u64 {
        self.at
    }

    pub fn finish(mut self) -> Vec<u8> {
        let mut code = self.encoder.take_buffer();
        for (at, distance) in self.patches {
            code[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
        code
    }

    /// Writes bytes that are not instructions.
    pub fn data(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.encoder.write_u8(*byte);
        }
        self.at += bytes.len() as u64;
    }

    pub(super) fn push(&mut self, instruction: Instruction) {
        self.counts.instructions += 1;
        let operands = 0..instruction.op_count();
        let last = operands.last().map(|k| instruction.op_kind(k));
        let stores = instruction.op0_kind() == OpKind::Memory;
        let immediate = matches!(last, Some(OpKind::Immediate8));
        let reads = match (immediate, last) {
            (false, last) => last == Some(OpKind::Memory),
            (true, _) => instruction.op_kind(instruction.op_count() - 2) == OpKind::Memory,
        };
        self.counts.reads += usize::from(reads && !stores);
        if self.counting {
            return;
        }
        #[cfg(test)]
        self.log.push((self.at, instruction));
        let n = self.encoder.encode(&instruction, self.at).expect(VALID);
        self.at += n as u64;
    }

    fn vector(&self, n: u32) -> Register {
        match self.isa {
            Isa::Avx512 => Register::ZMM0 + n,
            Isa::Avx2 => Register::YMM0 + n,
        }
    }

    fn wide(&self, avx512: Code, avx2: Code) -> Code {
        match self.isa {
            Isa::Avx512 => avx512,
            Isa::Avx2 => avx2,
        }
    }

    fn code(&self, op: Op) -> Code {
        match op {
            Op::Add => self.wide(
                Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vaddps_ymm_ymm_ymmm256,
            ),
            Op::Sub => self.wide(
                Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vsubps_ymm_ymm_ymmm256,
            ),
            Op::Mul => self.wide(
                Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vmulps_ymm_ymm_ymmm256,
            ),
            Op::Div => self.wide(
                Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vdivps_ymm_ymm_ymmm256,
            ),
            Op::Min => self.wide(
                Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae,
                Code::VEX_Vminps_ymm_ymm_ymmm256,
            ),
            Op::Max => self.wide(
                Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae,
                Code::VEX_Vmaxps_ymm_ymm_ymmm256,
            ),
            Op::And => self.wide(
                Code::EVEX_Vandps_zmm_k1z_zmm_zmmm512b32,
                Code::VEX_Vandps_ymm_ymm_ymmm256,
            ),
            Op::Xor => self.wide(
                Code::EVEX_Vxorps_zmm_k1z_zmm_zmmm512b32,
                Code::VEX_Vxorps_ymm_ymm_ymmm256,
            ),
            Op::AddWhole => self.wide(
                Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32,
                Code::VEX_Vpaddd_ymm_ymm_ymmm256,
            ),
            Op::MulAddTo => self.wide(
                Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vfmadd231ps_ymm_ymm_ymmm256,
            ),
            Op::MulSubTo => self.wide(
                Code::EVEX_Vfmsub231ps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vfmsub231ps_ymm_ymm_ymmm256,
            ),
            Op::NegMulAddTo => self.wide(
                Code::EVEX_Vfnmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vfnmadd231ps_ymm_ymm_ymmm256,
            ),
            Op::TimesAdd => self.wide(
                Code::EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vfmadd213ps_ymm_ymm_ymmm256,
            ),
            Op::TimesSub => self.wide(
                Code::EVEX_Vfmsub213ps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vfmsub213ps_ymm_ymm_ymmm256,
            ),
            Op::NegTimesAdd => self.wide(
                Code::EVEX_Vfnmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vfnmadd213ps_ymm_ymm_ymmm256,
            ),
            Op::ScaleAdd => self.wide(
                Code::EVEX_Vfmadd132ps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vfmadd132ps_ymm_ymm_ymmm256,
            ),
            Op::ScaleSub => self.wide(
                Code::EVEX_Vfmsub132ps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vfmsub132ps_ymm_ymm_ymmm256,
            ),
            Op::NegScaleAdd => self.wide(
                Code::EVEX_Vfnmadd132ps_zmm_k1z_zmm_zmmm512b32_er,
                Code::VEX_Vfnmadd132ps_ymm_ymm_ymmm256,
            ),
        }
    }

    fn three(&self, code: Code, d: u32, a: u32, b: Arg) -> Instruction {
        let (d, a) = (self.vector(d), self.vector(a));
        match b {
            Arg::Vector(b) => Instruction::with3(code, d, a, self.vector(b)),
            Arg::Memory(at) => Instruction::with3(code, d, a, operand(at)),
        }
        .expect(VALID)
    }

    /// Writes `d = a op b`, or the form of the operation.
    pub fn op(&mut self, op: Op, d: u32, a: u32, b: Arg) {
        let instruction = self.three(self.code(op), d, a, b);
        self.push(instruction);
    }

    /// Writes the operation under a mask; elsewhere `d` is unchanged.
    pub fn op_where(&mut self, op: Op, mask: Register, d: u32, a: u32, b: Arg) {
        let mut instruction = self.three(self.code(op), d, a, b);
        instruction.set_op_mask(mask);
        self.push(instruction);
    }

    pub fn sqrt(&mut self, d: u32, a: u32) {
        let code = self.wide(
            Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er,
            Code::VEX_Vsqrtps_ymm_ymmm256,
        );
        let instruction = Instruction::with2(code, self.vector(d), self.vector(a));
        self.push(instruction.expect(VALID));
    }

    /// Rounds to the nearest whole number and converts it.
    pub fn whole(&mut self, d: u32, a: u32) {
        let code = self.wide(
            Code::EVEX_Vcvtps2dq_zmm_k1z_zmmm512b32_er,
            Code::VEX_Vcvtps2dq_ymm_ymmm256,
        );
        let instruction = Instruction::with2(code, self.vector(d), self.vector(a));
        self.push(instruction.expect(VALID));
    }

    /// Shifts a whole number to the position of the exponent.
    pub fn exponent(&mut self, d: u32, a: u32) {
        let code = self.wide(
            Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8,
            Code::VEX_Vpslld_ymm_ymm_imm8,
        );
        let instruction = Instruction::with3(code, self.vector(d), self.vector(a), 23u32);
        self.push(instruction.expect(VALID));
    }

    pub fn copy(&mut self, d: u32, a: u32) {
        if d == a {
            return;
        }
        let code = self.wide(
            Code::EVEX_Vmovaps_zmm_k1z_zmmm512,
            Code::VEX_Vmovaps_ymm_ymmm256,
        );
        let instruction = Instruction::with2(code, self.vector(d), self.vector(a));
        self.push(instruction.expect(VALID));
    }

    /// Writes `d = a` where the mask is set; elsewhere 0, or with `merge` the old value. With 512 bits only.
    pub fn copy_where(&mut self, mask: Register, merge: bool, d: u32, a: u32) {
        let code = Code::EVEX_Vmovaps_zmm_k1z_zmmm512;
        let mut instruction =
            Instruction::with2(code, self.vector(d), self.vector(a)).expect(VALID);
        instruction.set_op_mask(mask);
        instruction.set_zeroing_masking(!merge);
        self.push(instruction);
    }

    pub fn load(&mut self, d: u32, at: At) {
        let code = self.wide(
            Code::EVEX_Vmovups_zmm_k1z_zmmm512,
            Code::VEX_Vmovups_ymm_ymmm256,
        );
        let instruction = Instruction::with2(code, self.vector(d), operand(at));
        self.push(instruction.expect(VALID));
    }

    pub fn store(&mut self, at: At, a: u32) {
        let code = self.wide(
            Code::EVEX_Vmovups_zmmm512_k1z_zmm,
            Code::VEX_Vmovups_ymmm256_ymm,
        );
        let instruction = Instruction::with2(code, operand(at), self.vector(a));
        self.push(instruction.expect(VALID));
    }

    /// Broadcasts the number at an address to all elements of `d`.
    pub fn stretch(&mut self, d: u32, at: At) {
        let code = self.wide(
            Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32,
            Code::VEX_Vbroadcastss_ymm_m32,
        );
        let instruction = Instruction::with2(code, self.vector(d), operand(at));
        self.push(instruction.expect(VALID));
    }

    /// Sets a mask register where the comparison of `a` and `b` holds and `only` is set. With 512 bits only.
    pub fn compare_mask(
        &mut self,
        mask: Register,
        only: Option<Register>,
        how: Compare,
        a: u32,
        b: Arg,
    ) {
        let code = Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
        let (a, how) = (self.vector(a), how as u32);
        let mut instruction = match b {
            Arg::Vector(b) => Instruction::with4(code, mask, a, self.vector(b), how),
            Arg::Memory(at) => Instruction::with4(code, mask, a, operand(at), how),
        }
        .expect(VALID);
        if let Some(only) = only {
            instruction.set_op_mask(only);
        }
        self.push(instruction);
    }

    pub fn or_masks(&mut self, to: Register, a: Register, b: Register) {
        let instruction = Instruction::with3(Code::VEX_Korw_kr_kr_kr, to, a, b);
        self.push(instruction.expect(VALID));
    }

    pub fn and_masks(&mut self, to: Register, a: Register, b: Register) {
        let instruction = Instruction::with3(Code::VEX_Kandw_kr_kr_kr, to, a, b);
        self.push(instruction.expect(VALID));
    }

    /// Reads the elements where the mask is set; the others are 0. With 512 bits only.
    pub fn load_where(&mut self, mask: Register, d: u32, at: At) {
        let code = Code::EVEX_Vmovups_zmm_k1z_zmmm512;
        let mut instruction = Instruction::with2(code, self.vector(d), operand(at)).expect(VALID);
        instruction.set_op_mask(mask);
        instruction.set_zeroing_masking(true);
        self.push(instruction);
    }

    /// Writes `d = a` where the mask is set, else `b`. With 512 bits only.
    pub fn blend_mask(&mut self, mask: Register, d: u32, a: u32, b: u32) {
        let code = Code::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32;
        let mut instruction =
            Instruction::with3(code, self.vector(d), self.vector(b), self.vector(a)).expect(VALID);
        instruction.set_op_mask(mask);
        self.push(instruction);
    }

    /// Sets all bits of an element of `d` where the comparison of `a` and `b` holds. With 256 bits only.
    pub fn compare(&mut self, d: u32, how: Compare, a: u32, b: Arg) {
        let code = Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8;
        let (d, a, how) = (self.vector(d), self.vector(a), how as u32);
        let instruction = match b {
            Arg::Vector(b) => Instruction::with4(code, d, a, self.vector(b), how),
            Arg::Memory(at) => Instruction::with4(code, d, a, operand(at), how),
        };
        self.push(instruction.expect(VALID));
    }

    /// Writes `d = a` where the bits of `mask` are set, else `b`. With 256 bits only.
    pub fn blend(&mut self, mask: u32, d: u32, a: u32, b: u32) {
        let code = Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm;
        let (d, a, b) = (self.vector(d), self.vector(a), self.vector(b));
        let instruction = Instruction::with4(code, d, b, a, self.vector(mask));
        self.push(instruction.expect(VALID));
    }

    pub fn zero(&mut self, d: u32) {
        self.op(Op::Xor, d, d, Arg::Vector(d));
    }

    /// Sets a mask register to a number.
    pub fn set_mask(&mut self, mask: Register, bits: u32) {
        let load = Instruction::with2(Code::Mov_r32_imm32, Register::EAX, bits);
        self.push(load.expect(VALID));
        let set = Instruction::with2(Code::VEX_Kmovw_kr_r32, mask, Register::EAX);
        self.push(set.expect(VALID));
    }

    pub fn load_address(&mut self, to: Register, at: At) {
        let instruction = Instruction::with2(Code::Mov_r64_rm64, to, operand(at));
        self.push(instruction.expect(VALID));
    }

    pub fn store_address(&mut self, at: At, from: Register) {
        let instruction = Instruction::with2(Code::Mov_rm64_r64, operand(at), from);
        self.push(instruction.expect(VALID));
    }

    /// Makes room of `bytes` on the stack, aligned to cache lines; the old stack's address goes to `at` in it.
    pub fn enter(&mut self, bytes: i32, at: At) {
        let (stack, old) = (Register::RSP, Register::RAX);
        self.push(Instruction::with2(Code::Mov_r64_rm64, old, stack).expect(VALID));
        self.add(stack, -bytes);
        self.push(Instruction::with2(Code::And_rm64_imm32, stack, -64).expect(VALID));
        self.store_address(at, old);
    }

    pub fn add(&mut self, to: Register, n: i32) {
        self.push(Instruction::with2(Code::Add_rm64_imm32, to, n).expect(VALID));
    }

    pub fn clear(&mut self, register: Register) {
        let xor = Instruction::with2(Code::Xor_r64_rm64, register, register);
        self.push(xor.expect(VALID));
    }

    /// Jumps back to `target` while the unsigned number in a register is below `n`.
    pub fn while_below(&mut self, register: Register, n: i32, target: u64) {
        self.push(Instruction::with2(Code::Cmp_rm64_imm32, register, n).expect(VALID));
        self.push(Instruction::with_branch(Code::Jb_rel32_64, target).expect(VALID));
    }

    pub fn save(&mut self, register: Register) {
        self.push(Instruction::with1(Code::Push_r64, register).expect(VALID));
    }

    pub fn restore(&mut self, register: Register) {
        self.push(Instruction::with1(Code::Pop_r64, register).expect(VALID));
    }

    /// Flushes denormal numbers to 0 while the kernel runs. It needs eight bytes at `at`.
    pub fn flush_small(&mut self, at: At) {
        const FLUSH_AND_ZERO: u32 = 0x8040;
        let next = At {
            offset: at.offset + 4,
            ..at
        };
        let memory = operand(at);
        self.push(Instruction::with1(Code::Stmxcsr_m32, memory).expect(VALID));
        self.push(Instruction::with2(Code::Mov_r32_rm32, Register::EAX, memory).expect(VALID));
        let set = Instruction::with2(Code::Or_rm32_imm32, Register::EAX, FLUSH_AND_ZERO);
        self.push(set.expect(VALID));
        let memory = operand(next);
        self.push(Instruction::with2(Code::Mov_rm32_r32, memory, Register::EAX).expect(VALID));
        self.push(Instruction::with1(Code::Ldmxcsr_m32, memory).expect(VALID));
    }

    /// Reverts [`Assembler::flush_small`].
    pub fn keep_small(&mut self, at: At) {
        self.push(Instruction::with1(Code::Ldmxcsr_m32, operand(at)).expect(VALID));
    }

    pub fn leave(&mut self) {
        self.push(Instruction::with(Code::VEX_Vzeroupper));
        self.push(Instruction::with(Code::Retnq));
    }
}

pub(super) fn operand(at: At) -> MemoryOperand {
    MemoryOperand::new(
        at.base,
        at.index,
        1,
        at.offset,
        if at.base == Register::RIP { 8 } else { 1 },
        false,
        Register::None,
    )
}
