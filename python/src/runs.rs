//! Runs: training, evaluation, parameters, replay, and what a notebook shows of them.

use crate::failure::{detached, Failure};
use crate::network::{program, text_of};
use crate::tools::cores;
use bpmc::driver::{self, Compilation};
use bpmc::lab::evaluation::{Evaluator, Wanted};
use bpmc::lab::replay::{find_part, probes, record_to, Npz, Wanted as Recorded};
use bpmc::lab::report::parts;
use bpmc::lab::run::{
    self, Ending, Init, OnNan, Run, RunError, RunLocation, RunOptions, Which, SPEC,
};
use bpmc::lang::diag::{render, render_json, Style};
use bpmc::learn::trainer::BackendKind;
use bpmc::machine::device::DeviceChoice;
use bpmc::machine::memory;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyTuple};
use serde_json::{json, Map, Value};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The time between two looks at the interpreter while a run trains.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The options that a function was given, as JSON.
struct Options(Map<String, Value>);

impl Options {
    fn parse(text: &str) -> Result<Options, Failure> {
        serde_json::from_str(text).map(Options).map_err(Failure::of)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    fn is(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool) == Some(true)
    }

    fn whole(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }

    fn list(&self, name: &str) -> Vec<String> {
        let list = self.0.get(name).and_then(Value::as_array);
        let words = list.into_iter().flatten().filter_map(Value::as_str);
        words.map(str::to_owned).collect()
    }

    fn threads(&self) -> usize {
        self.whole("threads")
            .map_or_else(cores, |n| n.max(1) as usize)
    }

    fn which(&self) -> Result<Which, Failure> {
        let which = self.text("checkpoint").unwrap_or("last").parse();
        which.map_err(|error| Failure::Named("Error", error))
    }
}

/// The directory of a run, as the functions here are told it.
fn directory(options: &Options) -> Result<PathBuf, Failure> {
    let missing = || Failure::Named("Error", "a run has a directory".to_owned());
    options.path("directory").ok_or_else(missing)
}

/// Fails with the findings of a spec that has errors.
fn sound(compilation: &mut Compilation) -> Result<(), Failure> {
    if compilation.required().is_some() {
        return Ok(());
    }
    let (all, sources) = (&compilation.diagnostics, &compilation.sources);
    Err(Failure::Broken(
        render(all, sources, Style::PLAIN),
        render_json(all, sources),
    ))
}

/// `train(options, observe) -> (JSON, exception or None)`: `observe(iteration, total, measure, value, loss, seconds)` is called now and then, with
/// `each` after each iteration; where it raises, the run ends after the iteration, is saved, and the exception is
/// handed back.
pub fn train(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = arguments.py();
    let (options, observe): (String, Py<PyAny>) = arguments.extract()?;
    let mut raised = None;
    let result = detached(py, || {
        let options = Options::parse(&options)?;
        let (compilation, prepared) = prepare(&options)?;
        let mut run = Run::prepare(&compilation, &prepared).map_err(Failure::of)?;
        let total = run.manifest().iterations_planned;
        let stop = AtomicBool::new(false);
        let each = options.is("each");
        let mut next = Duration::ZERO;
        let ending = run.train(&stop, &mut |report, elapsed| {
            if raised.is_some() || (!each && elapsed < next && report.iteration < total) {
                return;
            }
            next = elapsed + LOOK_EVERY;
            let score = report
                .scores
                .first()
                .map(|(name, value)| (name.clone(), *value));
            let measure = report
                .reward
                .map(|reward| ("reward".to_owned(), reward))
                .or(score);
            let (name, value) = measure.unwrap_or_else(|| ("loss".to_owned(), report.loss));
            let seconds = elapsed.as_secs_f64();
            let told = (report.iteration, total, name, value, report.loss, seconds);
            let seen = Python::attach(|py| {
                py.check_signals()?;
                observe.call1(py, told).map(drop)
            });
            if let Err(error) = seen {
                raised = Some(error);
                stop.store(true, Ordering::Relaxed);
            }
        });
        let directory = run.directory().display().to_string();
        let ending = ending.map_err(|error| match error {
            RunError::NotFinite(located) => {
                let found = render(&located.findings, &located.sources, Style::PLAIN);
                Failure::Named(
                    "NotFiniteError",
                    format!("{found}the run in {directory} stopped"),
                )
            }
            error => Failure::Named(
                "RunError",
                format!("{error}; the run in {directory} stopped"),
            ),
        })?;
        Ok(json!({
            "directory": directory,
            "ending": match ending {
                Ending::Finished => "finished",
                Ending::Settled => "settled",
                Ending::Interrupted => "interrupted",
            },
        })
        .to_string())
    });
    let raised = raised.map(|error| error.into_value(py).into_any());
    Ok((result?, raised).into_pyobject(py)?.into_any().unbind())
}

