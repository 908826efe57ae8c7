//! The knowledge of a spec: its findings, its names and the shapes of its values.

use super::symbols::{Symbol, Symbols};
use crate::driver::{self, Compilation};
use crate::lang::diag::{Diagnostics, SourceId};
use crate::lang::sema::model::Model;
use crate::lang::sema::{self, Loader};
use crate::lang::syntax::ast::{File, ItemKind};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A text with everything it imports, analysed as far as its errors allow.
pub struct Analysis {
    /// The texts and their trees, with the rules and cells of the library.
    pub parsed: Compilation,
    pub symbols: Symbols,
    /// The result of a check, made when somebody first asks for it.
    checked: OnceCell<Checked>,
}

struct Checked {
    compilation: Compilation,
    shapes: Shapes,
}

/// The sizes of values by the places of their names; a name in a rule has those of each use.
type Shapes = BTreeMap<(SourceId, u32), BTreeSet<Vec<usize>>>;

impl Analysis {
    /// Reads a text. `load` reads imported files.
    pub fn new(name: &str, text: &str, load: &Loader<'_>) -> Analysis {
        let mut parsed = driver::parse(name, text, load);
        let Compilation {
            files,
            sources,
            diagnostics,
            ..
        } = &mut parsed;
        sema::add_library(files, sources, diagnostics);
        Analysis {
            symbols: Symbols::new(&parsed.files),
            parsed,
            checked: OnceCell::new(),
        }
    }

    fn checked(&self) -> &Checked {
        self.checked.get_or_init(|| {
            let mut parsed = copy(&self.parsed);
            // Opening a text must not start the program that it names.
            let compilation = if parsed.files.iter().any(names_a_program) {
                parsed.diagnostics.sort();
                parsed
            } else {
                // A fault of the compiler has no place in the text; the command tells it.
                driver::finish(parsed, &[]).unwrap_or_else(|_| copy(&self.parsed))
            };
            let program = compilation.program.as_ref();
            let shapes = program.map(|program| shapes(&program.model, &compilation));
            Checked {
                shapes: shapes.unwrap_or_default(),
                compilation,
            }
        })
    }

    /// The findings of a whole check.
    pub fn findings(&self) -> &Diagnostics {
        &self.checked().compilation.diagnostics
    }

    /// The model, if the spec has no errors.
    pub fn model(&self) -> Option<&Model> {
        let program = self.checked().compilation.program.as_ref();
        program.map(|program| &program.model)
    }

    /// Tells if the whole check was made.
    pub fn is_checked(&self) -> bool {
        self.checked.get().is_some()
    }

    /// The text itself.
    pub fn text(&self) -> &str {
        self.text_of(SourceId(0))
    }

    /// The text of a file.
    pub fn text_of(&self, source: SourceId) -> &str {
        &self.parsed.sources.file(source).text
    }

    /// The path of a file; `None` for rules and cells of the library.
    pub fn path(&self, source: SourceId) -> Option<PathBuf> {
        (!self.is_library(source)).then(|| PathBuf::from(&self.parsed.sources.file(source).name))
    }

    /// Tells if a text is a rule or a cell that comes with bpmc.
    pub fn is_library(&self, source: SourceId) -> bool {
        let files = &self.parsed.files;
        let library = files.iter().skip(self.parsed.own_files);
        library.into_iter().any(|file| file.source == source)
    }

    /// The id of the file with a path.
    pub fn source(&self, path: &Path) -> Option<SourceId> {
        let own = self.parsed.files.iter().take(self.parsed.own_files);
        own.map(|file| file.source)
            .find(|source| Path::new(&self.parsed.sources.file(*source).name) == path)
    }

    /// Tells if some items could not be read.
    pub fn is_broken(&self) -> bool {
        self.parsed.diagnostics.has_errors()
    }

    /// The sizes of a symbol as in `[200]`. Where this text was not checked yet, those that the symbol had in an
    /// earlier text, so that nobody waits for the check.
    pub fn shape(&self, symbol: usize, earlier: Option<&Analysis>) -> Option<String> {
        let own = &self.symbols.list[symbol];
        let earlier = earlier.filter(|earlier| !self.is_checked() && earlier.is_checked());
        let (all, place) = match earlier {
            None => (self, own.span),
            Some(earlier) => {
                let owner = |of: &Analysis, one: &Symbol| {
                    one.parent
                        .map(|parent| of.symbols.list[parent].name.clone())
                };
                let same = earlier.symbols.list.iter().find(|one| {
                    one.name == own.name
                        && one.kind == own.kind
                        && owner(self, own) == owner(earlier, one)
                });
                (earlier, same?.span)
            }
        };
        let all = all.checked().shapes.get(&(place.source, place.start))?;
        let shown: Vec<String> = all.iter().take(3).map(|dims| format!("{dims:?}")).collect();
        let more = if all.len() > 3 { " or others" } else { "" };
        Some(shown.join(" or ") + more)
    }
}

/// The parsed files, which the check takes.
fn copy(parsed: &Compilation) -> Compilation {
    Compilation {
        sources: parsed.sources.clone(),
        diagnostics: parsed.diagnostics.clone(),
        files: parsed.files.clone(),
        own_files: parsed.own_files,
        program: None,
        stages: Vec::new(),
    }
}

fn names_a_program(file: &File) -> bool {
    file.items.iter().any(|item| match &item.kind {
        ItemKind::Block(block) => {
            let process = block
                .name
                .as_ref()
                .is_some_and(|name| name.name == "process");
            block.keyword.name == "task" && process
        }
        _ => false,
    })
}

fn shapes(model: &Model, all: &Compilation) -> Shapes {
    let params = model
        .params
        .iter()
        .map(|slot| (slot.span, slot.dims.clone()));
    let inputs = model
        .inputs
        .iter()
        .map(|slot| (slot.span, slot.dims.clone()));
    let states = model
        .states
        .iter()
        .map(|slot| (slot.span, slot.dims.clone()));
    let values = model
        .definitions
        .iter()
        .map(|value| (Some(value.span), model.dims(value.expr.ty)));
    let bundles = model.bundles.iter().map(|bundle| {
        let dims = vec![model.size(bundle.pre), model.size(bundle.post)];
        (Some(bundle.span), dims)
    });
    let mut found: BTreeMap<_, BTreeSet<Vec<usize>>> = BTreeMap::new();
    // The value that a bundle delivers has the name of the bundle: the sizes of the bundle are told.
    let of_bundles: BTreeSet<_> = model.bundles.iter().map(|bundle| bundle.span).collect();
    let values = values.filter(|(span, _)| span.is_none_or(|span| !of_bundles.contains(&span)));
    let slots = params.chain(inputs).chain(states);
    for (span, dims) in slots.chain(values).chain(bundles) {
        if let Some(span) = span {
            let source = all.sources.original(span.source);
            found.entry((source, span.start)).or_default().insert(dims);
        }
    }
    found
}
