//! Sizes: variables that are unified where two vectors combine, and arithmetic on them.

use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::syntax::ast::BinaryOp;

/// The largest size of one axis.
pub const MAX_SIZE: u64 = 1 << 32;

/// The largest number of elements of one parameter, or of one lane of one trace.
pub const MAX_ELEMENTS: u64 = 1 << 40;

/// A size that may not be known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeVar(pub u32);

impl SizeVar {
    /// The index of the variable.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Arithmetic on sizes. `/` rounds down.
#[derive(Clone, Debug)]
pub enum SizeExpr {
    /// A number.
    Constant(u64),
    /// A variable.
    Variable(SizeVar),
    /// An operation `a op b`, with its place.
    Binary(BinaryOp, Box<SizeExpr>, Box<SizeExpr>, Span),
    /// A placeholder for an expression with an error.
    Poison,
}

/// The reason why a [`SizeExpr`] has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SizeFault {
    /// A variable in it is not known yet.
    Unknown(SizeVar),
    /// Overflow, division by zero or a negative result.
    Arithmetic(Span),
    /// An error was already reported.
    Poison,
}

#[derive(Clone, Debug)]
struct Cell {
    parent: u32,
    value: Option<u64>,
    /// True if an error about it was already reported.
    poisoned: bool,
    /// The thing that has this size, for messages.
    what: String,
    span: Span,
}

/// All sizes of a model: a union–find whose classes may have a value.
#[derive(Clone, Debug, Default)]
pub struct SizeTable {
    cells: Vec<Cell>,
    deferred: Vec<(SizeVar, SizeExpr, Span)>,
    /// Sizes that met a vector of one element.
    met_one: Vec<SizeVar>,
}

impl SizeTable {
    /// A new unknown size; `what` names it in messages ("`y`").
    pub fn fresh(&mut self, what: impl Into<String>, span: Span) -> SizeVar {
        let id = self.cells.len() as u32;
        self.cells.push(Cell {
            parent: id,
            value: None,
            poisoned: false,
            what: what.into(),
            span,
        });
        SizeVar(id)
    }

    /// A known size.
    pub fn known(&mut self, value: u64, what: impl Into<String>, span: Span) -> SizeVar {
        let var = self.fresh(what, span);
        self.cells[var.index()].value = Some(value);
        var
    }

    fn root(&self, var: SizeVar) -> usize {
        let mut k = var.index();
        while self.cells[k].parent as usize != k {
            k = self.cells[k].parent as usize;
        }
        k
    }

    fn compress(&mut self, var: SizeVar) -> usize {
        let root = self.root(var);
        let mut k = var.index();
        while self.cells[k].parent as usize != k {
            let next = self.cells[k].parent as usize;
            self.cells[k].parent = root as u32;
            k = next;
        }
        root
    }

    /// The value, if it is already known.
    pub fn get(&self, var: SizeVar) -> Option<u64> {
        self.cells[self.root(var)].value
    }

    fn is_poisoned(&self, var: SizeVar) -> bool {
        self.cells[self.root(var)].poisoned
    }

    /// Makes two sizes equal. If they differ, it reports that at `at`, naming both declarations. Returns
    /// whether they agree.
    pub fn unify(
        &mut self,
        a: SizeVar,
        b: SizeVar,
        at: Span,
        diagnostics: &mut Diagnostics,
    ) -> bool {
        let (ra, rb) = (self.compress(a), self.compress(b));
        if ra == rb {
            return true;
        }
        match (self.cells[ra].value, self.cells[rb].value) {
            (Some(x), Some(y)) if x != y => {
                if !self.cells[ra].poisoned && !self.cells[rb].poisoned {
                    let (ca, cb) = (self.origin(a), self.origin(b));
                    let mut diagnostic = Diagnostic::new(
                        Code::SizeMismatch,
                        at,
                        format!("{} has size {x}, but {} has size {y}", ca.what, cb.what),
                    )
                    .with_label("these must be equal");
                    if ca.span != at {
                        diagnostic = diagnostic.with_secondary(ca.span, format!("size {x}"));
                    }
                    if cb.span != at && cb.span != ca.span {
                        diagnostic = diagnostic.with_secondary(cb.span, format!("size {y}"));
                    }
                    diagnostics.push(diagnostic);
                }
                return false;
            }
            (None, Some(_)) => self.join(ra, rb),
            (Some(_), _) | (None, None) => self.join(rb, ra),
        }
        true
    }

    fn join(&mut self, child: usize, root: usize) {
        let poisoned = self.cells[child].poisoned || self.cells[root].poisoned;
        self.cells[child].parent = root as u32;
        self.cells[root].poisoned = poisoned;
    }

    /// The declaration that gave the class of `var` its value, else `var` itself.
    fn origin(&self, var: SizeVar) -> &Cell {
        let root = &self.cells[self.root(var)];
        if root.what.is_empty() {
            &self.cells[var.index()]
        } else {
            root
        }
    }

