//! Machine code for sweeps, generated when a program is compiled.
//!
//! A sweep becomes one function: columns in panels of eight, rows inside, every value of an element in a
//! register; sums over pre stay in registers for a whole panel, sums over post are kept four wide for every row and
//! joined at the end. Whatever rule the spec has takes this path. Sweeps with a function that needs a series
//! (`tanh`, `exp`, ...) per connection, and reductions by maximum, run in [`super::machine`] instead.

use super::code::{Area, Code, Element, Place, RootKind, Source, Sweep};
use crate::ir::{Binary, Boundary, Unary};
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::BlockArg;
use cranelift_codegen::ir::{
    types, AbiParam, Block, Endianness, InstBuilder, MemFlags, Type, Value,
};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::Module;
use std::collections::BTreeMap;

/// Reads and writes the memories whose addresses are in the table; see [`Table`].
type Function = unsafe extern "C" fn(*const *mut f32);

/// Machine code of the sweeps of a program, by sweep; `None` where there is none.
pub struct Machine {
    functions: Vec<Option<Function>>,
    /// Owns the pages; taken when dropped.
    module: Option<JITModule>,
}

// SAFETY: the pages are never written after they are finished, and the functions hold no state.
unsafe impl Send for Machine {}
// SAFETY: as above.
unsafe impl Sync for Machine {}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let compiled = self.functions.iter().filter(|f| f.is_some()).count();
        write!(f, "Machine({compiled} of {} sweeps)", self.functions.len())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.functions.clear();
        if let Some(module) = self.module.take() {
            // SAFETY: the functions, the only pointers into the pages, are gone.
            unsafe { module.free_memory() };
        }
    }
}

/// Order of the addresses a function is given: lane, shared, sums, partial sums of rows, then the blocks of
/// states, then those of adjoints.
const LANE: usize = 0;
const SHARED: usize = 1;
const SUMS: usize = 2;
const PARTIAL: usize = 3;
const BLOCKS: usize = 4;

impl Machine {
    /// Compiles what can be; on machines without a code generator, nothing.
    pub(super) fn new(sweeps: &[Sweep], blocks: usize) -> Machine {
        let none = || Machine {
            functions: vec![None; sweeps.len()],
            module: None,
        };
        let Some(mut module) = module() else {
            return none();
        };
        let mut ids = Vec::with_capacity(sweeps.len());
        for sweep in sweeps {
            ids.push(if supported(sweep) {
                define(&mut module, sweep, blocks)
            } else {
                None
            });
        }
        if module.finalize_definitions().is_err() {
            return none();
        }
        let functions = ids
            .into_iter()
            .map(|id| {
                let code = module.get_finalized_function(id?);
                // SAFETY: the function was defined with this signature.
                Some(unsafe { std::mem::transmute::<*const u8, Function>(code) })
            })
            .collect();
        Machine {
            functions,
            module: Some(module),
        }
    }

    /// Runs sweep `k` if it has machine code; returns whether it had.
    pub(super) fn run(&self, k: usize, sweep: &Sweep, table: &mut Table<'_>) -> bool {
        let Some(Some(function)) = self.functions.get(k) else {
            return false;
        };
        let sums_post = sweep
            .roots
            .iter()
            .filter(|(kind, _)| matches!(kind, RootKind::SumPost(_)))
            .count();
        table.partial.clear();
        table.partial.resize(sums_post * sweep.rows * 4, 0.0);
        let mut addresses: Vec<*mut f32> = Vec::with_capacity(BLOCKS + 8);
        addresses.push(table.lane.as_mut_ptr());
        addresses.push(table.shared.as_ptr().cast_mut());
        addresses.push(table.sums.as_mut_ptr());
        addresses.push(table.partial.as_mut_ptr());
        addresses.extend(table.states.iter_mut().map(|block| block.as_mut_ptr()));
        addresses.extend(table.adjoints.iter_mut().map(|block| block.as_mut_ptr()));
        // SAFETY: the function was generated for the sizes of these memories: offsets of places and sums lie inside
        // the sizes the program was assembled with, and blocks have rows times cols elements. Shared memory
        // is only read.
        unsafe { function(addresses.as_ptr()) };
        true
    }
}

