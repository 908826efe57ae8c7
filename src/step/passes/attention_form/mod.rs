//! Traces replaced by the vectors they are made of: `Σ_i x_i H_ij = Σ_s (A x)_s c_s B_sj`.
//!
//! A trace that starts an episode at 0 and whose update is linear is a sum of outer products of the steps before,
//! `H_t = Σ_s c_s a_s b_sᵀ`, where `c_s` is the product of the decays since step `s`. What reads it through sums over
//! one side can read the stored vectors instead, as attention does: rows `s` of `A: [T, pre]` and `B: [T, post]` are
//! `a_s` and `b_s`. With `T` steps in an episode these are `T (pre + post)` numbers instead of `pre post`. In time they
//! break even at 0.6 to 0.9 of the trace's numbers (measured, 30 to 200 neurons a side: the vectors of steps cost
//! operations of their own), so a trace is replaced where `3 T (pre + post) < 2 pre post`.
//!
//! The rewrite holds for
//!
//! - `H' = d H + Σ_k a_k(i) b_k(j)`, `d` being one number for the whole trace, of any kind: 1, a constant, a parameter, a
//!   modulator; factors depend on one side or on none, and may themselves come from reads of the trace
//! - reads `Σ_i f(i) g(j) H_ij` and `Σ_j f(i) g(j) H_ij`, of `H` or of `H'`, also as a term of a sum with weights
//!
//! and [`Dense`] lists what keeps a trace as it is. The new values of the step are ordinary ones, and the step is
//! differentiated afterwards:
//!
//! ```text
//! started' = 1, started[0 .. T - 1]      // ones at the steps up to this one
//! e        = started' - started          // this step
//! A'       = A + e aᵀ,  B' = B + e bᵀ
//! c'       = d c + e                     // not where d is 1
//! ```

mod build;
mod linear;
mod reason;
#[cfg(test)]
mod tests;

pub use reason::{BundleSide, Dense, Form, Place};

use super::factors::Factor;
use super::rewrite::{live, Budget};
use crate::ir::{Graph, Op, Reduction, Reset, ResultKind, ShapeError, StateId, ValueId};
use crate::step::Horizon;
use linear::{Linear, Term};

/// Replaces the traces of a step for which that is exact and cheaper, in episodes of known length, and says of every
/// trace what became of it.
pub(super) fn run(
    step: &Graph,
    horizon: Horizon,
    budget: &mut Budget,
) -> Result<(Graph, Vec<Form>), ShapeError> {
    let traces = step.states.iter().filter(|slot| slot.trace);
    let paths: Vec<String> = traces.map(|slot| slot.path.clone()).collect();
    let mut graph = step.clone();
    let mut forms = Vec::with_capacity(paths.len());
    for trace in paths {
        let place = graph.states.iter().position(|slot| slot.path == trace);
        // Only the trace itself is taken away when it is replaced.
        let Some(place) = place else { continue };
        let state = StateId(place as u32);
        let steps = match recognise(&graph, state, horizon) {
            Ok(_) if !budget.allows() => Err(Dense::Stopped),
            Ok(stored) => {
                graph = build::build(&graph, &stored)?;
                budget.spend();
                Ok(stored.steps)
            }
            Err(reason) => Err(reason),
        };
        forms.push(Form { trace, steps });
    }
    Ok((graph, forms))
}

/// A trace as what is stored in its place.
struct Stored {
    trace: StateId,
    /// The steps of an episode.
    steps: usize,
    /// The factors of the trace in its update, a sum of products of numbers; nothing where that is 1.
    decay: Option<Vec<Term>>,
    /// The products that an update adds.
    products: Vec<Product>,
    /// The sums that read the trace, by ascending id.
    reads: Vec<Read>,
}

/// A sum over one side that reads the trace.
struct Read {
    /// The sum.
    sum: ValueId,
    /// The side that is summed over.
    gone: usize,
    /// The summands.
    terms: Vec<Term>,
}

/// `a_i Σ b_j`
struct Product {
    /// Factors of `a`.
    pre: Vec<Factor>,
    /// The terms of `b`: whether it is subtracted, and factors.
    post: Vec<(bool, Vec<Factor>)>,
}