/// The spec and the options of a run, new or resumed.
fn prepare(options: &Options) -> Result<(Compilation, RunOptions), Failure> {
    let mut set = Vec::new();
    let mut data = options.path("data");
    let mut passes = Default::default();
    let mut backend = BackendKind::default();
    let spec = options.text("spec").unwrap_or_default().to_owned();
    let file = Path::new(&spec);
    let (name, text, location, resume) = if options.is("resume") && file.is_dir() {
        let opened = run::open(file).map_err(Failure::of)?;
        let manifest = opened.manifest;
        set = manifest.all_overrides(file);
        passes = manifest.passes.parse().unwrap_or_default();
        backend = BackendKind::parse(&manifest.backend).unwrap_or_default();
        data = data.or(manifest.data.map(PathBuf::from));
        let own = file.join(SPEC);
        let text = text_of(&own)?;
        (
            own.display().to_string(),
            text,
            RunLocation::At(file.to_owned()),
            true,
        )
    } else {
        let text = match options.text("text") {
            Some(text) => text.to_owned(),
            None => text_of(file)?,
        };
        let stem = file
            .file_stem()
            .map_or("run".into(), |stem| stem.to_string_lossy());
        let location = match options.path("out") {
            Some(out) => RunLocation::At(out),
            None => RunLocation::Under {
                parent: PathBuf::from("runs"),
                stem: stem.into_owned(),
            },
        };
        (spec.clone(), text, location, options.is("resume"))
    };
    set.extend(options.list("set"));
    let compiled = driver::compile(&name, &text, &set, &driver::from_disk);
    let mut compilation = compiled.map_err(Failure::of)?;
    sound(&mut compilation)?;
    if let Some(kind) = options.text("backend") {
        let unknown = || Failure::Named("Error", format!("there is no backend `{kind}`"));
        backend = BackendKind::parse(kind).ok_or_else(unknown)?;
    }
    let run = RunOptions {
        spec,
        overrides: set,
        location,
        resume,
        change: options.is("change"),
        threads: options.threads(),
        backend,
        device: DeviceChoice::CPU,
        passes,
        memory: memory::free(),
        on_nan: match options.text("on_nan") {
            Some("skip") => OnNan::Skip,
            Some("rollback") => OnNan::Rollback,
            Some(_) | None => OnNan::Stop,
        },
        tensorboard: options.is("tensorboard"),
        init: options.path("init").map(|path| Init {
            path,
            partial: options.is("init_partial"),
        }),
        data,
    };
    Ok((compilation, run))
}

/// `opened(directory) -> JSON`: the manifest of a run, and its checkpoints.
pub fn opened(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = arguments.py();
    let (options,): (String,) = arguments.extract()?;
    let text = detached(py, || {
        let options = Options::parse(&options)?;
        let opened = run::open_apart(&directory(&options)?).map_err(Failure::of)?;
        let manifest = serde_json::to_value(&opened.manifest).map_err(Failure::of)?;
        let checkpoints = run::checkpoints(&opened.directory).map_err(Failure::of)?;
        let checkpoints: Vec<u64> = checkpoints.iter().map(|(at, _)| *at).collect();
        Ok(json!({"manifest": manifest, "checkpoints": checkpoints}).to_string())
    })?;
    Ok(text.into_pyobject(py)?.into_any().unbind())
}

/// `parameters(options) -> [(path, dims, trained, bytes of f32)]` of a checkpoint.
pub fn parameters(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = arguments.py();
    let (options,): (String,) = arguments.extract()?;
    let all = detached(py, || {
        let options = Options::parse(&options)?;
        let opened = run::open_apart(&directory(&options)?).map_err(Failure::of)?;
        let checkpoint = opened.checkpoint(options.which()?).map_err(Failure::of)?;
        let values = opened.parameters(&checkpoint).map_err(Failure::of)?;
        let slots = opened.program().map_err(Failure::of)?.step.params.clone();
        let numbered = slots.into_iter().zip(values);
        let each = numbered.map(|(slot, values)| {
            let bytes = values.iter().flat_map(|x| (*x as f32).to_le_bytes());
            (
                slot.path,
                slot.dims,
                slot.trained,
                bytes.collect::<Vec<u8>>(),
            )
        });
        Ok(each.collect::<Vec<_>>())
    })?;
    let all: Vec<_> = all
        .into_iter()
        .map(|(path, dims, trained, bytes)| (path, dims, trained, PyBytes::new(py, &bytes)))
        .collect();
    Ok(all.into_pyobject(py)?.into_any().unbind())
}