/// The memories a sweep works on.
pub struct Table<'a> {
    pub lane: &'a mut [f32],
    pub shared: &'a [f32],
    pub sums: &'a mut [f32],
    pub partial: &'a mut Vec<f32>,
    pub states: &'a mut [Vec<f32>],
    pub adjoints: &'a mut [Vec<f32>],
}

fn module() -> Option<JITModule> {
    let mut flags = settings::builder();
    flags.set("opt_level", "speed").ok()?;
    flags.set("is_pic", "false").ok()?;
    let isa = cranelift_native::builder()
        .ok()?
        .finish(settings::Flags::new(flags))
        .ok()?;
    let builder = JITBuilder::with_isa(isa, cranelift_module::default_libcall_names());
    Some(JITModule::new(builder))
}

fn supported(sweep: &Sweep) -> bool {
    let roots = sweep.roots.iter().all(|(kind, _)| {
        !matches!(
            kind,
            RootKind::MaxPre(_) | RootKind::MaxPost(_) | RootKind::MaxBoth(_)
        )
    });
    roots
        && sweep.ops.iter().all(|op| match op.f {
            Element::Unary(f) => matches!(
                f,
                Unary::Neg
                    | Unary::Relu
                    | Unary::Sqrt
                    | Unary::Abs
                    | Unary::Sign
                    | Unary::Square
                    | Unary::Recip
                    | Unary::Not
            ),
            Element::Binary(f) => f != Binary::Pow,
            Element::Select | Element::Copy | Element::Clip(..) | Element::ClipMask(..) => true,
        })
}

fn define(
    module: &mut JITModule,
    sweep: &Sweep,
    blocks: usize,
) -> Option<cranelift_module::FuncId> {
    let mut context = module.make_context();
    let pointer = module.target_config().pointer_type();
    context.func.signature.params.push(AbiParam::new(pointer));
    let mut frontend = FunctionBuilderContext::new();
    {
        let builder = FunctionBuilder::new(&mut context.func, &mut frontend);
        Emitter::new(builder, sweep, blocks, pointer).emit();
    }
    let id = module
        .declare_anonymous_function(&context.func.signature)
        .ok()?;
    module.define_function(id, &mut context).ok()?;
    Some(id)
}

/// How many columns a step of the column loop handles.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    /// One.
    Scalar,
    /// Two vectors of four.
    Panel,
}

impl Width {
    fn columns(self) -> usize {
        match self {
            Width::Scalar => 1,
            Width::Panel => 8,
        }
    }

    fn parts(self) -> usize {
        match self {
            Width::Scalar => 1,
            Width::Panel => 2,
        }
    }

    fn ty(self) -> Type {
        match self {
            Width::Scalar => types::F32,
            Width::Panel => types::F32X4,
        }
    }
}

/// The values of one element operation, one a part.
type Parts = Vec<Value>;

struct Emitter<'a> {
    b: FunctionBuilder<'a>,
    sweep: &'a Sweep,
    pointer: Type,
    bases: Vec<Value>,
    states: usize,
}

