//! Specs with what the compiler makes of them: every `tests/cases/STAGE/NAME.bpm` is compiled up to its
//! stage, and the result compared with the snapshot `NAME.snap` beside it.
//!
//! | stage | snapshot |
//! |---|---|
//! | `parse` | the syntax tree, and what the parser has to say |
//! | `check` | the diagnostics as the command prints them, in plain style |
//! | `graph` | the graph of a step |
//! | `grad` | the adjoint graph |
//! | `opt` | step and adjoint after one pass, or the program after a pass over programs |
//! | `programs` | the program, its CUDA C and its plan, in snapshots `NAME.kernels.snap`, `NAME.cuda.snap` and `NAME.plan.snap` |
//!
//! In `graph`, a rule of the library without a file `rule_NAME.bpm` has a case that is made for it.
//!
//! Comment lines at the top of a file say what a file alone cannot:
//!
//! - `// set: PATH=VALUE` compiles it as with `--set PATH=VALUE`; may be repeated
//! - `// pass: NAME`, in `opt`, is the pass; after others where more lines come before
//! - `// episode: STEPS`, in `opt`, is how many steps an episode has
//! - `// pad: BYTES` appends so many line ends to the text
//! - `// spec: PATH`, in `programs`, is a shipped spec to compile in the place of the file
//! - `// without: cuda`, in `programs`, leaves that snapshot out
//!
//! Imports are read from the case's own directory. Files in a directory below are there to be imported.
//!
//! In `check`, a file whose name begins with a code is its bad example: the code must be among its
//! diagnostics. A file called `good_CODE_...` is its good example, with the construct used as it should
//! be: it must be silent. Every code has both.
//!
//! Specs in `graph`, `grad` and `opt` must be free of errors; `tests/gradients` also takes them for finite
//! differences and for comparing backends.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::gradients::library::is_modulated;
use bpmc::driver::{self, Compilation};
use bpmc::engine::experiment::{Experiment, Target};
use bpmc::lang::diag::{render, Code, Diagnostics, SourceMap, Style};
use bpmc::lang::syntax;
use bpmc::program::compile as program;
use bpmc::step::autodiff::Options;
use bpmc::step::passes::{find, Run, Selection, PIPELINE};
use bpmc::step::{Horizon, Prepared};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};

const UPDATE: &str = "INSTA_UPDATE=always cargo test --release --test all cases::";

pub(crate) fn directory(stage: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(stage)
}

pub(crate) struct Case {
    pub(crate) name: String,
    text: String,
    pub(crate) set: Vec<String>,
    passes: Vec<String>,
    episode: Option<usize>,
    pub(crate) spec: Option<PathBuf>,
    without: Vec<String>,
}

