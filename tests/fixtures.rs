//! Numbers from another framework: every `tests/fixtures/NAME.json` evaluated through
//! `tests/specs/NAME.bpm`, on each backend; those of LSTMs through `tests/specs/cells/NAME.bpm` too, where the same network is
//! made with the library's cell.
//!
//! The files call things by short names; [`PATHS`] says what those are in the specs.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bpmc::driver;
use bpmc::engine::candle::{Candle, Precision};
use bpmc::engine::episode::Engine;
use bpmc::engine::fused::{Fused, Native};
use bpmc::engine::in_step::InStep;
use bpmc::engine::lanes::{Lanes, Shape};
use bpmc::engine::reference::Reference;
use bpmc::learn::given::{self, GivenResults, GivenValues};
use bpmc::learn::values::{self, ValuesLayout};
use bpmc::step::autodiff::Options;
use bpmc::step::Compiled;
use candle_core::Device;
use serde_json::{json, Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of specs that use the cell of the library.
const CELLS: &str = "cells/";

/// Names of the fixtures and paths of the specs. What a fixture holds and this table does not name is an
/// error; what a spec has and a fixture does not, too.
const PATHS: &[(&str, &str)] = &[
    // Parameters of the RNN.
    ("w_in", "y.linear.weight"),
    ("b_in", "y.linear.bias"),
    ("w", "rec.w"),
    ("alpha", "rec.alpha"),
    ("eta", "rec.eta"),
    ("eta_et", "rec.eta"),
    ("w_mod", "m.linear.weight"),
    ("b_mod", "m.linear.bias"),
    ("w_out", "scores.linear.weight"),
    ("b_out", "scores.linear.bias"),
    ("w_val", "value.linear.weight"),
    ("b_val", "value.linear.bias"),
    // Of the LSTM.
    ("wx_f", "f.linear.weight"),
    ("bx_f", "f.linear.bias"),
    ("wh_f", "f.linear2.weight"),
    ("bh_f", "f.linear2.bias"),
    ("wx_i", "i.linear.weight"),
    ("bx_i", "i.linear.bias"),
    ("wh_i", "i.linear2.weight"),
    ("bh_i", "i.linear2.bias"),
    ("wx_o", "o.linear.weight"),
    ("bx_o", "o.linear.bias"),
    ("wh_o", "o.linear2.weight"),
    ("bh_o", "o.linear2.bias"),
    ("wx_c", "g.linear.weight"),
    ("bx_c", "g.linear.bias"),
    // States, where they start and where they end.
    ("h0", "h"),
    ("c0", "c"),
    ("trace0", "rec.hebb"),
    ("elig0", "rec.e"),
    ("h", "h"),
    ("c", "c"),
    ("trace", "rec.hebb"),
    ("elig", "rec.e"),
];

/// How the cell of the library calls what a spec written out in full calls otherwise.
const OF_CELL: &[(&str, &str)] = &[
    ("h", "h_before"),
    ("c", "c_before"),
    ("g.linear.weight", "v.linear.weight"),
    ("g.linear.bias", "v.linear.bias"),
    ("gain.fanout.gain", "rec.M.fanout.gain"),
    ("gain.fanout.bias", "rec.M.fanout.bias"),
];

/// The path of a name of a fixture, in a spec that has one of the candidates.
fn path(name: &str, fixture: &str) -> String {
    let Some(fixture) = fixture.strip_prefix(CELLS) else {
        return path_in_full(name, fixture);
    };
    let full = path_in_full(name, fixture);
    let renamed = OF_CELL.iter().find(|(other, _)| *other == full);
    format!("layer.{}", renamed.map_or(full.as_str(), |(_, own)| own))
}

fn path_in_full(name: &str, fixture: &str) -> String {
    let policy = fixture.ends_with("a2c");
    match name {
        "w_out" if policy => "policy.linear.weight".to_owned(),
        "b_out" if policy => "policy.linear.bias".to_owned(),
        // The fan-out of the RNN stands in the argument of its rule, that of the LSTM in a modulator.
        "w_fan" | "b_fan" => {
            let owner = if fixture.starts_with("rnn") {
                "rec.M"
            } else {
                "gain"
            };
            let part = if name == "w_fan" { "gain" } else { "bias" };
            format!("{owner}.fanout.{part}")
        }
        _ => PATHS
            .iter()
            .find(|(short, _)| *short == name)
            .unwrap_or_else(|| panic!("{fixture}: no path for `{name}`"))
            .1
            .to_owned(),
    }
}

fn output_path(name: &str, fixture: &str) -> &'static str {
    match name {
        "y" if fixture.ends_with("a2c") => "policy",
        "y" => "scores",
        "v" => "value",
        "h" => "hidden",
        other => panic!("{fixture}: no output for `{other}`"),
    }
}

