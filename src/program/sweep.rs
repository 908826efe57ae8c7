//! The construction of sweeps: equal operations are merged, sweeps can be appended, and unused operations are
//! dropped.

use super::code::{Area, Element, Gathered, Place, Root, RootKind, RowOp, Source, Sweep};
use super::layout::Layout;
use crate::ir::Binary;
use std::collections::HashMap;

/// The sources of a sweep in the areas of another program.
pub(crate) fn in_area(source: Source, map: impl Fn(Area) -> Area) -> Source {
    let place = |p: Place| Place {
        area: map(p.area),
        ..p
    };
    match source {
        Source::Matrix(area, at) => Source::Matrix(map(area), at),
        Source::Post(p) => Source::Post(place(p)),
        Source::Pre(p) => Source::Pre(place(p)),
        Source::Gathered(g) => Source::Gathered(Gathered {
            from: place(g.from),
            ..g
        }),
        other => other,
    }
}

/// The sweep as the next step runs it.
pub(crate) fn older(sweep: &Sweep) -> Sweep {
    let mut builder = SweepBuilder::new(sweep.name, sweep.layout);
    builder.append(
        sweep,
        |source| in_area(source, Area::aged),
        |kind| Some(kind.aged()),
    );
    builder.finish()
}

/// A builder of a sweep's operations and roots.
pub struct SweepBuilder {
    name: &'static str,
    layout: Layout,
    ops: Vec<RowOp>,
    roots: Vec<Root>,
    known: HashMap<(Element, [Source; 3]), Source>,
}

impl SweepBuilder {
    /// An empty sweep over a block.
    pub fn new(name: &'static str, layout: Layout) -> SweepBuilder {
        SweepBuilder {
            name,
            layout,
            ops: Vec::new(),
            roots: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Adds an operation, or finds the equal one.
    pub fn add(&mut self, f: Element, operands: [Source; 3]) -> Source {
        if f == Element::Copy {
            return operands[0];
        }
        let key = (f, normal(f, operands));
        if let Some(found) = self.known.get(&key) {
            return *found;
        }
        let to = self.ops.len();
        self.ops.push(RowOp {
            f,
            to,
            operands: key.1,
        });
        self.known.insert(key, Source::Temporary(to));
        Source::Temporary(to)
    }

    /// The operation that gives a value; `None` for one that is read.
    pub(crate) fn made(&self, value: Source) -> Option<&RowOp> {
        match value {
            Source::Temporary(k) => self.ops.get(k),
            _ => None,
        }
    }

    /// The operations so far.
    pub(crate) fn ops(&self) -> &[RowOp] {
        &self.ops
    }

    /// Adds a root. A value stored in a block becomes a temporary, so that blocks can exchange their values.
    pub fn root(&mut self, kind: RootKind, value: Source) {
        self.product(kind, value, None);
    }

    /// Adds a root that is a product, or a value alone.
    pub fn product(&mut self, kind: RootKind, mut value: Source, times: Option<Source>) {
        let stores = matches!(kind, RootKind::State(_) | RootKind::Adjoint(_));
        if stores && !matches!(value, Source::Temporary(_)) {
            let to = self.ops.len();
            self.ops.push(RowOp {
                f: Element::Copy,
                to,
                operands: [value; 3],
            });
            value = Source::Temporary(to);
        }
        self.roots.push(Root { kind, value, times });
    }

    /// Appends another sweep: `source` maps its sources and `root` its roots (`None` drops one). Returns the
    /// values of its roots in this sweep.
    pub fn append(
        &mut self,
        other: &Sweep,
        source: impl Fn(Source) -> Source,
        root: impl Fn(RootKind) -> Option<RootKind>,
    ) -> Vec<(RootKind, Source)> {
        let mut values = vec![Source::Temporary(usize::MAX); other.temporaries];
        let find = |values: &[Source], from: Source| match from {
            Source::Temporary(k) => values[k],
            other => source(other),
        };
        for op in &other.ops {
            let operands = op.operands.map(|from| find(&values, from));
            values[op.to] = self.add(op.f, operands);
        }
        let mut out = Vec::with_capacity(other.roots.len());
        for one in &other.roots {
            let value = find(&values, one.value);
            let times = one.times.map(|times| find(&values, times));
            out.push((one.kind, value));
            if let Some(kind) = root(one.kind) {
                self.product(kind, value, times);
            }
        }
        out
    }

    /// The sweep, without unused operations.
    pub fn finish(self) -> Sweep {
        let sweep = Sweep {
            name: self.name,
            layout: self.layout,
            temporaries: 0,
            ops: Vec::new(),
            roots: Vec::new(),
        };
        without_unused(&sweep, self.ops, self.roots)
    }
}

/// The normal form of operands: operands beyond the arity repeat the first, and those of commutative
/// operations are sorted, so that equal operations have equal keys.
fn normal(f: Element, operands: [Source; 3]) -> [Source; 3] {
    let [a, b, c] = operands;
    match (f.arity(), f) {
        (1, _) => [a, a, a],
        (2, Element::Binary(Binary::Add | Binary::Mul)) if b < a => [b, a, b],
        (2, _) => [a, b, a],
        (3, Element::MulAdd) if b < a => [b, a, c],
        _ => [a, b, c],
    }
}

/// The sweep with these operations and roots, without unused operations.
pub(crate) fn without_unused(sweep: &Sweep, ops: Vec<RowOp>, roots: Vec<Root>) -> Sweep {
    let mut needed = vec![false; ops.len()];
    let mark = |needed: &mut Vec<bool>, source: Source| {
        if let Source::Temporary(k) = source {
            needed[k] = true;
        }
    };
    for root in &roots {
        mark(&mut needed, root.value);
        if let Some(times) = root.times {
            mark(&mut needed, times);
        }
    }
    for k in (0..ops.len()).rev() {
        if needed[k] {
            for operand in &ops[k].operands[..ops[k].f.arity()] {
                mark(&mut needed, *operand);
            }
        }
    }
    let mut number = vec![usize::MAX; ops.len()];
    let mut kept: Vec<RowOp> = Vec::new();
    let renumber = |number: &[usize], source: Source| match source {
        Source::Temporary(k) => Source::Temporary(number[k]),
        other => other,
    };
    for (k, op) in ops.into_iter().enumerate() {
        if !needed[k] {
            continue;
        }
        let arity = op.f.arity();
        let first = renumber(&number, op.operands[0]);
        let mut operands = [first; 3];
        for (to, from) in operands.iter_mut().zip(&op.operands[..arity]) {
            *to = renumber(&number, *from);
        }
        number[k] = kept.len();
        kept.push(RowOp {
            f: op.f,
            to: kept.len(),
            operands,
        });
    }
    Sweep {
        name: sweep.name,
        layout: sweep.layout,
        temporaries: kept.len(),
        roots: roots
            .into_iter()
            .map(|root| Root {
                kind: root.kind,
                value: renumber(&number, root.value),
                times: root.times.map(|t| renumber(&number, t)),
            })
            .collect(),
        ops: kept,
    }
}
