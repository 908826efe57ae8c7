//! Whole numbers that are known before anything else: those of `dim`s, and arithmetic on them.

use crate::lang::sema::overrides::Overrides;
use crate::lang::syntax::ast::{BinaryOp, Expr, ExprKind, File, Initialiser, ItemKind, UnaryOp};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// The `dim`s of the files with their expressions, evaluated when they are asked for.
pub(super) struct Numbers<'f> {
    dims: BTreeMap<&'f str, &'f Expr>,
    /// Those evaluated so far; `None` while or because one has no value.
    known: RefCell<BTreeMap<&'f str, Option<i64>>>,
    /// The dims that wait for others.
    depth: Cell<usize>,
}

/// The longest chain of dims that need each other.
const DEEPEST: usize = 100;

impl<'f> Numbers<'f> {
    /// Collects the `dim`s; overrides replace their values.
    pub(super) fn of(files: &'f [File], overrides: &'f Overrides) -> Numbers<'f> {
        let mut dims = BTreeMap::new();
        for item in files.iter().flat_map(|file| &file.items) {
            if let ItemKind::Dim { name, value } = &item.kind {
                let value = match overrides.get(&name.name) {
                    Some((Initialiser::Value(value) | Initialiser::Draw(value), _)) => value,
                    None => value,
                };
                dims.entry(name.name.as_str()).or_insert(value);
            }
        }
        Numbers {
            dims,
            known: RefCell::default(),
            depth: Cell::new(0),
        }
    }

    /// The value of an expression of whole numbers and `dim`s, `None` if it is no such expression.
    pub(super) fn value(&self, expr: &Expr) -> Option<i64> {
        match &expr.kind {
            ExprKind::Number { value, .. } => {
                (value.fract() == 0.0 && value.abs() <= 1e15).then_some(*value as i64)
            }
            ExprKind::Name(path) => match &path.parts[..] {
                [part] if part.index.is_none() => self.dim(&part.name),
                _ => None,
            },
            ExprKind::Unary(UnaryOp::Negate, x) => self.value(x)?.checked_neg(),
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.value(a)?, self.value(b)?);
                match op {
                    BinaryOp::Add => a.checked_add(b),
                    BinaryOp::Subtract => a.checked_sub(b),
                    BinaryOp::Multiply => a.checked_mul(b),
                    BinaryOp::Divide => a.checked_div_euclid(b),
                    BinaryOp::Power => a.checked_pow(u32::try_from(b).ok()?),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn dim(&self, name: &str) -> Option<i64> {
        let (name, value) = self.dims.get_key_value(name)?;
        if let Some(known) = self.known.borrow().get(name) {
            return *known;
        }
        // A dim that needs itself finds no value, nor does one at the end of a chain that would fill the stack.
        self.known.borrow_mut().insert(name, None);
        self.depth.set(self.depth.get() + 1);
        let found = (self.depth.get() < DEEPEST)
            .then(|| self.value(value))
            .flatten();
        self.depth.set(self.depth.get() - 1);
        self.known.borrow_mut().insert(name, found);
        found
    }
}
