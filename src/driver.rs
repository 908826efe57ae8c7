//! The pipeline from a text to a checked step graph, as one readable function.

use crate::ir::GraphKind;
use crate::lang::diag::{Code, Diagnostic, Diagnostics, SourceId, SourceMap, Span};
use crate::lang::sema::{self, checks, Loader, Overrides};
use crate::lang::syntax::ast;
use crate::learn;
use crate::step::autodiff::reached_parameters;
use crate::step::lower::lower;
use crate::step::{verified, Compiled, InternalFault, StageTime, Stopwatch};
use std::path::Path;

/// The result of a compilation, as far as it got.
pub struct Compilation {
    /// All texts that were read.
    pub sources: SourceMap,
    /// The findings.
    pub diagnostics: Diagnostics,
    /// The spec, its imports and the rules and cells of the library it uses, in this order.
    pub files: Vec<ast::File>,
    /// The number of `files` that were read from disk (the rest is the library's).
    pub own_files: usize,
    /// The model and its step, unless there are errors.
    pub program: Option<Compiled>,
    /// The time of each stage.
    pub stages: Vec<StageTime>,
}

impl Compilation {
    /// The program, for commands that cannot do without: where a sound file has no network, this says so.
    pub fn required(&mut self) -> Option<&Compiled> {
        if self.program.is_none() && !self.diagnostics.has_errors() {
            if let Some(file) = self.files.first() {
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::MissingItem,
                        Span::new(file.source, 0, 0),
                        "this spec has no network",
                    )
                    .with_help("`bpmc new NAME` writes one to start from; a file of shared parts is for `import`"),
                );
            }
        }
        self.program.as_ref()
    }
}

/// Compiles `text`, called `name`, with `--set` arguments. `load` reads imported files.
///
/// # Errors
/// Only for faults of the compiler itself; faults of the spec are in [`Compilation::diagnostics`].
pub fn compile(
    name: &str,
    text: &str,
    set: &[String],
    load: &Loader<'_>,
) -> Result<Compilation, InternalFault> {
    finish(parse(name, text, load), set)
}

/// Parses `text`, called `name`, and all that it imports, and goes no further.
pub fn parse(name: &str, text: &str, load: &Loader<'_>) -> Compilation {
    let mut watch = Stopwatch::start();
    let mut sources = SourceMap::new();
    let mut diagnostics = Diagnostics::new();
    let files = sema::parse_all(name, text, load, &mut sources, &mut diagnostics);
    watch.lap("syntax");
    Compilation {
        sources,
        diagnostics,
        own_files: files.len(),
        files,
        program: None,
        stages: watch.stages,
    }
}

/// Compiles what [`parse`] has read, with `--set` arguments.
///
/// # Errors
/// As those of [`compile`].
pub fn finish(parsed: Compilation, set: &[String]) -> Result<Compilation, InternalFault> {
    let mut watch = Stopwatch::start();
    watch.stages = parsed.stages;
    let (mut sources, mut diagnostics, mut files) =
        (parsed.sources, parsed.diagnostics, parsed.files);
    let name = Path::new(&sources.file(SourceId(0)).name);
    let directory = name.parent().unwrap_or(Path::new("")).to_owned();
    let catalog = learn::catalog(&directory);
    let overrides = Overrides::parse(set, &catalog, &mut sources, &mut diagnostics);
    sema::add_library(&mut files, &mut sources, &mut diagnostics);
    let allowed = sema::allowed(&files, &mut diagnostics);
    // Items with syntax errors are left out of the tree, so names they declare are missing: only findings
    // that do not depend on other items are told.
    let broken = diagnostics.has_errors();
    let mut found = Diagnostics::new();
    let unrolled = sema::unroll(&files, &overrides, &mut found);
    // What could not be written out would be reported again under other names.
    let model = if found.has_errors() {
        None
    } else {
        let expansion = sema::expand(&unrolled, &overrides, &mut sources, &mut found);
        sema::analyse(&unrolled, &expansion, &overrides, &catalog, &mut found)
    };
    for diagnostic in found.iter() {
        if !broken || stands_alone(diagnostic.code) {
            diagnostics.push(diagnostic.clone());
        }
    }
    watch.lap("sema");
    let mut program = None;
    if let (Some(model), false) = (model, diagnostics.has_errors()) {
        let step = lower(&model);
        verified("lowering", &step, GraphKind::Step)?;
        watch.lap("lower");
        checks::run(&model, &reached_parameters(&step), &mut diagnostics);
        watch.lap("checks");
        program = Some(Compiled { model, step });
    }
    diagnostics.settle(&sources);
    diagnostics.retain(|found| !allowed.iter().any(|allowed| allowed.covers(found)));
    diagnostics.sort();
    Ok(Compilation {
        sources,
        diagnostics,
        files,
        own_files: parsed.own_files,
        program,
        stages: watch.stages,
    })
}

/// Returns true if a finding of this code is right even where other items of the file are missing.
fn stands_alone(code: Code) -> bool {
    matches!(
        code,
        Code::Duplicate
            | Code::BadCall
            | Code::UnknownSetting
            | Code::UnknownBlock
            | Code::BadSetting
            | Code::BadInitialiser
            | Code::MisplacedStatement
    )
}

/// Reads imported files from disk.
///
/// # Errors
/// Those of the file system, and texts that are not UTF-8.
pub fn from_disk(path: &Path) -> std::io::Result<String> {
    read_text(path)
}

/// The text of a spec; too large files are cut off one byte past the limit of the syntax, so that the
/// parser refuses them without all of it being read.
///
/// # Errors
/// Those of the file system, and texts that are not UTF-8.
pub fn read_text(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    const MOST: u64 = (1 << 20) + 4;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MOST)
        .read_to_end(&mut bytes)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        // The limit may have cut a character in two.
        Err(error) if error.as_bytes().len() as u64 == MOST => {
            let valid = error.utf8_error().valid_up_to();
            if valid as u64 + 4 >= MOST {
                Ok(String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned())
            } else {
                Err(not_utf8(valid))
            }
        }
        Err(error) => Err(not_utf8(error.utf8_error().valid_up_to())),
    }
}

fn not_utf8(at: usize) -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::InvalidData,
        format!("it is not UTF-8 text (byte {at})"),
    )
}
