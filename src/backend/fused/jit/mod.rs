//! Machine code for sweeps, generated when a program is compiled.
//!
//! A sweep becomes one function: columns in panels of eight, rows inside, every value of an element in a
//! register; sums over pre stay in registers for a whole panel, sums over post are kept four wide for every row and
//! joined at the end. Whatever rule the spec has takes this path. Sweeps with a function that needs a series
//! (`tanh`, `exp`, ...) per connection, and reductions by maximum, run in [`super::machine`] instead.
//!
//! `emit` holds the loops and what a row gives, `operands` what it reads, `element` the operations in between.

mod element;
mod emit;
mod operands;

use super::code::{Code, Element, RootKind, Sweep};
use crate::ir::{Binary, Unary};
use cranelift_codegen::ir::AbiParam;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::Module;
use emit::Emitter;

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