    /// Evaluates an expression.
    ///
    /// # Errors
    /// See [`SizeFault`].
    pub fn evaluate(&self, expr: &SizeExpr) -> Result<u64, SizeFault> {
        match expr {
            SizeExpr::Constant(value) => Ok(*value),
            SizeExpr::Variable(var) if self.is_poisoned(*var) => Err(SizeFault::Poison),
            SizeExpr::Variable(var) => self.get(*var).ok_or(SizeFault::Unknown(*var)),
            SizeExpr::Poison => Err(SizeFault::Poison),
            SizeExpr::Binary(op, a, b, span) => {
                let (a, b) = (self.evaluate(a)?, self.evaluate(b)?);
                let value = match op {
                    BinaryOp::Add => a.checked_add(b),
                    BinaryOp::Subtract => a.checked_sub(b),
                    BinaryOp::Multiply => a.checked_mul(b),
                    BinaryOp::Divide => a.checked_div(b),
                    BinaryOp::Power => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
                    BinaryOp::Or
                    | BinaryOp::And
                    | BinaryOp::Equal
                    | BinaryOp::NotEqual
                    | BinaryOp::Less
                    | BinaryOp::LessEqual
                    | BinaryOp::Greater
                    | BinaryOp::GreaterEqual => None,
                };
                value.ok_or(SizeFault::Arithmetic(*span))
            }
        }
    }

    /// Makes `var` equal to `expr`: now if `expr` is known, else in [`SizeTable::solve`].
    pub fn define(
        &mut self,
        var: SizeVar,
        expr: SizeExpr,
        at: Span,
        diagnostics: &mut Diagnostics,
    ) {
        match self.evaluate(&expr) {
            Ok(value) => self.define_known(var, value, at, diagnostics),
            Err(SizeFault::Unknown(_)) => self.deferred.push((var, expr, at)),
            Err(SizeFault::Poison) => self.mark(var),
            Err(SizeFault::Arithmetic(span)) => {
                diagnostics.push(arithmetic(span));
                self.mark(var);
            }
        }
    }

    /// Suppresses further errors about an unknown size, because it has one already.
    pub fn forgive(&mut self, var: SizeVar) {
        if self.get(var).is_none() {
            self.mark(var);
        }
    }

    /// Remembers that something of this size met a vector of one element. Such a vector fits any size, so it determines
    /// this one only where nothing else does.
    pub fn meet_one(&mut self, var: SizeVar) {
        if self.get(var).is_none() {
            self.met_one.push(var);
        }
    }

    /// Makes one more size 1, of those that met a vector of one element and nothing else determines. Returns whether
    /// there was one.
    fn settle_one(&mut self) -> bool {
        let open: Vec<usize> = self
            .met_one
            .iter()
            .map(|var| self.root(*var))
            .filter(|root| self.cells[*root].value.is_none() && !self.cells[*root].poisoned)
            .collect();
        // A size that waits for others may still follow from them.
        let waiting: Vec<usize> = self.deferred.iter().map(|d| self.root(d.0)).collect();
        let free = open.iter().find(|root| !waiting.contains(root));
        match free.or(open.first()) {
            Some(root) => {
                self.cells[*root].value = Some(1);
                true
            }
            None => false,
        }
    }

    fn mark(&mut self, var: SizeVar) {
        let root = self.compress(var);
        self.cells[root].poisoned = true;
    }

    fn define_known(&mut self, var: SizeVar, value: u64, at: Span, diagnostics: &mut Diagnostics) {
        if let Some(diagnostic) = check_size(value, at) {
            diagnostics.push(diagnostic);
            self.mark(var);
            return;
        }
        let what = self.cells[var.index()].what.clone();
        let known = self.known(value, what, at);
        self.unify(var, known, at, diagnostics);
    }

    /// Gives every size its value; reports sizes that nothing determines.
    pub fn solve(&mut self, diagnostics: &mut Diagnostics) -> Vec<usize> {
        loop {
            let before = self.deferred.len();
            for (var, expr, at) in std::mem::take(&mut self.deferred) {
                self.define(var, expr, at, diagnostics);
            }
            if self.deferred.len() == before && !self.settle_one() {
                break;
            }
        }
        let mut values = Vec::with_capacity(self.cells.len());
        for k in 0..self.cells.len() {
            let root = self.compress(SizeVar(k as u32));
            let cell = &self.cells[root];
            if cell.value.is_none() && !cell.poisoned {
                diagnostics.push(
                    Diagnostic::new(
                        Code::SizeUnknown,
                        cell.span,
                        format!("nothing determines the size of {}", cell.what),
                    )
                    .with_help("give it: `linear(x, 100)`, `y: [100] = ...`, or `state h: [100]` where it is stored"),
                );
                self.cells[root].poisoned = true;
            }
            values.push(self.cells[root].value.unwrap_or(1) as usize);
        }
        // A size is poisoned where something was reported; that this holds is not left to chance.
        let broken = self.cells.iter().find(|cell| cell.poisoned);
        if let (Some(cell), false) = (broken, diagnostics.has_errors()) {
            diagnostics.push(Diagnostic::new(
                Code::SizeUnknown,
                cell.span,
                format!("the size of {} cannot be found", cell.what),
            ));
        }
        values
    }
}

/// The diagnostic for a size that is zero or too large; else `None`.
pub fn check_size(value: u64, at: Span) -> Option<Diagnostic> {
    if value == 0 {
        Some(
            Diagnostic::new(Code::BadSize, at, "this size is 0")
                .with_help("sizes are whole numbers from 1"),
        )
    } else if value > MAX_SIZE {
        Some(Diagnostic::new(
            Code::BadSize,
            at,
            format!("this size is {value}; the largest is {MAX_SIZE}"),
        ))
    } else {
        None
    }
}

/// The diagnostic for arithmetic without a result.
pub fn arithmetic(at: Span) -> Diagnostic {
    Diagnostic::new(
        Code::BadSize,
        at,
        "this arithmetic has no positive whole result",
    )
    .with_help("sizes are whole numbers from 1; `/` rounds down")
}
