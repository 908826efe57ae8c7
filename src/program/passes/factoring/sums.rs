//! Sums over pre or post without the factors that are the same in all their terms.

use super::found;
use super::product::Product;
use crate::ir::Binary;
use crate::program::code::{Area, Element, Instr, Place, RootKind, Source, Sweep};
use crate::program::ir::Regions;
use crate::program::sweep::SweepBuilder;

/// The sums of a sweep.
pub(super) struct Sums {
    /// The terms of each root that is a sum, and the factors that come after it.
    parts: Vec<Option<Part>>,
}

struct Part {
    kind: RootKind,
    terms: Product,
    after: Vec<Place>,
    /// The root that has the same terms and comes first.
    same: usize,
}

impl Sums {
    /// Finds the factors of all sums that can come after them and shall.
    pub(super) fn new(sweep: &Sweep, values: &[Product]) -> Sums {
        let split = |root: &crate::program::code::Root| {
            let whole = found(values, root.value);
            let kind = root.kind;
            if root.times.is_some() {
                return None;
            }
            let mut terms = whole.clone();
            let out = match kind {
                RootKind::SumPre(Area::Lane, _) => &mut terms.columns,
                RootKind::SumPost(Area::Lane, _) => &mut terms.rows,
                _ => return None,
            };
            let place = |source: &Source| match source {
                Source::Post(place) | Source::Pre(place) => Some(*place),
                _ => None,
            };
            let after: Vec<Place> = out.iter().filter_map(place).collect();
            out.retain(|source| place(source).is_none());
            Some((kind, whole, terms, after))
        };
        let found: Vec<_> = sweep.roots.iter().map(split).collect();
        let alike = |a: RootKind, b: RootKind| {
            matches!(
                (a, b),
                (RootKind::SumPre(..), RootKind::SumPre(..))
                    | (RootKind::SumPost(..), RootKind::SumPost(..))
            )
        };
        let parts = found.iter().enumerate().map(|(k, one)| {
            let (kind, whole, terms, after) = one.as_ref()?;
            let same = |other: &Option<(RootKind, Product, Product, Vec<Place>)>| {
                let other = other.as_ref();
                other.is_some_and(|(of, _, other, _)| {
                    alike(*of, *kind) && other.has_factors_of(terms)
                })
            };
            let count = found.iter().filter(|other| same(other)).count();
            // A product of two costs no more than a sum.
            let pays = terms.kinds() > 0 && (count > 1 || whole.kinds() == 3 && terms.kinds() < 3);
            let first = found.iter().position(same).unwrap_or(k);
            Some(if pays {
                Part {
                    kind: *kind,
                    terms: terms.clone(),
                    after: after.clone(),
                    same: first,
                }
            } else {
                Part {
                    kind: *kind,
                    terms: whole.clone(),
                    after: Vec::new(),
                    same: k,
                }
            })
        });
        Sums {
            parts: parts.collect(),
        }
    }

    /// Adds the root `k` of the old sweep to the new one, unless one with the same terms is there. Returns false where it is
    /// no sum over one side.
    pub(super) fn root(&self, out: &mut SweepBuilder, k: usize) -> bool {
        let Some(part) = &self.parts[k] else {
            return false;
        };
        if part.same == k {
            let value = part.terms.value(out);
            out.product(part.kind, value, None);
        }
        true
    }

    /// Gives sums without factors places of their own, and returns the products that come after the sweep.
    pub(super) fn finish(self, sweep: &mut Sweep, regions: &mut Regions) -> Vec<Instr> {
        let mut instrs = Vec::new();
        for (k, first) in self.parts.iter().enumerate() {
            let first = first.as_ref().filter(|part| part.same == k);
            let Some(first) = first else { continue };
            let n = match first.kind {
                RootKind::SumPost(..) => sweep.layout.rows,
                _ => sweep.layout.cols,
            };
            let all = || self.parts.iter().flatten().filter(|part| part.same == k);
            // A sum that has no factors is that of the sweep itself.
            let whole = all().find(|part| part.after.is_empty());
            let kind = match whole {
                Some(part) => part.kind,
                None => moved(first.kind, regions.reserve(n)),
            };
            for root in &mut sweep.roots {
                if root.kind == first.kind {
                    root.kind = kind;
                }
            }
            for part in all().filter(|part| part.kind != kind) {
                let to = target(part.kind);
                instrs.extend(scaled(target(kind), to, n, &part.after, regions));
            }
        }
        instrs
    }
}

fn target(kind: RootKind) -> usize {
    match kind {
        RootKind::SumPre(_, at) | RootKind::SumPost(_, at) => at,
        _ => 0,
    }
}

fn moved(kind: RootKind, to: usize) -> RootKind {
    match kind {
        RootKind::SumPre(area, _) => RootKind::SumPre(area, to),
        RootKind::SumPost(area, _) => RootKind::SumPost(area, to),
        other => other,
    }
}

/// The products of a sum at `from` with factors, into `to`.
fn scaled(from: usize, to: usize, n: usize, after: &[Place], regions: &mut Regions) -> Vec<Instr> {
    let lane = |at: usize| Place {
        area: Area::Lane,
        at,
        stride: usize::from(n > 1),
    };
    let Some((last, before)) = after.split_last() else {
        return vec![Instr::Copy {
            to,
            a: lane(from),
            n,
        }];
    };
    let mut instrs = Vec::new();
    let mut sum = from;
    let mut multiply = |sum: usize, factor: Place, to: usize| {
        let a = lane(sum);
        instrs.push(Instr::Element {
            f: Element::Binary(Binary::Mul),
            to,
            operands: [a, factor, a],
            n,
        });
    };
    for factor in before {
        let to = regions.reserve(n);
        multiply(sum, *factor, to);
        sum = to;
    }
    multiply(sum, *last, to);
    instrs
}
