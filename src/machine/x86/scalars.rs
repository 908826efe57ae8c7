//! Instructions of vector code: numbers and parts of vectors, counters, jumps ahead. They are those of AVX2.

use super::assembler::{operand, Assembler, At, VALID};
use iced_x86::{Code, Instruction, Register};

/// A jump whose target is not known yet.
#[derive(Debug)]
#[must_use]
pub struct Jump(usize);

/// The number of elements that one move without rest transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    One,
    Two,
    Four,
    Eight,
}

impl Part {
    /// The largest part of `n` elements.
    pub fn of(n: usize) -> Part {
        match n {
            0 | 1 => Part::One,
            2 | 3 => Part::Two,
            4..8 => Part::Four,
            _ => Part::Eight,
        }
    }

    /// The number of elements.
    pub fn size(self) -> usize {
        match self {
            Part::One => 1,
            Part::Two => 2,
            Part::Four => 4,
            Part::Eight => 8,
        }
    }
}

/// Operations on the first element, or the first four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Low {
    /// The larger of two numbers, or the second if one is NaN.
    Max,
    /// The sums of four.
    AddFour,
    /// The two low elements of both.
    Lows,
    /// The two high elements of the second, then of the first.
    Highs,
}

fn half(n: u32) -> Register {
    Register::XMM0 + n
}

fn whole(n: u32) -> Register {
    Register::YMM0 + n
}

impl Assembler {
    fn two(&mut self, code: Code, to: Register, from: Register) {
        self.push(Instruction::with2(code, to, from).expect(VALID));
    }

    fn with_number(&mut self, code: Code, to: Register, n: i32) {
        self.push(Instruction::with2(code, to, n).expect(VALID));
    }

    /// Reads some elements; the others are 0.
    pub fn load_part(&mut self, part: Part, d: u32, at: At) {
        let (code, to) = match part {
            Part::One => (Code::VEX_Vmovss_xmm_m32, half(d)),
            Part::Two => (Code::VEX_Vmovsd_xmm_m64, half(d)),
            Part::Four => (Code::VEX_Vmovups_xmm_xmmm128, half(d)),
            Part::Eight => (Code::VEX_Vmovups_ymm_ymmm256, whole(d)),
        };
        self.push(Instruction::with2(code, to, operand(at)).expect(VALID));
    }

    /// Writes the first elements.
    pub fn store_part(&mut self, part: Part, at: At, a: u32) {
        let (code, from) = match part {
            Part::One => (Code::VEX_Vmovss_m32_xmm, half(a)),
            Part::Two => (Code::VEX_Vmovsd_m64_xmm, half(a)),
            Part::Four => (Code::VEX_Vmovups_xmmm128_xmm, half(a)),
            Part::Eight => (Code::VEX_Vmovups_ymmm256_ymm, whole(a)),
        };
        self.push(Instruction::with2(code, operand(at), from).expect(VALID));
    }

    /// Writes `d = a op b` on low elements.
    pub fn low(&mut self, op: Low, d: u32, a: u32, b: u32) {
        let code = match op {
            Low::Max => Code::VEX_Vmaxss_xmm_xmm_xmmm32,
            Low::AddFour => Code::VEX_Vaddps_xmm_xmm_xmmm128,
            Low::Lows => Code::VEX_Vmovlhps_xmm_xmm_xmm,
            Low::Highs => Code::VEX_Vmovhlps_xmm_xmm_xmm,
        };
        let instruction = Instruction::with3(code, half(d), half(a), half(b));
        self.push(instruction.expect(VALID));
    }

    /// Writes `d = a + [at]` on the first element.
    pub fn add_number(&mut self, d: u32, a: u32, at: At) {
        let code = Code::VEX_Vaddss_xmm_xmm_xmmm32;
        let instruction = Instruction::with3(code, half(d), half(a), operand(at));
        self.push(instruction.expect(VALID));
    }

    /// Picks two elements of `a`, then two of `b`.
    pub fn shuffle(&mut self, d: u32, a: u32, b: u32, how: u32) {
        let code = Code::VEX_Vshufps_xmm_xmm_xmmm128_imm8;
        let instruction = Instruction::with4(code, half(d), half(a), half(b), how);
        self.push(instruction.expect(VALID));
    }