/// `evaluate(options) -> JSON`: fresh episodes of a trained network.
pub fn evaluate(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = arguments.py();
    let (options,): (String,) = arguments.extract()?;
    let text = detached(py, || {
        let options = Options::parse(&options)?;
        let folder = directory(&options)?;
        let mut opened = match options.path("data") {
            Some(path) => {
                let mut opened = run::open_apart(&folder).map_err(Failure::of)?;
                let no_files = |task| {
                    Failure::Named(
                        "Error",
                        format!("data={}: the task `{task}` reads no files", path.display()),
                    )
                };
                opened.test_on(&path).map_err(no_files)?;
                opened
            }
            None => run::open(&folder).map_err(Failure::of)?,
        };
        sound(&mut opened.compilation)?;
        let checkpoint = opened.checkpoint(options.which()?).map_err(Failure::of)?;
        let parameters = opened.parameters(&checkpoint).map_err(Failure::of)?;
        let program = opened.program().map_err(Failure::of)?;
        if bpmc::step::reads_text(&program.model) {
            let text = "a language model is evaluated by the command `bpmc eval`";
            return Err(Failure::Named("Error", text.to_owned()));
        }
        let mut evaluator = Evaluator::new(program, opened.options(options.threads()), parameters)
            .map_err(Failure::of)?;
        let episodes = options.whole("episodes").map(|n| n as usize);
        let wanted = Wanted {
            episodes: episodes.or(evaluator.sequences()).unwrap_or(100),
            greedy: options.is("greedy"),
            seed: opened.manifest.seed,
        };
        let intact = evaluator.intact(wanted).map_err(Failure::of)?;
        let mut ablations = Map::new();
        for word in options.list("ablate") {
            let ablation = word
                .parse()
                .map_err(|error| Failure::Named("Error", error))?;
            let outcome = evaluator.ablated(&ablation, wanted).map_err(Failure::of)?;
            ablations.insert(word, described(&outcome));
        }
        let mut all = described(&intact);
        all["iteration"] = checkpoint.header.iteration.into();
        all["ablations"] = ablations.into();
        Ok(all.to_string())
    })?;
    Ok(text.into_pyobject(py)?.into_any().unbind())
}

fn described(outcome: &bpmc::lab::evaluation::Outcome) -> Value {
    let scores: Map<String, Value> = outcome
        .scores
        .iter()
        .map(|(name, value)| (name.clone(), (*value).into()))
        .collect();
    json!({
        "loss": outcome.loss,
        "measure": outcome.measure,
        "values": outcome.values,
        "scores": scores,
    })
}

/// `replay(options)`: runs an iteration again and writes what was asked for to an npz file.
pub fn replay(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = arguments.py();
    let (options,): (String,) = arguments.extract()?;
    let names = detached(py, || {
        let options = Options::parse(&options)?;
        let folder = directory(&options)?;
        let mut opened = run::open(&folder).map_err(Failure::of)?;
        let iteration = options.whole("iteration");
        if let Some(iteration) = iteration {
            opened = opened.as_of(iteration).map_err(Failure::of)?;
        }
        sound(&mut opened.compilation)?;
        let program = opened.program().map_err(Failure::of)?;
        let all = probes(program);
        let (Some(iteration), Some(path)) = (iteration, options.path("path")) else {
            return Ok(all
                .into_iter()
                .map(|probe| (probe.name, probe.dims))
                .collect::<Vec<_>>());
        };
        let wanted = options.list("probe");
        let found: Result<Vec<_>, _> = wanted.iter().map(|name| find_part(&all, name)).collect();
        let found = found.map_err(Failure::of)?;
        let threads = options.threads();
        let before = opened
            .before_iteration(iteration, threads, &mut |_| ())
            .map_err(Failure::of)?;
        let lanes = options.0.get("lanes").and_then(Value::as_array);
        let lanes: Vec<usize> = lanes
            .into_iter()
            .flatten()
            .filter_map(|lane| lane.as_u64().map(|lane| lane as usize))
            .collect();
        let wanted = Recorded {
            probes: &found,
            lanes: &lanes,
            every: options
                .whole("every")
                .map_or(1, |every| every.max(1) as usize),
        };
        record_to(
            program,
            opened.options(threads),
            &before,
            wanted,
            (&path, &Npz),
        )
        .map_err(Failure::of)?;
        Ok(Vec::new())
    })?;
    Ok(names.into_pyobject(py)?.into_any().unbind())
}

/// `equations(program or None, directory) -> HTML`: the equations of a network, or the curves and equations of a run.
pub fn equations(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = arguments.py();
    let (capsule, folder): (Option<Bound<'_, PyCapsule>>, String) = arguments.extract()?;
    let program = capsule.as_ref().map(program).transpose()?;
    let html = detached(py, || match program {
        Some(program) => Ok(parts::network(&program.compiled.model)),
        None => parts::run(Path::new(&folder)).map_err(Failure::of),
    })?;
    Ok(html.into_pyobject(py)?.into_any().unbind())
}
