//! Diagnostics: the mistakes in a spec, their places, and remedies.

mod code;
mod excerpt;
mod explain;
mod json;
mod position;
mod render;
mod source;

pub use crate::ir::{SourceId, Span};
pub use code::Code;
pub use explain::{examples, explain, list_codes};
pub use json::render_json;
pub use position::{LineIndex, Position};
pub use render::{render, Style};
pub use source::{SourceFile, SourceMap};

use std::collections::BTreeMap;

/// The severity of a diagnostic. Errors stop the compilation after the stage that found them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The spec has no meaning, or certainly the wrong one.
    Error,
    /// The spec can run, but probably does not mean what was intended.
    Warning,
}

/// A place with a short text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// The text, a few words; may be empty.
    pub text: String,
}

/// One diagnostic. Build it with [`Diagnostic::new`] and the `with_*` methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The stable code, which also determines the [`Severity`].
    pub code: Code,
    /// The message: one sentence, no full stop, names in backticks.
    pub message: String,
    /// The offending token.
    pub primary: Label,
    /// Other places that matter, the declaration first.
    pub secondary: Vec<Label>,
    /// The remedy in one line, if it is known.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A diagnostic at `span`, without label text.
    pub fn new(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            message: message.into(),
            primary: Label {
                span,
                text: String::new(),
            },
            secondary: Vec::new(),
            help: None,
        }
    }

    /// Sets the text at the primary place.
    pub fn with_label(mut self, text: impl Into<String>) -> Diagnostic {
        self.primary.text = text.into();
        self
    }

    /// Adds another place.
    pub fn with_secondary(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.secondary.push(Label {
            span,
            text: text.into(),
        });
        self
    }

    /// Sets the help line.
    pub fn with_help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help = Some(text.into());
        self
    }

    /// The severity, determined by the code.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

/// The diagnostics of a compilation, in the order they were found.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    suppressed: usize,
    /// True if diagnostics are only counted and not stored.
    counting: bool,
}

/// The largest number of nested cell uses that a diagnostic shows.
const MAX_USES: usize = 4;

/// The largest number of stored diagnostics. Further ones are only counted, so that no text makes the
/// compiler slow.
const MAX_FINDINGS: usize = 200;

impl Diagnostics {
    /// An empty list of diagnostics.
    pub fn new() -> Diagnostics {
        Diagnostics::default()
    }

    /// An empty list that only counts: for a trial of which only the outcome matters.
    pub fn counting() -> Diagnostics {
        Diagnostics {
            counting: true,
            ..Diagnostics::default()
        }
    }

    /// Adds a diagnostic, unless an equal one is already there.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.is_full() {
            self.suppressed += 1;
        } else if !self.list.contains(&diagnostic) {
            self.list.push(diagnostic);
        }
    }

    /// The number of diagnostics that were counted and not stored.
    pub fn suppressed(&self) -> usize {
        self.suppressed
    }

    /// Returns true if any diagnostic is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity() == Severity::Error)
    }

    /// The number of errors.
    pub fn error_count(&self) -> usize {
        self.list
            .iter()
            .filter(|d| d.severity() == Severity::Error)
            .count()
    }

    /// Returns true if there are no diagnostics.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Iterates over all diagnostics.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Replaces the ids of text uses by those of the texts, and adds labels at the uses. A diagnostic found
    /// in several uses of one text is kept for the first use.
    pub fn settle(&mut self, sources: &SourceMap) {
        let mut seen: BTreeMap<(Code, Span), SourceId> = BTreeMap::new();
        self.list.retain_mut(|diagnostic| {
            let source = diagnostic.primary.span.source;
            let mut at = source;
            let mut uses = Vec::new();
            while let Some(place) = sources.used_at(at) {
                if uses.len() < MAX_USES {
                    uses.push(Label {
                        span: place,
                        text: "in the cell used here".to_owned(),
                    });
                }
                at = place.source;
            }
            diagnostic.secondary.extend(uses);
            let labels = diagnostic.secondary.iter_mut();
            for label in labels.chain([&mut diagnostic.primary]) {
                label.span.source = sources.original(label.span.source);
            }
            let key = (diagnostic.code, diagnostic.primary.span);
            *seen.entry(key).or_insert(source) == source
        });
    }

    /// Keeps the diagnostics that `wanted` is true for.
    pub fn retain(&mut self, wanted: impl Fn(&Diagnostic) -> bool) {
        self.list.retain(wanted);
    }

    /// Sorts the diagnostics by file, place and code, in which order they are shown.
    pub fn sort(&mut self) {
        self.list
            .sort_by_key(|diagnostic| (diagnostic.primary.span, diagnostic.code));
    }

    /// Returns true if further diagnostics are only counted, so that their details need not be computed.
    pub fn is_full(&self) -> bool {
        self.counting || self.list.len() >= MAX_FINDINGS
    }

    /// The nearest of `candidates` to `name`, if one is near enough to suggest. To bound the time, names of
    /// over 40 characters and candidates after the first thousand are ignored.
    pub fn nearest<'a>(
        name: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'a str> {
        const LONGEST: usize = 40;
        let length = |text: &str| text.chars().take(LONGEST + 1).count();
        let own = length(name);
        if own > LONGEST {
            return None;
        }
        candidates
            .into_iter()
            .take(1000)
            .filter_map(|candidate| {
                let other = length(candidate);
                let limit = other.max(3) / 3;
                if other > LONGEST || own.abs_diff(other) > limit {
                    return None;
                }
                let distance = strsim::osa_distance(name, candidate);
                // A name without a common character is no suggestion, however short it is.
                let near = distance <= limit && distance < own.max(other);
                near.then_some((distance, candidate))
            })
            .min()
            .map(|(_, candidate)| candidate)
    }
}