    /// The four high elements.
    pub fn upper(&mut self, d: u32, a: u32) {
        let code = Code::VEX_Vextractf128_xmmm128_ymm_imm8;
        let instruction = Instruction::with3(code, half(d), whole(a), 1u32);
        self.push(instruction.expect(VALID));
    }

    /// A bit for every element whose sign is set.
    pub fn signs(&mut self, to: Register, a: u32) {
        self.two(Code::VEX_Vmovmskps_r32_ymm, to, whole(a));
    }

    /// Counts bits.
    pub fn ones(&mut self, to: Register, from: Register) {
        self.two(Code::Popcnt_r32_rm32, to, from);
    }

    pub fn add_registers(&mut self, to: Register, from: Register) {
        self.two(Code::Add_r64_rm64, to, from);
    }

    pub fn copy_register(&mut self, to: Register, from: Register) {
        self.two(Code::Mov_r64_rm64, to, from);
    }

    pub fn and_bits(&mut self, to: Register, bits: i32) {
        self.with_number(Code::And_rm32_imm32, to, bits);
    }

    /// Multiplies by `2^n`.
    pub fn shift_left(&mut self, to: Register, n: u32) {
        let instruction = Instruction::with2(Code::Shl_rm64_imm8, to, n);
        self.push(instruction.expect(VALID));
    }

    /// Reads 32 bits.
    pub fn load_bits(&mut self, to: Register, at: At) {
        let instruction = Instruction::with2(Code::Mov_r32_rm32, to, operand(at));
        self.push(instruction.expect(VALID));
    }

    /// Writes 32 bits.
    pub fn store_bits(&mut self, at: At, from: Register) {
        let instruction = Instruction::with2(Code::Mov_rm32_r32, operand(at), from);
        self.push(instruction.expect(VALID));
    }

    /// Adds 4 to `to` if 32 bits are those of a number that is not 0; the bits are lost.
    pub fn count_nonzero(&mut self, to: Register, bits: Register, one: Register) {
        // Twice the bits leave out the sign; the carry of `bits - 1` is set for 0 alone.
        self.two(Code::Add_r32_rm32, bits, bits);
        self.with_number(Code::Cmp_rm32_imm32, bits, 1);
        self.two(Code::Sbb_r32_rm32, one, one);
        self.with_number(Code::And_rm32_imm32, one, 4);
        self.with_number(Code::Sub_rm32_imm32, one, 4);
        self.two(Code::Sub_r32_rm32, to, one);
    }

    pub fn address(&mut self, to: Register, at: At) {
        let instruction = Instruction::with2(Code::Lea_r64_m, to, operand(at));
        self.push(instruction.expect(VALID));
    }

    /// Jumps ahead if the unsigned number in a register is below `n`.
    pub fn if_below(&mut self, register: Register, n: i32) -> Jump {
        self.with_number(Code::Cmp_rm64_imm32, register, n);
        self.ahead(Code::Jb_rel32_64)
    }

    /// Jumps ahead if the unsigned number in a register is not below that in another.
    pub fn unless_below(&mut self, register: Register, other: Register) -> Jump {
        self.two(Code::Cmp_r64_rm64, register, other);
        self.ahead(Code::Jae_rel32_64)
    }

    /// Jumps back to `target` while the unsigned number in a register is below that in another.
    pub fn while_below_register(&mut self, register: Register, other: Register, target: u64) {
        self.two(Code::Cmp_r64_rm64, register, other);
        self.push(Instruction::with_branch(Code::Jb_rel32_64, target).expect(VALID));
    }

    pub fn jump(&mut self) -> Jump {
        self.ahead(Code::Jmp_rel32_64)
    }

    fn ahead(&mut self, code: Code) -> Jump {
        let next = self.here();
        self.push(Instruction::with_branch(code, next).expect(VALID));
        Jump(self.here() as usize)
    }

    /// Lets a jump lead here.
    pub fn land(&mut self, jump: Jump) {
        let distance = (self.here() as usize - jump.0) as u32;
        self.patches.push((jump.0 - 4, distance));
    }
}
