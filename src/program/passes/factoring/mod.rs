//! Factors of a product by what they vary with: `x_ij = c_j · r_i · e_ij`, and sums without the factors that are the same in
//! all their terms: `Σ_i c_j x_ij = c_j Σ_i x_ij`, `Σ_j r_i x_ij = r_i Σ_j x_ij`.
//!
//! The factors of a column are multiplied once a column, those of a row once a row: a connection has at most two products
//! left. Sums that are equal but for such factors are added up once. It changes the sweeps of a block where that takes operations
//! from its connections, all of them or none, so that a value is rounded alike in each. It runs before operations
//! are contracted, because a product is then still one.

mod product;
mod sums;

use super::elementwise_fusion::contract;
use crate::program::code::{Element, Instr, Source, Sweep};
use crate::program::extent::Extent;
use crate::program::ir::Program;
use crate::program::layout::Layout;
use crate::program::sweep::SweepBuilder;
use product::Product;
use std::collections::BTreeSet;
use sums::Sums;

/// Factors the sweeps of all blocks where it pays.
pub(super) fn run(program: &mut Program) {
    let (ahead, back) = (&program.ahead, &program.back);
    let all = || {
        let sweeps = ahead.sweeps.iter().chain(&ahead.updates);
        sweeps.chain(&back.sweeps)
    };
    let layouts: BTreeSet<Layout> = all().map(|sweep| sweep.layout).collect();
    let pays = |layout: &Layout| {
        let of = |sweep: &&Sweep| sweep.layout == *layout;
        let before: usize = all().filter(of).map(cost).sum();
        let after: usize = all().filter(of).map(|sweep| cost(&factored(sweep).0)).sum();
        after < before
    };
    let chosen: BTreeSet<Layout> = layouts.into_iter().filter(pays).collect();
    for sweep in &mut program.ahead.updates {
        if chosen.contains(&sweep.layout) {
            *sweep = factored(sweep).0;
        }
    }
    let lists = [
        (
            &mut program.ahead.sweeps,
            &mut program.ahead.instrs,
            &mut program.lane,
        ),
        (
            &mut program.back.sweeps,
            &mut program.back.main,
            &mut program.adjoint,
        ),
    ];
    for (sweeps, instrs, regions) in lists {
        for (k, sweep) in sweeps.iter_mut().enumerate() {
            if !chosen.contains(&sweep.layout) {
                continue;
            }
            let (changed, sums) = factored(sweep);
            *sweep = changed;
            let after = instrs
                .iter()
                .position(|instr| matches!(instr, Instr::Sweep(j) if *j == k))
                .map_or(instrs.len(), |at| at + 1);
            let scaled = sums.finish(sweep, regions);
            instrs.splice(after..after, scaled);
        }
    }
}

/// The operations that a sweep computes for each connection, once contracted.
fn cost(sweep: &Sweep) -> usize {
    let sweep = contract(sweep);
    let extents = Extent::all(&sweep.ops);
    let ops = sweep.ops.iter().zip(extents);
    let ops = ops.filter(|(op, extent)| *extent == Extent::Connection && op.f != Element::Copy);
    ops.count() + sweep.roots.len()
}

/// The sweep with its products factored, and the factors that its sums are still to be multiplied with.
fn factored(sweep: &Sweep) -> (Sweep, Sums) {
    let mut out = SweepBuilder::new(sweep.name, sweep.layout);
    let mut values: Vec<Product> = Vec::with_capacity(sweep.ops.len());
    for op in &sweep.ops {
        let operands = op.operands[..op.f.arity()].iter();
        let operands: Vec<Product> = operands.map(|source| found(&values, *source)).collect();
        values.push(Product::of_op(&mut out, op.f, &operands));
    }
    let sums = Sums::new(sweep, &values);
    for (k, root) in sweep.roots.iter().enumerate() {
        if !sums.root(&mut out, k) {
            let value = found(&values, root.value).value(&mut out);
            let times = root
                .times
                .map(|times| found(&values, times).value(&mut out));
            out.product(root.kind, value, times);
        }
    }
    (out.finish(), sums)
}

fn found(values: &[Product], source: Source) -> Product {
    match source {
        Source::Temporary(k) => values[k].clone(),
        other => Product::of(other, Extent::of(other, &[])),
    }
}
