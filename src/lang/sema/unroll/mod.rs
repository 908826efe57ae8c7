//! Repetition: `for` written out, and names of several, `h[2]`, made names of their own, `h.2`.
//!
//! [`loops`] copies the statements of each `for` once for each index, in which the index is a number.
//! [`names`] then gives each indexed name the name that later stages know. What is declared with an index,
//! `state h[k]: [8] = 0`, is one of several: `h[2]` is its name, and `h.2` in parameters, checkpoints and
//! `--set`. What is declared without one is a vector, and `y[2]` is an element of it.

mod loops;
mod names;
mod numbers;
mod visit;

use super::overrides::Overrides;
use crate::lang::diag::Diagnostics;
use crate::lang::syntax::ast::{File, ItemKind, Stmt};
use names::{Names, Parts};
use numbers::Numbers;
use std::borrow::Cow;

/// Returns the files with all repetitions written out and no index left; untouched if they have none.
/// Statements with faults, which are in `diagnostics`, are left out.
pub fn unroll<'f>(
    files: &'f [File],
    overrides: &Overrides,
    diagnostics: &mut Diagnostics,
) -> Cow<'f, [File]> {
    let kinds = files.iter().flat_map(|file| &file.items);
    if !kinds
        .filter_map(|item| body(&item.kind))
        .any(loops::is_needed)
    {
        return Cow::Borrowed(files);
    }
    let numbers = Numbers::of(files, overrides);
    let mut files = files.to_vec();
    let mut room = loops::MAX_STATEMENTS;
    let items = files.iter_mut().flat_map(|file| &mut file.items);
    for body in items.filter_map(|item| body_mut(&mut item.kind)) {
        *body = loops::written_out(body, &numbers, &mut room, diagnostics);
    }
    let mut parts = Parts::default();
    for item in files.iter().flat_map(|file| &file.items) {
        match &item.kind {
            ItemKind::Cell { name, body, .. } => {
                parts.cells.insert(name.name.clone(), Names::of(body));
            }
            ItemKind::Rule { name, body, .. } => {
                parts.rules.insert(name.name.clone(), Names::of(body));
            }
            _ => {}
        }
    }
    let items = files.iter_mut().flat_map(|file| &mut file.items);
    for body in items.filter_map(|item| body_mut(&mut item.kind)) {
        names::settle(body, &parts, diagnostics);
    }
    Cow::Owned(files)
}

fn body(kind: &ItemKind) -> Option<&Vec<Stmt>> {
    match kind {
        ItemKind::Network { body, .. }
        | ItemKind::Cell { body, .. }
        | ItemKind::Rule { body, .. } => Some(body),
        ItemKind::Version | ItemKind::Import { .. } | ItemKind::Dim { .. } | ItemKind::Block(_) => {
            None
        }
    }
}

fn body_mut(kind: &mut ItemKind) -> Option<&mut Vec<Stmt>> {
    match kind {
        ItemKind::Network { body, .. }
        | ItemKind::Cell { body, .. }
        | ItemKind::Rule { body, .. } => Some(body),
        ItemKind::Version | ItemKind::Import { .. } | ItemKind::Dim { .. } | ItemKind::Block(_) => {
            None
        }
    }
}