impl<'a> Emitter<'a> {
    fn new(
        mut b: FunctionBuilder<'a>,
        sweep: &'a Sweep,
        blocks: usize,
        pointer: Type,
    ) -> Emitter<'a> {
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let table = b.block_params(entry)[0];
        let uses_adjoints = sweep
            .ops
            .iter()
            .flat_map(|op| op.operands)
            .any(|s| matches!(s, Source::Adjoint(_)))
            || sweep
                .roots
                .iter()
                .any(|(kind, _)| matches!(kind, RootKind::Adjoint(_)));
        let count = BLOCKS + if uses_adjoints { 2 * blocks } else { blocks };
        let bytes = pointer.bytes() as i32;
        let bases = (0..count)
            .map(|k| b.ins().load(pointer, memory(), table, k as i32 * bytes))
            .collect();
        Emitter {
            b,
            sweep,
            pointer,
            bases,
            states: blocks,
        }
    }

    fn emit(mut self) {
        let cols = self.sweep.cols;
        let whole = cols / 8 * 8;
        if whole > 0 {
            self.columns(Width::Panel, 0, whole);
        }
        self.join_partial(whole > 0);
        if whole < cols {
            self.columns(Width::Scalar, whole, cols);
        }
        self.b.ins().return_(&[]);
        self.b.seal_all_blocks();
        self.b.finalize();
    }

    fn integer(&mut self, value: usize) -> Value {
        self.b.ins().iconst(self.pointer, value as i64)
    }

    /// `for c in (from..to).step_by(columns)`: all rows of some columns.
    fn columns(&mut self, width: Width, from: usize, to: usize) {
        let head = self.b.create_block();
        let column = self.b.append_block_param(head, self.pointer);
        let start = self.integer(from * 4);
        self.b.ins().jump(head, &[start.into()]);
        self.b.switch_to_block(head);
        self.rows(width, column);
        let step = (width.columns() * 4) as i64;
        let next = self.b.ins().iadd_imm(column, step);
        let after = self.b.create_block();
        let more = self.b.ins().icmp_imm(
            cranelift_codegen::ir::condcodes::IntCC::UnsignedLessThan,
            next,
            (to * 4) as i64,
        );
        self.b.ins().brif(more, head, &[next.into()], after, &[]);
        self.b.switch_to_block(after);
    }

    /// All rows of the columns at byte `column`.
    fn rows(&mut self, width: Width, column: Value) {
        let parts = width.parts();
        let ty = width.ty();
        // What does not differ between rows is read once.
        let mut fixed: BTreeMap<(usize, usize, usize), Parts> = BTreeMap::new();
        for source in self.sweep.ops.iter().flat_map(|op| op.operands) {
            if let Source::Post(place) = source {
                fixed
                    .entry(key(place))
                    .or_insert_with(|| self.post(place, width, column));
            }
        }
        let sums: Vec<RootKind> = self
            .sweep
            .roots
            .iter()
            .map(|(kind, _)| *kind)
            .filter(|kind| matches!(kind, RootKind::SumPre(_) | RootKind::SumBoth(_)))
            .collect();
        let zero = self.splat_number(0.0, width);
        let head = self.b.create_block();
        let row = self.b.append_block_param(head, self.pointer);
        let mut carried: Vec<Parts> = Vec::new();
        for _ in &sums {
            carried.push(
                (0..parts)
                    .map(|_| self.b.append_block_param(head, ty))
                    .collect(),
            );
        }
        let first = self.integer(0);
        let mut args = vec![first];
        args.extend(std::iter::repeat_n(zero, sums.len() * parts));
        self.jump(head, &args);
        self.b.switch_to_block(head);
        // Byte offset of the row's first column of these.
        let stride = self.b.ins().imul_imm(row, self.sweep.cols as i64);
        let at = self.b.ins().iadd(stride, column);
        let totals = self.row(width, row, at, &fixed, &carried);
        let next = self.b.ins().iadd_imm(row, 4);
        let after = self.b.create_block();
        for _ in 0..sums.len() * parts {
            self.b.append_block_param(after, ty);
        }
        let more = self.b.ins().icmp_imm(
            cranelift_codegen::ir::condcodes::IntCC::UnsignedLessThan,
            next,
            (self.sweep.rows * 4) as i64,
        );
        let done: Vec<BlockArg> = totals.iter().flatten().map(|v| (*v).into()).collect();
        let mut again: Vec<BlockArg> = vec![next.into()];
        again.extend(done.iter().copied());
        self.b.ins().brif(more, head, &again, after, &done);
        self.b.switch_to_block(after);
        let finals: Vec<Value> = self.b.block_params(after).to_vec();
        for (kind, values) in sums.iter().zip(finals.chunks(parts)) {
            match kind {
                RootKind::SumPre(to) => {
                    let base = self.b.ins().iadd(self.bases[LANE], column);
                    for (k, value) in values.iter().enumerate() {
                        let offset = (to * 4 + k * 16) as i32;
                        self.b.ins().store(memory(), *value, base, offset);
                    }
                }
                RootKind::SumBoth(to) => {
                    let mut total = values[0];
                    for value in &values[1..] {
                        total = self.b.ins().fadd(total, *value);
                    }
                    let total = self.across(total, width);
                    let offset = (to * 4) as i32;
                    let before = self
                        .b
                        .ins()
                        .load(types::F32, memory(), self.bases[LANE], offset);
                    let total = self.b.ins().fadd(before, total);
                    self.b
                        .ins()
                        .store(memory(), total, self.bases[LANE], offset);
                }
                _ => {}
            }
        }
    }

    fn jump(&mut self, block: Block, args: &[Value]) {
        let args: Vec<_> = args.iter().map(|v| (*v).into()).collect();
        self.b.ins().jump(block, &args);
    }

    /// The operations of one row; returns the sums that go on to the next.
    fn row(
        &mut self,
        width: Width,
        row: Value,
        at: Value,
        fixed: &BTreeMap<(usize, usize, usize), Parts>,
        carried: &[Parts],
    ) -> Vec<Parts> {
        let mut read: BTreeMap<SourceKey, Parts> = BTreeMap::new();
        let mut temporaries: Vec<Parts> = vec![Vec::new(); self.sweep.temporaries];
        for op in &self.sweep.ops {
            let operands: Vec<Parts> = op
                .operands
                .iter()
                .map(|source| match source {
                    Source::Temporary(k) => temporaries[*k].clone(),
                    Source::Post(place) => fixed[&key(*place)].clone(),
                    other => {
                        let key = source_key(*other);
                        if let Some(values) = read.get(&key) {
                            return values.clone();
                        }
                        let values = self.read(*other, width, row, at);
                        read.insert(key, values.clone());
                        values
                    }
                })
                .collect();
            temporaries[op.to] = (0..width.parts())
                .map(|k| {
                    let part = |operand: usize| operands[operand][k];
                    self.element(op.f, width, part(0), part(1), part(2))
                })
                .collect();
        }
        let mut totals = Vec::new();
        let mut sums = carried.iter();
        let mut partial = 0;
        for (kind, from) in &self.sweep.roots {
            let values = temporaries[*from].clone();
            match *kind {
                RootKind::State(k) => self.store(BLOCKS + k, 0, at, &values),
                RootKind::Adjoint(k) => self.store(BLOCKS + self.states + k, 0, at, &values),
                RootKind::Gradient(to) => {
                    let base = self.b.ins().iadd(self.bases[SUMS], at);
                    for (k, value) in values.iter().enumerate() {
                        let offset = (to * 4 + k * 16) as i32;
                        let before = self.b.ins().load(width.ty(), memory(), base, offset);
                        let sum = self.b.ins().fadd(before, *value);
                        self.b.ins().store(memory(), sum, base, offset);
                    }
                }
                RootKind::SumPre(_) | RootKind::SumBoth(_) => {
                    if let Some(before) = sums.next() {
                        let sum = before
                            .iter()
                            .zip(&values)
                            .map(|(a, b)| self.b.ins().fadd(*a, *b))
                            .collect();
                        totals.push(sum);
                    }
                }
                RootKind::SumPost(to) => {
                    match width {
                        Width::Panel => {
                            let sum = self.b.ins().fadd(values[0], values[1]);
                            let four = self.b.ins().imul_imm(row, 4);
                            let base = self.b.ins().iadd(self.bases[PARTIAL], four);
                            let offset = (partial * self.sweep.rows * 16) as i32;
                            let before = self.b.ins().load(types::F32X4, memory(), base, offset);
                            let sum = self.b.ins().fadd(before, sum);
                            self.b.ins().store(memory(), sum, base, offset);
                        }
                        Width::Scalar => {
                            let base = self.b.ins().iadd(self.bases[LANE], row);
                            let offset = (to * 4) as i32;
                            let before = self.b.ins().load(types::F32, memory(), base, offset);
                            let sum = self.b.ins().fadd(before, values[0]);
                            self.b.ins().store(memory(), sum, base, offset);
                        }
                    }
                    partial += 1;
                }
                RootKind::MaxPre(_) | RootKind::MaxPost(_) | RootKind::MaxBoth(_) => {}
            }
        }
        totals
    }

    fn store(&mut self, base: usize, offset: i32, at: Value, values: &[Value]) {
        let base = self.b.ins().iadd(self.bases[base], at);
        for (k, value) in values.iter().enumerate() {
            self.b
                .ins()
                .store(memory(), *value, base, offset + k as i32 * 16);
        }
    }

    /// Sums over post of each row: from four partial sums to the vector, or 0 where there are none yet.
    fn join_partial(&mut self, any: bool) {
        let targets: Vec<usize> = self
            .sweep
            .roots
            .iter()
            .filter_map(|(kind, _)| match kind {
                RootKind::SumPost(to) => Some(*to),
                _ => None,
            })
            .collect();
        if targets.is_empty() {
            return;
        }
        let head = self.b.create_block();
        let row = self.b.append_block_param(head, self.pointer);
        let first = self.integer(0);
        self.jump(head, &[first]);
        self.b.switch_to_block(head);
        for (k, to) in targets.iter().enumerate() {
            let sum = if any {
                let four = self.b.ins().imul_imm(row, 4);
                let base = self.b.ins().iadd(self.bases[PARTIAL], four);
                let offset = (k * self.sweep.rows * 16) as i32;
                let parts = self.b.ins().load(types::F32X4, memory(), base, offset);
                self.across(parts, Width::Panel)
            } else {
                self.b.ins().f32const(0.0)
            };
            let base = self.b.ins().iadd(self.bases[LANE], row);
            self.b.ins().store(memory(), sum, base, (to * 4) as i32);
        }
        let next = self.b.ins().iadd_imm(row, 4);
        let after = self.b.create_block();
        let more = self.b.ins().icmp_imm(
            cranelift_codegen::ir::condcodes::IntCC::UnsignedLessThan,
            next,
            (self.sweep.rows * 4) as i64,
        );
        self.b.ins().brif(more, head, &[next.into()], after, &[]);
        self.b.switch_to_block(after);
    }

    /// The sum of the parts of a vector, from the first on.
    fn across(&mut self, value: Value, width: Width) -> Value {
        if width == Width::Scalar {
            return value;
        }
        let mut total = self.b.ins().extractlane(value, 0);
        for k in 1..4 {
            let part = self.b.ins().extractlane(value, k);
            total = self.b.ins().fadd(total, part);
        }
        total
    }

    fn splat_number(&mut self, x: f32, width: Width) -> Value {
        let scalar = self.b.ins().f32const(x);
        self.splat(scalar, width)
    }

    fn splat(&mut self, scalar: Value, width: Width) -> Value {
        match width {
            Width::Scalar => scalar,
            Width::Panel => self.b.ins().splat(types::F32X4, scalar),
        }
    }

    fn base(&self, area: Area) -> Value {
        match area {
            Area::Lane => self.bases[LANE],
            Area::Shared => self.bases[SHARED],
        }
    }

    fn post(&mut self, place: Place, width: Width, column: Value) -> Parts {
        let base = self.base(place.area);
        let offset = (place.at * 4) as i32;
        if place.stride == 0 {
            let scalar = self.b.ins().load(types::F32, memory(), base, offset);
            let value = self.splat(scalar, width);
            return vec![value; width.parts()];
        }
        let base = self.b.ins().iadd(base, column);
        (0..width.parts())
            .map(|k| {
                let offset = offset + k as i32 * 16;
                self.b.ins().load(width.ty(), memory(), base, offset)
            })
            .collect()
    }

    /// An operand that differs between rows.
    fn read(&mut self, source: Source, width: Width, row: Value, at: Value) -> Parts {
        let (base, offset) = match source {
            Source::State(k) => (self.bases[BLOCKS + k], 0),
            Source::Adjoint(k) => (self.bases[BLOCKS + self.states + k], 0),
            Source::Matrix(area, from) => (self.base(area), (from * 4) as i32),
            Source::Pre(place) => {
                let mut base = self.base(place.area);
                if place.stride != 0 {
                    base = self.b.ins().iadd(base, row);
                }
                let offset = (place.at * 4) as i32;
                let scalar = self.b.ins().load(types::F32, memory(), base, offset);
                let value = self.splat(scalar, width);
                return vec![value; width.parts()];
            }
            // Read elsewhere.
            Source::Temporary(_) | Source::Post(_) => return Vec::new(),
        };
        let base = self.b.ins().iadd(base, at);
        (0..width.parts())
            .map(|k| {
                let offset = offset + k as i32 * 16;
                self.b.ins().load(width.ty(), memory(), base, offset)
            })
            .collect()
    }

    /// `x` where the comparison holds, else `y`.
    fn choose(
        &mut self,
        cc: FloatCC,
        a: Value,
        b: Value,
        x: Value,
        y: Value,
        width: Width,
    ) -> Value {
        let condition = self.b.ins().fcmp(cc, a, b);
        match width {
            Width::Scalar => self.b.ins().select(condition, x, y),
            Width::Panel => {
                let mask = self.b.ins().bitcast(types::F32X4, bits(), condition);
                self.b.ins().bitselect(mask, x, y)
            }
        }
    }

    fn truth(&mut self, cc: FloatCC, a: Value, b: Value, width: Width) -> Value {
        let one = self.splat_number(1.0, width);
        let zero = self.splat_number(0.0, width);
        self.choose(cc, a, b, one, zero, width)
    }

    /// One part of one operation; the same results as [`super::machine`], bit by bit.
    fn element(&mut self, f: Element, width: Width, a: Value, b: Value, c: Value) -> Value {
        let zero = self.splat_number(0.0, width);
        match f {
            Element::Copy => a,
            Element::Unary(f) => match f {
                Unary::Neg => self.b.ins().fneg(a),
                Unary::Relu => self.choose(FloatCC::LessThan, a, zero, zero, a, width),
                Unary::Sqrt => self.b.ins().sqrt(a),
                Unary::Abs => {
                    let minus = self.b.ins().fneg(a);
                    self.choose(FloatCC::LessThan, a, zero, minus, a, width)
                }
                Unary::Sign => {
                    let above = self.truth(FloatCC::GreaterThan, a, zero, width);
                    let below = self.truth(FloatCC::LessThan, a, zero, width);
                    self.b.ins().fsub(above, below)
                }
                Unary::Square => self.b.ins().fmul(a, a),
                Unary::Recip => {
                    let one = self.splat_number(1.0, width);
                    self.b.ins().fdiv(one, a)
                }
                Unary::Not => self.truth(FloatCC::Equal, a, zero, width),
                Unary::Tanh
                | Unary::Sigmoid
                | Unary::Softplus
                | Unary::Exp
                | Unary::Log
                | Unary::Sin
                | Unary::Cos => a,
            },
            Element::Binary(f) => match f {
                Binary::Add => self.b.ins().fadd(a, b),
                Binary::Sub => self.b.ins().fsub(a, b),
                Binary::Mul => self.b.ins().fmul(a, b),
                Binary::Div => self.b.ins().fdiv(a, b),
                Binary::Min => self.choose(FloatCC::LessThan, b, a, b, a, width),
                Binary::Max => self.choose(FloatCC::LessThan, a, b, b, a, width),
                Binary::Less => self.truth(FloatCC::LessThan, a, b, width),
                Binary::LessEqual => self.truth(FloatCC::LessThanOrEqual, a, b, width),
                Binary::Equal => self.truth(FloatCC::Equal, a, b, width),
                Binary::And => {
                    let right = self.truth(FloatCC::NotEqual, b, zero, width);
                    self.choose(FloatCC::NotEqual, a, zero, right, zero, width)
                }
                Binary::Or => {
                    let right = self.truth(FloatCC::NotEqual, b, zero, width);
                    let one = self.splat_number(1.0, width);
                    self.choose(FloatCC::NotEqual, a, zero, one, right, width)
                }
                Binary::Pow => a,
            },
            Element::Select => self.choose(FloatCC::Equal, a, zero, c, b, width),
            Element::Clip(lo, hi) => {
                let lo = self.splat_number(lo as f32, width);
                let hi = self.splat_number(hi as f32, width);
                let x = self.choose(FloatCC::LessThan, a, lo, lo, a, width);
                self.choose(FloatCC::GreaterThan, x, hi, hi, x, width)
            }
            Element::ClipMask(lo, hi, boundary) => self.clip_mask(lo, hi, boundary, a, width),
        }
    }

    fn clip_mask(&mut self, lo: f64, hi: f64, boundary: Boundary, x: Value, width: Width) -> Value {
        let zero = self.splat_number(0.0, width);
        let low = self.splat_number(lo as f32, width);
        let high = self.splat_number(hi as f32, width);
        let inside = |this: &mut Self, above: FloatCC, below: FloatCC| {
            let under = this.truth(below, x, high, width);
            this.choose(above, x, low, under, zero, width)
        };
        match boundary {
            Boundary::Inclusive => {
                inside(self, FloatCC::GreaterThanOrEqual, FloatCC::LessThanOrEqual)
            }
            Boundary::Exclusive => inside(self, FloatCC::GreaterThan, FloatCC::LessThan),
            Boundary::Half => {
                let closed = inside(self, FloatCC::GreaterThanOrEqual, FloatCC::LessThanOrEqual);
                let open = inside(self, FloatCC::GreaterThan, FloatCC::LessThan);
                let sum = self.b.ins().fadd(closed, open);
                let half = self.splat_number(0.5, width);
                self.b.ins().fmul(half, sum)
            }
            Boundary::StraightThrough => self.splat_number(1.0, width),
        }
    }
}