fn numbers(value: &Value, into: &mut Vec<f64>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| numbers(item, into)),
        other => into.push(other.as_f64().unwrap()),
    }
}

fn flat(value: &Value) -> Vec<f64> {
    let mut all = Vec::new();
    numbers(value, &mut all);
    all
}

struct Fixture {
    name: String,
    file: Value,
    compiled: Compiled,
    given: GivenValues,
}

impl Fixture {
    /// The fixture through the spec of its name in `tests/specs`, or in a folder of it.
    fn load(json: &Path, folder: &str) -> Fixture {
        let name = json.file_stem().unwrap().to_str().unwrap();
        let name = format!("{folder}{name}");
        let file: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
        let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/specs/{name}.bpm"));
        let text = std::fs::read_to_string(&spec).unwrap_or_else(|e| panic!("{name}: {e}"));
        let compilation = driver::compile(&name, &text, &[], &driver::from_disk).unwrap();
        let found: Vec<_> = compilation.diagnostics.iter().collect();
        assert!(found.is_empty(), "{name}: {found:?}");
        let compiled = compilation.program.unwrap();
        let given = Self::given(&name, &file, &compiled);
        Fixture {
            name,
            file,
            compiled,
            given,
        }
    }

    /// The fixture's numbers as a file of values, read as `bpmc grad --values` reads one.
    fn given(name: &str, file: &Value, compiled: &Compiled) -> GivenValues {
        let graph = &compiled.step;
        let dims = |path: &str| {
            let slot = graph.params.iter().find(|slot| slot.path == path);
            slot.unwrap_or_else(|| panic!("{name}: the spec has no parameter `{path}`"))
                .dims
                .clone()
        };
        let object = |section: &str| file[section].as_object().unwrap();
        let mut parameters = Map::new();
        for (short, value) in object("params") {
            let path = path(short, name);
            let value = values::nested(&flat(value), &dims(&path));
            assert!(parameters.insert(path, value).is_none(), "{name}: {short}");
        }
        let states: Map<String, Value> = object("initial_state")
            .iter()
            .map(|(short, value)| (path(short, name), value.clone()))
            .collect();
        assert_eq!(states.len(), graph.states.len(), "{name}");
        let mut values = json!({
            "inputs": { "x": file["inputs"]["x"] },
            "initial_state": states,
            "parameters": parameters,
        });
        let train = compiled.model.train.as_ref().unwrap();
        if train.trainer.name == "a2c" {
            values["episode"] = json!({
                "actions": file["inputs"]["actions"],
                "rewards": file["inputs"]["rewards"],
            });
        } else {
            let targets: Map<String, Value> = object("inputs")
                .iter()
                .filter_map(|(short, value)| Some((short.strip_prefix("target_")?, value)))
                .map(|(short, value)| (output_path(short, name).to_owned(), value.clone()))
                .collect();
            assert!(!targets.is_empty(), "{name}");
            values["targets"] = Value::Object(targets);
        }
        let (steps, lanes) = values::extent(&values).unwrap();
        assert_eq!((steps, lanes), (6, 3), "{name}");
        let layout = ValuesLayout::new(compiled, train.trainer.kind, steps, lanes);
        layout
            .read(&values, graph)
            .unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn reference(&self) -> GivenResults {
        let step = &self.compiled.step;
        let adjoint = bpmc::step::adjoint(step, Options::default()).unwrap();
        self.results(&mut InStep::from(Reference::new(step.clone(), adjoint, 3)))
    }

    fn candle(&self, precision: Precision) -> GivenResults {
        let step = &self.compiled.step;
        let adjoint = bpmc::step::adjoint(step, Options::default()).unwrap();
        let executor = Candle::new(step.clone(), adjoint, 3, precision, &Device::Cpu).unwrap();
        self.results(&mut InStep::from(executor))
    }

    fn fused<T: Native>(&self) -> GivenResults {
        let step = &self.compiled.step;
        let adjoint = bpmc::step::adjoint(step, Options::default()).unwrap();
        let program = Arc::new(Fused::new(step, &adjoint).unwrap());
        let shape = Shape::together(self.given.lanes, self.given.steps);
        self.results(&mut Lanes::<T>::new(program, Arc::new(step.clone()), shape))
    }

    fn results(&self, engine: &mut dyn Engine) -> GivenResults {
        let train = self.compiled.model.train.as_ref().unwrap();
        given::evaluate(engine, train, &self.given).unwrap()
    }

    /// Compares everything the fixture expects; returns how many tensors that were and the largest error
    /// found, relative to the largest magnitude of its tensor.
    fn compare(&self, results: &GivenResults, tolerance: f64) -> (usize, f64) {
        let graph = &self.compiled.step;
        let (mut count, mut worst) = (0, 0.0_f64);
        let mut check = |what: String, found: &[f64], expected: &[f64]| {
            assert_eq!(found.len(), expected.len(), "{}: {what}", self.name);
            let scale = expected.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
            assert!(scale > 0.0, "{}: {what} is all 0", self.name);
            for (k, (found, expected)) in found.iter().zip(expected).enumerate() {
                let error = (found - expected).abs() / scale;
                // Written so that a number that is none fails.
                assert!(
                    error <= tolerance,
                    "{}: {what}[{k}] is {found}, expected {expected} (error {error:e})",
                    self.name
                );
                worst = worst.max(error);
            }
            count += 1;
        };
        let expected = &self.file["expected"];
        let section = |name: &str| expected[name].as_object().unwrap();
        check(
            "loss".to_owned(),
            &[results.loss],
            &[expected["loss"].as_f64().unwrap()],
        );
        for (short, value) in section("outputs") {
            let path = output_path(short, &self.name);
            let k = graph.outputs.iter().position(|s| s.path == path).unwrap();
            check(format!("output {short}"), &results.outputs[k], &flat(value));
        }
        let state = |short: &str| {
            let path = path(short, &self.name);
            graph.states.iter().position(|s| s.path == path).unwrap()
        };
        for (short, value) in section("final") {
            let found = &results.final_states[state(short)];
            check(format!("final {short}"), found, &flat(value));
        }
        for (short, value) in section("grads_initial_state") {
            let found = &results.state_gradients[state(short)];
            check(format!("gradient of {short}"), found, &flat(value));
        }
        for (short, value) in section("grads") {
            let path = path(short, &self.name);
            let k = graph.params.iter().position(|s| s.path == path).unwrap();
            let found = results.gradients[k].as_ref().unwrap();
            check(format!("gradient of {short}"), found, &flat(value));
        }
        // Nothing of the spec is left out.
        assert_eq!(section("grads").len(), graph.params.len(), "{}", self.name);
        assert_eq!(section("final").len(), graph.states.len(), "{}", self.name);
        assert_eq!(
            section("grads_initial_state").len(),
            graph.states.len(),
            "{}",
            self.name
        );
        assert_eq!(
            section("outputs").len(),
            graph.outputs.len(),
            "{}",
            self.name
        );
        (count, worst)
    }
}

fn files(cell: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(cell) && name.ends_with(".json")
        })
        .collect();
    found.sort();
    found
}

