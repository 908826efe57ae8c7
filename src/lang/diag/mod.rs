//! Diagnostics: what is wrong with a spec, where, and how to mend it.

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

/// How bad it is. Errors stop the compilation after the stage that found them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The spec means nothing, or not what was meant.
    Error,
    /// The spec can run, but probably does not say what was meant.
    Warning,
}

/// A place and what to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// A few words; may be empty.
    pub text: String,
}

/// One finding. Build with [`Diagnostic::new`] and the `with_*` methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its stable code, which also gives its [`Severity`].
    pub code: Code,
    /// One sentence, no full stop, names in backticks.
    pub message: String,
    /// The offending token.
    pub primary: Label,
    /// Other places that matter, the declaration first.
    pub secondary: Vec<Label>,
    /// One line that says how to mend it, where that is known.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding at `span`, with no label text.
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

    /// Sets the words at the primary place.
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

    /// Error or warning, as the code says.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

/// The findings of a compilation, in the order they were made.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    suppressed: usize,
    /// Keeps none, only counts.
    counting: bool,
}

/// Most places shown of cells used in cells.
const MAX_USES: usize = 4;

/// Most findings kept; more are only counted, so that no text makes the compiler slow.
const MAX_FINDINGS: usize = 200;

impl Diagnostics {
    /// No findings.
    pub fn new() -> Diagnostics {
        Diagnostics::default()
    }

    /// No findings, and none will be kept: for a trial whose outcome alone matters.
    pub fn counting() -> Diagnostics {
        Diagnostics {
            counting: true,
            ..Diagnostics::default()
        }
    }

    /// Adds one; a finding already there is not repeated.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.is_full() {
            self.suppressed += 1;
        } else if !self.list.contains(&diagnostic) {
            self.list.push(diagnostic);
        }
    }

    /// How many findings were counted and not kept.
    pub fn suppressed(&self) -> usize {
        self.suppressed
    }

    /// Whether any is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity() == Severity::Error)
    }

    /// How many errors there are.
    pub fn error_count(&self) -> usize {
        self.list
            .iter()
            .filter(|d| d.severity() == Severity::Error)
            .count()
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Names the texts themselves in place of their uses, and adds where these stand. What is found in
    /// several uses of one text is told for the first.
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

    /// Orders them by file, place and code, as they are shown.
    pub fn sort(&mut self) {
        self.list
            .sort_by_key(|diagnostic| (diagnostic.primary.span, diagnostic.code));
    }

    /// Whether further findings are only counted. What would make one helpful need not be looked for.
    pub fn is_full(&self) -> bool {
        self.counting || self.list.len() >= MAX_FINDINGS
    }

    /// Nearest of `candidates` to `name`, if one is near enough to suggest. Names of over 40 characters
    /// and candidates after the first thousand are not looked at, which bounds the time.
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
                // A name that shares nothing is no suggestion, however short it is.
                let near = distance <= limit && distance < own.max(other);
                near.then_some((distance, candidate))
            })
            .min()
            .map(|(_, candidate)| candidate)
    }
}