fn memory() -> MemFlags {
    MemFlags::new().with_notrap()
}

fn bits() -> MemFlags {
    MemFlags::new().with_endianness(Endianness::Little)
}

fn key(place: Place) -> (usize, usize, usize) {
    (
        usize::from(place.area == Area::Shared),
        place.at,
        place.stride,
    )
}

type SourceKey = (u8, usize, usize, usize);

fn source_key(source: Source) -> SourceKey {
    match source {
        Source::Temporary(k) => (0, k, 0, 0),
        Source::State(k) => (1, k, 0, 0),
        Source::Adjoint(k) => (2, k, 0, 0),
        Source::Matrix(area, at) => (3, usize::from(area == Area::Shared), at, 0),
        Source::Post(place) => {
            let (area, at, stride) = key(place);
            (4, area, at, stride)
        }
        Source::Pre(place) => {
            let (area, at, stride) = key(place);
            (5, area, at, stride)
        }
    }
}

/// The sweeps of a program and of its replay, compiled.
#[derive(Debug)]
pub struct Machines {
    pub step: Machine,
    pub replay: Machine,
    pub adjoint: Machine,
}

impl Machines {
    pub(super) fn new(step: &Code, replay: &[Sweep], adjoint: &Code, blocks: usize) -> Machines {
        Machines {
            step: Machine::new(&step.sweeps, blocks),
            replay: Machine::new(replay, blocks),
            adjoint: Machine::new(&adjoint.sweeps, blocks),
        }
    }
}
