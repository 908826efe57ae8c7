//! Machine code with 128-bit vectors, from a code generator for many kinds of CPU.
//!
//! `emit` contains the loops and stores, `operands` the loads, `element` the operations.

mod element;
mod emit;
mod operands;

use crate::ir::{Binary, Unary};
use crate::machine::abi::{has_short_offsets, Function};
use crate::program::code::{Element, RootKind, Sweep};
use cranelift_codegen::ir::AbiParam;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::Module;
use emit::Emitter;

/// The owner of generated code.
pub struct Portable(Option<JITModule>);

// SAFETY: the pages are never written after they are finished, and the functions have no state.
unsafe impl Send for Portable {}
// SAFETY: as above.
unsafe impl Sync for Portable {}

impl std::fmt::Debug for Portable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Portable")
    }
}

impl Drop for Portable {
    fn drop(&mut self) {
        if let Some(module) = self.0.take() {
            // SAFETY: the functions, the only pointers into the pages, belong to the same `Machine`, which is
            // being dropped.
            unsafe { module.free_memory() };
        }
    }
}

impl Portable {
    /// Compiles the sweeps as far as possible; nothing if the code generator does not know the CPU.
    pub fn new(sweeps: &[Sweep], blocks: usize) -> (Option<Portable>, Vec<Option<Function>>) {
        let none = || (None, vec![None; sweeps.len()]);
        let Some(mut module) = module() else {
            return none();
        };
        let mut ids = Vec::with_capacity(sweeps.len());
        for sweep in sweeps {
            ids.push(if supported(sweep) && has_short_offsets(sweep) {
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
        (Some(Portable(Some(module))), functions)
    }
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
    let roots = sweep.roots.iter().all(|root| {
        !matches!(
            root.kind,
            RootKind::MaxPre(..) | RootKind::MaxPost(..) | RootKind::MaxBoth(..)
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
            Element::Select
            | Element::Copy
            | Element::PowerOfTwo
            | Element::Clip(..)
            | Element::ClipMask(..)
            | Element::Gate
            | Element::MulAdd
            | Element::MulSub
            | Element::NegMulAdd => true,
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