fn run(cell: &str, folder: &str, count: usize) {
    let files = files(cell);
    assert_eq!(files.len(), count, "{files:?}");
    for file in files {
        let fixture = Fixture::load(&file, folder);
        let (tensors, reference) = fixture.compare(&fixture.reference(), 1e-9);
        let (_, double) = fixture.compare(&fixture.candle(Precision::Double), 1e-9);
        let (_, single) = fixture.compare(&fixture.candle(Precision::Single), 1e-4);
        let (_, fused_double) = fixture.compare(&fixture.fused::<f64>(), 1e-9);
        let (_, fused_single) = fixture.compare(&fixture.fused::<f32>(), 1e-4);
        // Shown by `--nocapture`: the numbers that the documentation quotes.
        #[expect(clippy::print_stdout, reason = "a report for people")]
        {
            println!(
                "{:32} {tensors:2} tensors, worst error: reference {reference:.1e}, \
                 candle f64 {double:.1e}, f32 {single:.1e}, \
                 fused f64 {fused_double:.1e}, f32 {fused_single:.1e}",
                fixture.name
            );
        }
    }
}

#[test]
fn recurrent_networks() {
    run("rnn_", "", 6);
}

#[test]
fn plastic_lstms() {
    run("lstm_", "", 6);
}

#[test]
fn plastic_lstms_of_the_library() {
    run("lstm_", CELLS, 6);
}

#[test]
fn a_wrong_rule_is_noticed() {
    let file = files("rnn_retro_mod.json").remove(0);
    let mut fixture = Fixture::load(&file, "");
    // The new eligibility instead of the old one: a mistake that only the numbers show.
    let library = bpmc::lang::library::text("retroactive").unwrap();
    let rule = library.replace("M * e", "M * next e");
    let rule = rule.replace("rule retroactive", "rule wrong");
    let spec = include_str!("specs/rnn_retro_mod.bpm").replace("using retroactive", "using wrong");
    let text = format!("{rule}\n{spec}");
    let compilation = driver::compile("wrong", &text, &[], &driver::from_disk).unwrap();
    fixture.compiled = compilation.program.unwrap();
    let results = fixture.reference();
    let compare = std::panic::AssertUnwindSafe(|| fixture.compare(&results, 1e-4));
    assert!(std::panic::catch_unwind(compare).is_err());
}