/// All cases of a stage, by name.
fn cases(stage: &str) -> Vec<Case> {
    let paths: Vec<PathBuf> = std::fs::read_dir(directory(stage))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "bpm"))
        .collect();
    let mut all: Vec<Case> = paths.iter().map(|path| case(path)).collect();
    if stage == "graph" {
        all.extend(rules_of_the_library());
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// A case for each rule of the library that has no file.
fn rules_of_the_library() -> impl Iterator<Item = Case> {
    let rules = bpmc::lang::library::names().filter(|rule| {
        let file = directory("graph").join(format!("rule_{rule}.bpm"));
        !file.exists()
    });
    rules.map(|rule| {
        let (argument, modulator) = match is_modulated(rule) {
            true => ("m", "  modulator m = tanh(linear(y, 1))\n"),
            false => ("", ""),
        };
        let text = format!(
            "network agent {{\n  input x: [4]\n  state h: [3] = 0\n\n  \
             plastic rec: h -> y using {rule}({argument}) {{\n    \
             weight w ~ uniform(-0.1, 0.1)\n    \
             coeff alpha ~ uniform(0, 0.1) per connection\n  }}\n\n  \
             y = tanh(linear(x) + rec)\n{modulator}  h <- y\n  output out = linear(y, 2)\n}}\n\n\
             train supervised {{ loss = half_sum_squares, batch = 2, steps = 3 }}\n"
        );
        Case {
            name: format!("rule_{rule}"),
            text,
            set: Vec::new(),
            passes: Vec::new(),
            episode: None,
            spec: None,
            without: Vec::new(),
        }
    })
}

fn case(path: &Path) -> Case {
    let mut text = std::fs::read_to_string(path).unwrap();
    let mut set = Vec::new();
    let mut passes = Vec::new();
    let mut episode = None;
    let mut pad = 0;
    let mut spec = None;
    let mut without = Vec::new();
    for line in text.lines().take_while(|line| line.starts_with("//")) {
        if let Some(option) = line.strip_prefix("// set: ") {
            set.push(option.to_owned());
        } else if let Some(pass) = line.strip_prefix("// pass: ") {
            passes.push(pass.to_owned());
        } else if let Some(steps) = line.strip_prefix("// episode: ") {
            episode = Some(steps.parse().unwrap());
        } else if let Some(bytes) = line.strip_prefix("// pad: ") {
            pad = bytes.parse().unwrap();
        } else if let Some(path) = line.strip_prefix("// spec: ") {
            spec = Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        } else if let Some(kind) = line.strip_prefix("// without: ") {
            without.push(kind.to_owned());
        }
    }
    text.push_str(&"\n".repeat(pad));
    Case {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        text,
        set,
        passes,
        episode,
        spec,
        without,
    }
}

pub(crate) fn compile(stage: &str, case: &Case) -> Compilation {
    let load = |path: &Path| {
        // The system's own words differ between systems.
        std::fs::read_to_string(directory(stage).join(path))
            .map_err(|error| std::io::Error::new(error.kind(), "no such file"))
    };
    driver::compile(&format!("{}.bpm", case.name), &case.text, &case.set, &load).unwrap()
}

pub(crate) fn shown(diagnostics: &Diagnostics, sources: &SourceMap) -> String {
    if diagnostics.is_empty() {
        "(silent)\n".to_owned()
    } else {
        render(diagnostics, sources, Style::PLAIN)
    }
}

/// Compares what `make` gives for each case with its snapshot; tells of all differences at once.
fn snapshots(stage: &str, make: impl Fn(&Case) -> String) {
    snapshots_of(stage, "", make);
}

/// As [`snapshots`], of one kind of several, for the cases that have it.
pub(crate) fn snapshots_of(stage: &str, kind: &str, make: impl Fn(&Case) -> String) {
    let mut all = cases(stage);
    all.retain(|case| !case.without.iter().any(|without| without == kind));
    assert!(!all.is_empty(), "no case in {}", directory(stage).display());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(directory(stage));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.remove_input_file();
    let mut failed = Vec::new();
    for case in &all {
        let compare = AssertUnwindSafe(|| {
            let found = make(case);
            let name = match kind {
                "" => case.name.clone(),
                kind => format!("{}.{kind}", case.name),
            };
            settings.bind(|| insta::assert_snapshot!(name, found));
        });
        if catch_unwind(compare).is_err() {
            failed.push(format!("tests/cases/{stage}/{}.bpm", case.name));
        }
    }
    assert!(
        failed.is_empty(),
        "these cases give something else than their snapshots say:\n  {}\n\
         If that is meant, update them with\n  {UPDATE}\nand look at the difference.",
        failed.join("\n  ")
    );
}

#[test]
fn parse() {
    snapshots("parse", |case| {
        let mut sources = SourceMap::new();
        let mut diagnostics = Diagnostics::new();
        let source = sources.add(format!("{}.bpm", case.name), case.text.as_str());
        let file = syntax::parse(source, &case.text, &mut diagnostics);
        diagnostics.sort();
        format!("{}\n{}", syntax::dump(&file), shown(&diagnostics, &sources))
    });
}

#[test]
fn check() {
    snapshots("check", |case| {
        let compilation = compile("check", case);
        shown(&compilation.diagnostics, &compilation.sources)
    });
}

/// The step graph of a case, which must have no error.
fn step(stage: &str, case: &Case) -> bpmc::ir::Graph {
    let compilation = compile(stage, case);
    let shown = shown(&compilation.diagnostics, &compilation.sources);
    match compilation.program {
        Some(compiled) => compiled.step,
        None => panic!("{shown}"),
    }
}

#[test]
fn graph() {
    snapshots("graph", |case| step("graph", case).to_string());
}

#[test]
fn grad() {
    snapshots("grad", |case| {
        let step = step("grad", case);
        bpmc::step::adjoint(&step, Options::default())
            .unwrap()
            .to_string()
    });
}

/// Step and adjoint after the passes of a case, and the passes over programs that are to run.
fn prepared(case: &Case) -> Prepared {
    let step = step("opt", case);
    let passes = case.passes.iter().map(|name| find(name).unwrap());
    let selection = passes.fold(Selection::level(0), Selection::with);
    let horizon = match case.episode {
        Some(steps) => Horizon::Episode { steps },
        None => Horizon::Unknown,
    };
    let experiment = Experiment::new(&step, horizon, Target::Graphs, &selection).unwrap();
    experiment.whole().graphs.clone()
}

#[test]
fn opt() {
    snapshots("opt", |case| {
        let out = prepared(case);
        let mut text = String::new();
        for applied in &out.passes {
            assert!(applied.rewrites > 0, "{}: {}", case.name, applied.pass);
            let (pass, rewrites) = (applied.pass, applied.rewrites);
            text += &format!(
                "{pass}: {rewrites} rewrites, {} -> {} values\n",
                applied.before, applied.after
            );
        }
        for form in &out.forms {
            text += &format!("{form}\n");
        }
        match find(case.passes.last().unwrap()).unwrap().run {
            Run::Step(_) | Run::Graph(_) => text + &format!("\n{}\n{}", out.step, out.adjoint),
            Run::Kernels(_) => {
                let program = program(&out.step, &out.adjoint, out.choices).unwrap();
                text + &format!("\n{}", program.source())
            }
        }
    });
}

/// A pass over programs that does nothing in its case would go unseen.
#[test]
fn every_pass_over_programs_changes_its_case() {
    for case in cases("opt") {
        let last = find(case.passes.last().unwrap()).unwrap();
        let Run::Kernels(last) = last.run else {
            continue;
        };
        let out = prepared(&case);
        let choices = out.choices;
        let text = |choices| {
            let program = program(&out.step, &out.adjoint, choices).unwrap();
            program.source().to_string()
        };
        let without = text(choices.without(last));
        assert_ne!(text(choices), without, "{} changes nothing", last.name);
    }
}

#[test]
fn every_pass_has_a_case() {
    let cases = cases("opt");
    for pass in PIPELINE.iter() {
        let last = |case: &Case| case.passes.last().is_some_and(|name| name == pass.name);
        assert!(cases.iter().any(last), "tests/cases/opt: {}", pass.name);
    }
}

fn codes(case: &Case) -> Vec<Code> {
    let compilation = compile("check", case);
    compilation.diagnostics.iter().map(|d| d.code).collect()
}

#[test]
fn every_code_has_a_bad_and_a_good_case() {
    let all = cases("check");
    for code in Code::ALL.iter().filter(|code| !code.is_of_running()) {
        let code = *code;
        let named = |start: String| {
            let found: Vec<&Case> = all
                .iter()
                .filter(|case| case.name.starts_with(&start))
                .collect();
            assert!(
                !found.is_empty(),
                "no case tests/cases/check/{start}_....bpm"
            );
            found
        };
        for bad in named(code.text().to_owned()) {
            assert!(codes(bad).contains(&code), "{}: {:?}", bad.name, codes(bad));
        }
        for good in named(format!("good_{}", code.text())) {
            assert_eq!(codes(good), [], "{}", good.name);
        }
    }
}

#[test]
fn names_of_cases_say_what_they_are() {
    for case in cases("check") {
        let name = case.name.strip_prefix("good_").unwrap_or(&case.name);
        let code = name.split('_').next().unwrap();
        let known = Code::parse(code).is_some_and(|c| c.text() == code);
        assert!(known || name.starts_with("many_"), "{}", case.name);
    }
}

#[test]
fn every_cell_of_the_library_has_a_graph() {
    // Spikes have no derivative that differences show, so their cells stand in `grad`.
    let all = cases("graph").into_iter().chain(cases("grad"));
    let names: Vec<String> = all.map(|case| case.name).collect();
    for cell in bpmc::lang::library::cell_names() {
        assert!(names.contains(&format!("cell_{cell}")), "{cell}");
    }
}

#[test]
fn every_snapshot_has_its_case() {
    for stage in ["parse", "check", "graph", "grad", "opt", "programs"] {
        for entry in std::fs::read_dir(directory(stage)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "snap") {
                let name = path.file_stem().unwrap().to_str().unwrap();
                if rules_of_the_library().any(|rule| stage == "graph" && rule.name == name) {
                    continue;
                }
                let case = path.with_extension("");
                let case = match stage {
                    "programs" => case.with_extension("bpm"),
                    _ => path.with_extension("bpm"),
                };
                assert!(case.exists(), "{}", path.display());
            }
        }
    }
}
