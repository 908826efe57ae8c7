//! The pipeline as two readable functions: text → syntax → meaning → step graph, and step graph →
//! rewritten step → adjoint graph → optimised graphs.

use crate::engine::fused::Choices;
use crate::ir::{verify, Graph, GraphKind};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, SourceMap, Span};
use crate::lang::sema::{self, checks, Loader, Model, Overrides};
use crate::lang::syntax::ast;
use crate::step::autodiff::{differentiate, Options};
use crate::step::lower::lower;
use crate::step::passes::{
    optimise, optimise_through, rewrite_step, Applied, Form, Pass, Selection,
};
use std::path::Path;
use std::time::Instant;

/// What came out of a compilation, as far as it got.
pub struct Compilation {
    /// All texts that were read.
    pub sources: SourceMap,
    /// What was found.
    pub diagnostics: Diagnostics,
    /// The spec, its imports and the rules and cells of the library it uses, in this order.
    pub files: Vec<ast::File>,
    /// How many of `files` were read from disk (the rest is the library's).
    pub own_files: usize,
    /// The model and its step, unless there are errors.
    pub program: Option<Compiled>,
    /// How long each stage took.
    pub stages: Vec<StageTime>,
}

/// How long a stage of the compiler took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageTime {
    /// Its name, as in the pipeline of the crate.
    pub stage: &'static str,
    /// Seconds.
    pub seconds: f64,
}

/// Times stages that follow each other.
pub(crate) struct Stopwatch {
    since: Instant,
    pub(crate) stages: Vec<StageTime>,
}

impl Stopwatch {
    pub(crate) fn start() -> Stopwatch {
        Stopwatch {
            since: Instant::now(),
            stages: Vec::new(),
        }
    }

    /// Ends a stage; the next one begins.
    pub(crate) fn lap(&mut self, stage: &'static str) {
        let seconds = self.since.elapsed().as_secs_f64();
        self.stages.push(StageTime { stage, seconds });
        self.since = Instant::now();
    }
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

/// A spec without errors.
pub struct Compiled {
    /// What it means.
    pub model: Model,
    /// One step of it.
    pub step: Graph,
}

/// The compiler broke one of its own invariants.
#[derive(Debug, thiserror::Error)]
#[error("the compiler made a graph that breaks its own rules ({stage}): {}", faults.join("; "))]
pub struct InternalFault {
    /// After which stage.
    pub stage: &'static str,
    /// What the verifier says.
    pub faults: Vec<String>,
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
    let mut watch = Stopwatch::start();
    let mut sources = SourceMap::new();
    let mut diagnostics = Diagnostics::new();
    let mut files = sema::parse_all(name, text, load, &mut sources, &mut diagnostics);
    let own_files = files.len();
    let overrides = Overrides::parse(set, &mut sources, &mut diagnostics);
    sema::add_library(&mut files, &mut sources, &mut diagnostics);
    watch.lap("syntax");
    // Items with syntax errors are left out of the tree, so names they declare are missing: only findings
    // that do not depend on other items are told.
    let broken = diagnostics.has_errors();
    let mut found = Diagnostics::new();
    let expansion = sema::expand(&files, &overrides, &mut sources, &mut found);
    let model = sema::analyse(&files, &expansion, &overrides, &mut found);
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
        checks::run(&model, &step, &mut diagnostics);
        watch.lap("checks");
        program = Some(Compiled { model, step });
    }
    diagnostics.settle(&sources);
    diagnostics.sort();
    Ok(Compilation {
        sources,
        diagnostics,
        files,
        own_files,
        program,
        stages: watch.stages,
    })
}

/// Whether a finding of this code is right even where other items of the file are missing.
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

/// The adjoint of a step, verified.
///
/// # Errors
/// For faults of the compiler itself.
pub fn adjoint(step: &Graph, options: Options) -> Result<Graph, InternalFault> {
    let adjoint = differentiate(step, options);
    verified("autodiff", &adjoint, GraphKind::Adjoint)?;
    Ok(adjoint)
}

/// A step and its adjoint as backends run them.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The step.
    pub step: Graph,
    /// Its adjoint.
    pub adjoint: Graph,
    /// How the fused kernels are made.
    pub choices: Choices,
    /// Which form each trace has, and why; empty where no pass chose one.
    pub forms: Vec<Form>,
    /// What each pass did.
    pub passes: Vec<Applied>,
    /// How long each stage took.
    pub stages: Vec<StageTime>,
}

/// The selected passes over a step, its adjoint, and the selected passes over both.
///
/// `episode` is the number of steps of an episode, for training: with it, passes may give the step other states than the
/// spec has, and no adjoint by a state's name can be asked for. Without it the states stay as they are.
///
/// # Errors
/// For faults of the compiler itself.
pub fn prepare(
    step: &Graph,
    options: Options,
    selection: &Selection,
    episode: Option<usize>,
) -> Result<Prepared, InternalFault> {
    prepare_through(step, options, selection, episode, None)
}

/// As [`prepare`], up to and with the pass `last` where one is given.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_through(
    step: &Graph,
    options: Options,
    selection: &Selection,
    episode: Option<usize>,
    last: Option<&Pass>,
) -> Result<Prepared, InternalFault> {
    let mut watch = Stopwatch::start();
    let rewritten = rewrite_step(step, episode, selection, last)?;
    watch.lap("passes on the step");
    let backward = adjoint(&rewritten.step, options)?;
    watch.lap("autodiff");
    let (step, rest) = (&rewritten.step, &rewritten.rest);
    let optimised = match last {
        Some(last) => optimise_through(step, Some(&backward), rest, last)?,
        None => optimise(step, Some(&backward), rest)?,
    };
    watch.lap("passes");
    Ok(Prepared {
        step: optimised.step,
        adjoint: optimised.adjoint.unwrap_or(backward),
        choices: optimised.choices,
        forms: rewritten.forms,
        passes: [rewritten.report, optimised.report].concat(),
        stages: watch.stages,
    })
}

fn verified(stage: &'static str, graph: &Graph, kind: GraphKind) -> Result<(), InternalFault> {
    let faults = verify(graph, kind);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(InternalFault { stage, faults })
    }
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
