//! The order of a row's operations and results, for one of its vectors.

use crate::ir::Binary;
use crate::program::code::{Element, Root, RootKind, Source, Sweep};
use crate::program::extent::Extent;

/// Something that a row computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Op(usize),
    Root(usize),
}

/// The order in which operations are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// What each result needs, one result after another.
    Results,
    /// As the sweep has them; each result when its operands are there.
    Sweep,
    /// What each result needs, the last result first.
    LastResults,
}

pub(crate) const ORDERS: [Order; 3] = [Order::Results, Order::Sweep, Order::LastResults];

/// A term of a sum: an operand, or the product of two.
pub(crate) type Term = (Source, Option<Source>);

/// What a row does, and in which order.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub items: Vec<Item>,
    /// The terms that each root adds up.
    pub terms: Vec<Vec<Term>>,
}

impl Schedule {
    pub(crate) fn new(sweep: &Sweep, extents: &[Extent], order: Order) -> Schedule {
        let uses = uses(sweep);
        let terms: Vec<Vec<Term>> = sweep
            .roots
            .iter()
            .map(|root| terms(sweep, root, &uses, extents))
            .collect();
        let mut needed = vec![false; sweep.ops.len()];
        for (value, times) in terms.iter().flatten() {
            mark(sweep, &mut needed, *value);
            times.iter().for_each(|t| mark(sweep, &mut needed, *t));
        }
        let mut writer = Writer {
            sweep,
            extents,
            terms: &terms,
            done: needed.iter().map(|needed| !needed).collect(),
            items: Vec::new(),
            waiting: (0..sweep.roots.len()).collect(),
        };
        match order {
            Order::Results => (0..sweep.roots.len()).for_each(|k| writer.root(k)),
            Order::LastResults => (0..sweep.roots.len()).rev().for_each(|k| writer.root(k)),
            Order::Sweep => {
                for k in 0..sweep.ops.len() {
                    writer.value(Source::Temporary(k));
                }
            }
        }
        writer.rest();
        let items = writer.items;
        Schedule { items, terms }
    }
}

fn mark(sweep: &Sweep, needed: &mut [bool], source: Source) {
    if let Source::Temporary(k) = source {
        if !std::mem::replace(&mut needed[k], true) {
            let op = &sweep.ops[k];
            for operand in &op.operands[..op.f.arity()] {
                mark(sweep, needed, *operand);
            }
        }
    }
}

/// The number of reads of each temporary.
fn uses(sweep: &Sweep) -> Vec<usize> {
    let mut uses = vec![0; sweep.ops.len()];
    for source in crate::program::access::sources(sweep) {
        if let Source::Temporary(k) = source {
            uses[k] += 1;
        }
    }
    uses
}

/// The terms of a root. A sum of two products that only this root reads is added product by product.
fn terms(sweep: &Sweep, root: &Root, uses: &[usize], extents: &[Extent]) -> Vec<Term> {
    let whole = vec![(root.value, root.times)];
    let sums = matches!(root.kind, RootKind::SumPost(..) | RootKind::SumPre(..));
    let own = |source: Source| match source {
        Source::Temporary(k) if uses[k] == 1 && extents[k] == Extent::Connection => {
            Some(&sweep.ops[k])
        }
        _ => None,
    };
    let (true, None, Some(op)) = (sums, root.times, own(root.value)) else {
        return whole;
    };
    let [a, b, c] = op.operands;
    match (op.f, own(c)) {
        (Element::MulAdd, Some(last)) if last.f == Element::Binary(Binary::Mul) => {
            vec![(a, Some(b)), (last.operands[0], Some(last.operands[1]))]
        }
        _ => whole,
    }
}

struct Writer<'a> {
    sweep: &'a Sweep,
    extents: &'a [Extent],
    terms: &'a [Vec<Term>],
    done: Vec<bool>,
    items: Vec<Item>,
    /// The roots that are not written yet.
    waiting: Vec<usize>,
}

impl Writer<'_> {
    fn root(&mut self, k: usize) {
        for (value, times) in self.terms[k].clone() {
            self.value(value);
            if let Some(times) = times {
                self.value(times);
            }
        }
        self.ready();
    }

    /// Writes what a value needs, then the value, then the roots that it completes.
    fn value(&mut self, source: Source) {
        let Source::Temporary(k) = source else { return };
        let is_fixed = matches!(self.extents[k], Extent::One | Extent::Column);
        if self.done[k] || is_fixed {
            return;
        }
        let op = &self.sweep.ops[k];
        let mut operands: Vec<Source> = op.operands[..op.f.arity()].to_vec();
        // The operand that needs most is computed first, so that fewer values wait for it.
        let mut known = vec![None; self.sweep.ops.len()];
        operands.sort_by_cached_key(|source| std::cmp::Reverse(self.depth(*source, &mut known)));
        for operand in operands {
            self.value(operand);
        }
        self.done[k] = true;
        self.items.push(Item::Op(k));
        self.ready();
    }

    /// The number of operations in a row that a value waits for. Values that many others read are looked at once, so
    /// `known` has what was found so far.
    fn depth(&self, source: Source, known: &mut [Option<usize>]) -> usize {
        match source {
            Source::Temporary(k) if !self.done[k] && self.extents[k] == Extent::Connection => {
                if let Some(depth) = known[k] {
                    return depth;
                }
                let op = &self.sweep.ops[k];
                let operands = op.operands[..op.f.arity()].iter();
                let deepest = operands.map(|source| self.depth(*source, known)).max();
                let depth = 1 + deepest.unwrap_or(0);
                known[k] = Some(depth);
                depth
            }
            _ => 0,
        }
    }

    /// Writes the roots whose operands are there. What is stored in a block waits for all reads of its old value.
    fn ready(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for k in waiting {
            let kind = self.sweep.roots[k].kind;
            let stored = match kind {
                RootKind::State(block) => Some(Source::State(block)),
                RootKind::Adjoint(block) => Some(Source::Adjoint(block)),
                _ => None,
            };
            let there = self.terms[k].iter().all(|(value, times)| {
                self.is_done(*value) && times.is_none_or(|times| self.is_done(times))
            });
            if there && stored.is_none_or(|block| !self.is_read_later(block)) {
                self.items.push(Item::Root(k));
            } else {
                self.waiting.push(k);
            }
        }
    }

    /// Writes the roots that still wait: first those that read blocks.
    fn rest(&mut self) {
        let (stores, others): (Vec<usize>, Vec<usize>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|k| {
                let kind = self.sweep.roots[*k].kind;
                matches!(kind, RootKind::State(_) | RootKind::Adjoint(_))
            });
        for k in others.into_iter().chain(stores) {
            self.items.push(Item::Root(k));
        }
    }

    fn is_done(&self, source: Source) -> bool {
        match source {
            Source::Temporary(k) => {
                self.done[k] || matches!(self.extents[k], Extent::One | Extent::Column)
            }
            _ => true,
        }
    }

    /// Returns true if an operation or a root that is not written yet reads a block.
    fn is_read_later(&self, block: Source) -> bool {
        let written = |k: usize| self.items.contains(&Item::Root(k));
        let by_ops = self
            .sweep
            .ops
            .iter()
            .any(|op| !self.done[op.to] && op.operands[..op.f.arity()].contains(&block));
        let by_roots = self.terms.iter().enumerate().any(|(k, terms)| {
            let reads = |(value, times): &Term| *value == block || *times == Some(block);
            !written(k) && terms.iter().any(reads)
        });
        by_ops || by_roots
    }
}
