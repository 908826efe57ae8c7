//! Warnings that are meant: `allow(W0104, "an episode has ten steps")`.

use crate::lang::diag::{Code, Diagnostic, Diagnostics, Severity, Span};
use crate::lang::syntax::ast::{ExprKind, File, ItemKind, Stmt, StmtKind};

/// Warnings of a code that are meant at some place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    code: Code,
    place: Span,
}

impl Allowed {
    /// Tells if a finding is meant.
    pub fn covers(&self, diagnostic: &Diagnostic) -> bool {
        let (place, at) = (self.place, diagnostic.primary.span);
        diagnostic.code == self.code
            && place.source == at.source
            && place.start <= at.start
            && at.end <= place.end
    }
}

/// All warnings that the files allow. An `allow` holds for the network, rule, cell or bundle that it stands in; in a bundle
/// also for the rule of the bundle, and in the braces of a cell's use for that cell.
pub fn allowed(files: &[File], diagnostics: &mut Diagnostics) -> Vec<Allowed> {
    let mut reader = Reader {
        files,
        found: Vec::new(),
        diagnostics,
    };
    for item in files.iter().flat_map(|file| &file.items) {
        if let ItemKind::Network { body, .. }
        | ItemKind::Rule { body, .. }
        | ItemKind::Cell { body, .. } = &item.kind
        {
            reader.body(body, &[item.span]);
        }
    }
    reader.found
}

struct Reader<'f, 'd> {
    files: &'f [File],
    found: Vec<Allowed>,
    diagnostics: &'d mut Diagnostics,
}

impl Reader<'_, '_> {
    fn body(&mut self, body: &[Stmt], places: &[Span]) {
        for stmt in body {
            match &stmt.kind {
                StmtKind::Allow { code, reason } => {
                    if matches!(&reason.kind, ExprKind::Text(text) if text.trim().is_empty()) {
                        let name = &code.name;
                        let message = format!("`allow({name}, ..)` gives no reason");
                        let help = format!("say why the warning is meant, as in `allow({name}, \"an episode has ten steps\")`");
                        let empty = Diagnostic::new(Code::BadSetting, reason.span, message);
                        self.diagnostics.push(empty.with_help(help));
                    }
                    match Code::parse(&code.name) {
                        Some(known) if known.severity() == Severity::Warning => {
                            let allowed = places.iter().map(|place| Allowed {
                                code: known,
                                place: *place,
                            });
                            self.found.extend(allowed);
                        }
                        _ => {
                            let name = &code.name;
                            let warnings = Code::ALL.iter().map(|code| code.text());
                            let warnings = warnings.filter(|code| code.starts_with('W'));
                            let diagnostic = Diagnostic::new(
                                Code::UnknownName,
                                code.span,
                                format!("no warning is called `{name}`"),
                            );
                            let help = match Diagnostics::nearest(name, warnings) {
                            Some(near) if !name.starts_with('E') => format!("did you mean `{near}`?"),
                            _ => "the codes of warnings begin with W, as in `allow(W0104, \"why\")`"
                                .to_owned(),
                        };
                            self.diagnostics.push(diagnostic.with_help(help));
                        }
                    }
                }
                StmtKind::Plastic { using, body, .. } => {
                    let rule = using.as_ref().and_then(|using| self.item(&using.name.name));
                    let places: Vec<Span> = [stmt.span].into_iter().chain(rule).collect();
                    self.body(body, &places);
                }
                StmtKind::Cell {
                    cell, using, body, ..
                } => {
                    let names = [cell].into_iter().chain(using);
                    let items = names.filter_map(|used| self.item(&used.name.name));
                    let places: Vec<Span> = [stmt.span].into_iter().chain(items).collect();
                    self.body(body, &places);
                }
                _ => {
                    if let Some(body) = stmt.kind.body() {
                        self.body(body, places);
                    }
                }
            }
        }
    }

    /// The place of a rule or cell.
    fn item(&self, wanted: &str) -> Option<Span> {
        let items = self.files.iter().flat_map(|file| &file.items);
        let mut items = items.filter(|item| match &item.kind {
            ItemKind::Rule { name, .. } | ItemKind::Cell { name, .. } => name.name == wanted,
            _ => false,
        });
        items.next().map(|item| item.span)
    }
}
