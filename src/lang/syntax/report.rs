//! Reports of errors, up to a limit.

use crate::lang::diag::{Diagnostic, Diagnostics, SourceId, Span};

use super::parse::MAX_ERRORS;

/// A reporter of the errors of one text, up to [`MAX_ERRORS`].
pub(super) struct Reporter<'d> {
    source: SourceId,
    diagnostics: &'d mut Diagnostics,
    left: usize,
}

impl<'d> Reporter<'d> {
    pub(super) fn new(source: SourceId, diagnostics: &'d mut Diagnostics) -> Reporter<'d> {
        Reporter {
            source,
            diagnostics,
            left: MAX_ERRORS,
        }
    }

    /// Returns true if no further error will be shown.
    pub(super) fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Returns true if anything was reported.
    pub(super) fn has_reported(&self) -> bool {
        self.left < MAX_ERRORS
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        if self.left > 0 {
            self.left -= 1;
            self.diagnostics.push(diagnostic);
        }
    }

    pub(super) fn source(&self) -> SourceId {
        self.source
    }

    /// The span of the bytes `start..end` of the text.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.source, start, end)
    }
}