/// Recognizes a trace whose updates can be stored instead.
///
/// # Errors
/// Why the trace stays as it is.
fn recognise(graph: &Graph, trace: StateId, horizon: Horizon) -> Result<Stored, Dense> {
    let slot = &graph.states[trace.index()];
    let &[pre, post] = slot.dims.as_slice() else {
        return Err(Dense::NoProduct);
    };
    if slot.reset != Reset::Episode {
        return Err(Dense::ResetOtherwise(slot.reset));
    }
    if slot.given || slot.first.is_some() {
        return Err(Dense::Given);
    }
    if slot.init != 0.0 {
        return Err(Dense::Start(slot.init));
    }
    let linear = Linear::new(graph, trace);
    let next = graph
        .result(ResultKind::Next(trace))
        .ok_or(Dense::Constant)?;
    let (decay, products) = update(&linear, next)?;
    let reads = reads(&linear)?;
    if reads.is_empty() {
        return Err(Dense::Unread);
    }
    let steps = match horizon {
        Horizon::Episode { steps } => steps.max(1),
        Horizon::Chunks => return Err(Dense::Chunks),
        Horizon::Truncated => return Err(Dense::Truncated),
        Horizon::Observed => return Err(Dense::Observed),
        Horizon::Unknown => return Err(Dense::NoEpisode),
    };
    let stored = (pre + post)
        .saturating_mul(steps)
        .saturating_mul(products.len());
    if stored.saturating_mul(3) >= (pre * post).saturating_mul(2) {
        return Err(Dense::Costs {
            steps,
            products: products.len(),
            sides: [pre, post],
        });
    }
    Ok(Stored {
        trace,
        steps,
        decay,
        products,
        reads,
    })
}

/// The decay and the products of an update.
fn update(linear: &Linear<'_>, next: ValueId) -> Result<(Option<Vec<Term>>, Vec<Product>), Dense> {
    let mut decay = Vec::new();
    let mut products: Vec<Product> = Vec::new();
    for term in linear.terms(next, Place::Update)? {
        if let Some(&factor) = term.both.first() {
            let fed = || {
                linear
                    .other_trace(factor)
                    .map(|path| Dense::FedBy(path.to_owned()))
            };
            let reason = match linear.both(factor, Place::Update) {
                Dense::Product(_) => fed().unwrap_or(if term.trace {
                    Dense::Product(Place::Update)
                } else {
                    Dense::NoProduct
                }),
                other => other,
            };
            return Err(reason);
        }
        if term.trace {
            if !term.pre.is_empty() {
                return Err(Dense::DecayPer(BundleSide::Pre));
            }
            if !term.post.is_empty() {
                return Err(Dense::DecayPer(BundleSide::Post));
            }
            decay.push(term);
            continue;
        }
        // Products of the same vector over pre are one.
        let mut a = term.pre;
        a.sort_unstable();
        let b = (term.negative, [term.post, term.scalar].concat());
        match products.iter_mut().find(|product| product.pre == a) {
            Some(product) => product.post.push(b),
            None => products.push(Product {
                pre: a,
                post: vec![b],
            }),
        }
    }
    if products.is_empty() {
        return Err(Dense::Constant);
    }
    let one = |term: &Term| !term.negative && term.scalar.is_empty();
    let decay = match decay.as_slice() {
        [only] if one(only) => None,
        _ => Some(decay),
    };
    Ok((decay, products))
}

/// The sums that read a trace.
fn reads(linear: &Linear<'_>) -> Result<Vec<Read>, Dense> {
    let graph = linear.graph;
    for &(result, id) in graph.results() {
        match result {
            ResultKind::Next(state) if state == linear.trace => {}
            ResultKind::Next(state) if linear.depends(id) => {
                return Err(Dense::Feeds(graph.states[state.index()].path.clone()));
            }
            _ if linear.depends(id) => return Err(Dense::Elsewhere("output")),
            _ => {}
        }
    }
    let live = live(graph);
    let dims = &graph.states[linear.trace.index()].dims;
    let mut reads = Vec::new();
    for id in graph.ids().filter(|id| live[id.index()]) {
        let value = graph.value(id);
        match value.op {
            Op::Reduce { kind, ref axes } if linear.depends(value.operands[0]) => {
                let (Reduction::Sum, &[gone]) = (kind, axes.as_slice()) else {
                    return Err(Dense::Elsewhere(value.op.mnemonic()));
                };
                let terms = linear.terms(value.operands[0], Place::Read)?;
                let taken = |term: &&Term| term.trace;
                if let Some(factor) = terms.iter().filter(taken).find_map(|t| t.both.first()) {
                    return Err(linear.both(*factor, Place::Read));
                }
                reads.push(Read {
                    sum: id,
                    gone,
                    terms,
                });
            }
            _ if linear.depends(id) && value.shape.dims != *dims => {
                return Err(Dense::Elsewhere(value.op.mnemonic()));
            }
            _ => {}
        }
    }
    Ok(reads)
}
