//! Programs: compiled networks that run on arrays, and back.

use crate::arrays::{read, read_some, write, Address};
use crate::failure::{detached, Failure};
use crate::tools::pool;
use bpmc::driver;
use bpmc::engine::experiment::Experiment;
use bpmc::engine::fused::{Native, Real};
use bpmc::engine::params;
use bpmc::engine::sequences::{Given, Noise, Seeds, Sequences, Tape};
use bpmc::ir::Graph;
use bpmc::lang::diag::{render, render_json, Style};
use bpmc::lang::settings::Settings;
use bpmc::step::lower::TRIAL_START;
use bpmc::step::passes::Selection;
use bpmc::step::Compiled;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};
use serde_json::{json, Value};
use std::ffi::CStr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

const PROGRAM: &CStr = c"bpmc program";
const TAPE: &CStr = c"bpmc tape";

/// A compiled network; its kernels are made when it first runs.
pub struct Program {
    /// The spec and its step.
    pub compiled: Compiled,
    kernels: Mutex<Option<Arc<Kernels>>>,
}

/// Kernels for both precisions.
struct Kernels {
    single: Sequences<f32>,
    double: Sequences<f64>,
}

/// A recorded run of either precision; `None` once it was freed.
enum AnyTape {
    Single(Box<Tape<f32>>),
    Double(Box<Tape<f64>>),
}

impl Program {
    fn kernels(&self) -> Result<Arc<Kernels>, Failure> {
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernels) = &*kernels {
            return Ok(Arc::clone(kernels));
        }
        let step = &self.compiled.step;
        let experiment = Experiment::differentiable(step, &Selection::default());
        let experiment = experiment.map_err(Failure::of)?;
        let missing = || Failure::Named("Error", "this network has no kernels".to_owned());
        let made = Arc::new(Kernels {
            single: Sequences::new(&experiment).ok_or_else(missing)?,
            double: Sequences::new(&experiment).ok_or_else(missing)?,
        });
        *kernels = Some(Arc::clone(&made));
        Ok(made)
    }
}

/// The program in a capsule.
pub fn program<'a>(capsule: &'a Bound<'_, PyCapsule>) -> PyResult<&'a Program> {
    let pointer = capsule.pointer_checked(Some(PROGRAM))?;
    // SAFETY: a capsule of this name holds a program as long as it lives.
    Ok(unsafe { pointer.cast::<Program>().as_ref() })
}

/// `compile(name, text, set) -> (program or None, findings as text, findings as JSON lines, slots as JSON)`.
pub fn compile(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = arguments.py();
    let (name, text, set): (String, String, Vec<String>) = arguments.extract()?;
    let (program, rendered, findings, slots) = detached(py, move || {
        let mut done =
            driver::compile(&name, &text, &set, &driver::from_disk).map_err(Failure::of)?;
        done.required();
        let rendered = render(&done.diagnostics, &done.sources, Style::PLAIN);
        let findings = render_json(&done.diagnostics, &done.sources);
        let slots = done.program.as_ref().map_or(Value::Null, slots);
        Ok((done.program, rendered, findings, slots.to_string()))
    })?;
    let capsule = program.map(|compiled| {
        let program = Program {
            compiled,
            kernels: Mutex::new(None),
        };
        PyCapsule::new_with_value(py, program, PROGRAM)
    });
    let made = (capsule.transpose()?, rendered, findings, slots);
    Ok(made.into_pyobject(py)?.into_any().unbind())
}

/// The slots of a step, by name.
fn slots(program: &Compiled) -> Value {
    let Compiled { model, step } = program;
    let inputs = step.inputs.iter().map(|slot| {
        let name = match slot.path.as_str() {
            TRIAL_START => "trial",
            path => path.strip_prefix("external.").unwrap_or(path),
        };
        json!({"name": name, "dims": slot.dims, "optional": slot.path == TRIAL_START})
    });
    let outputs = step.outputs.iter();
    let states = step.states.iter();
    let parameters = step.params.iter();
    let setting = |settings: &Settings, name: &str| {
        let known = settings.iter().any(|(known, _)| known == name);
        known.then(|| settings.int(name))
    };
    let train = model.train.as_ref();
    json!({
        "name": model.name,
        "inputs": inputs.collect::<Vec<_>>(),
        "outputs": outputs.map(|slot| json!({"name": slot.path, "dims": slot.dims})).collect::<Vec<_>>(),
        "states": states
            .map(|slot| json!({"name": slot.path, "dims": slot.dims, "trace": slot.trace}))
            .collect::<Vec<_>>(),
        "parameters": parameters
            .map(|slot| json!({"name": slot.path, "dims": slot.dims, "trained": slot.trained, "grad_scale": slot.grad_scale}))
            .collect::<Vec<_>>(),
        "noises": step.noises.len(),
        "seed": train.and_then(|train| setting(&train.settings, "seed")),
        "task": model.task.as_ref().map(|task| task.info.name),
    })
}

/// `draw(program, seed, number, double, address)`: writes the first values of a parameter.
pub fn draw(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = arguments.py();
    let (capsule, seed, number, double, address): (
        Bound<'_, PyCapsule>,
        u64,
        usize,
        bool,
        Address,
    ) = arguments.extract()?;
    let program = program(&capsule)?;
    let values = params::draw(&program.compiled.step.params[number], seed);
    // SAFETY: the caller has made an array of the parameter's dimensions.
    unsafe {
        match double {
            true => write(address, &values),
            false => {
                let single: Vec<f32> = values.iter().map(|x| *x as f32).collect();
                write(address, &single);
            }
        }
    }
    Ok(py.None())
}

/// The arguments of [`run`] beside program and precision.
struct Call {
    steps: usize,
    lanes: usize,
    parameters: Vec<Address>,
    inputs: Vec<Address>,
    states: Vec<Address>,
    outputs: Vec<Address>,
    ends: Vec<Address>,
    noise: Noise,
    record: bool,
}

/// `run(program, double, (steps, lanes), parameters, inputs, states, outputs, ends, (seed, iteration, first step, learn), record)
/// -> tape or None`: addresses by slot; `outputs` and `ends` are written.
pub fn run(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = arguments.py();
    type Given<'py> = (
        Bound<'py, PyCapsule>,
        bool,
        (usize, usize),
        Vec<Address>,
        Vec<Address>,
        Vec<Address>,
        Vec<Address>,
        Vec<Address>,
        (u64, u32, u32, bool),
        bool,
    );
    let given: Given<'_> = arguments.extract()?;
    let (capsule, double, (steps, lanes), parameters, inputs, states, outputs, ends, noise, record) =
        given;
    let (seed, iteration, first_step, learn) = noise;
    let call = Call {
        steps,
        lanes,
        parameters,
        inputs,
        states,
        outputs,
        ends,
        noise: Noise {
            seed,
            iteration,
            first_step,
            learn,
        },
        record,
    };
    let program = program(&capsule)?;
    let tape = detached(py, || {
        let kernels = program.kernels()?;
        Ok(match double {
            true => on_arrays(&kernels.double, &call)?.map(|tape| AnyTape::Double(Box::new(tape))),
            false => on_arrays(&kernels.single, &call)?.map(|tape| AnyTape::Single(Box::new(tape))),
        })
    })?;
    match tape {
        Some(tape) => {
            let capsule = PyCapsule::new_with_value(py, Mutex::new(tape), TAPE)?;
            Ok(capsule.into_any().unbind())
        }
        None => Ok(py.None()),
    }
}

fn elements(dims: &[usize]) -> usize {
    dims.iter().product()
}

fn on_arrays<T: Native>(sequences: &Sequences<T>, call: &Call) -> Result<Option<Tape<T>>, Failure> {
    let graph: &Graph = sequences.graph();
    let (rows, lanes) = (call.steps * call.lanes, call.lanes);
    // SAFETY: the caller has checked each array against the slots, and holds them while this runs.
    let (parameters, inputs, states) = unsafe {
        let parameters = graph.params.iter().zip(&call.parameters);
        let inputs = graph.inputs.iter().zip(&call.inputs);
        let states = graph.states.iter().zip(&call.states);
        (
            parameters
                .map(|(slot, at)| read::<T>(*at, elements(&slot.dims)))
                .collect::<Vec<_>>(),
            inputs
                .map(|(slot, at)| read::<T>(*at, rows * elements(&slot.dims)))
                .collect::<Vec<_>>(),
            states
                .map(|(slot, at)| read_some::<T>(*at, lanes * elements(&slot.dims)))
                .collect::<Vec<_>>(),
        )
    };
    // A state that is given begins there, whatever the spec computes.
    let zeros = vec![T::from_f64(0.0); lanes];
    let mut states = states;
    for slot in 0..states.len() {
        if let (Some(_), Some(mark)) = (states[slot], graph.starts_of(slot)) {
            states[mark] = states[mark].or(Some(zeros.as_slice()));
        }
    }
    let given = Given {
        steps: call.steps,
        lanes,
        parameters: &parameters,
        inputs: &inputs,
        states: &states,
        noise: call.noise,
    };
    let (ran, tape) = pool()?
        .install(|| match call.record {
            true => sequences.record(given).map(|(ran, tape)| (ran, Some(tape))),
            false => sequences.run(given).map(|ran| (ran, None)),
        })
        .map_err(Failure::of)?;
    // SAFETY: the caller has made arrays of these sizes for the results.
    unsafe {
        for (at, values) in call.outputs.iter().zip(&ran.outputs) {
            write(*at, values);
        }
        for (at, values) in call.ends.iter().zip(&ran.states) {
            write(*at, values);
        }
    }
    Ok(tape)
}

/// The addresses of [`backward`]: adjoints of outputs and last states, then where those of parameters, inputs and first states go.
struct Back {
    outputs: Vec<Address>,
    ends: Vec<Address>,
    parameters: Vec<Address>,
    inputs: Vec<Address>,
    states: Vec<Address>,
}

/// `backward(tape, (steps, lanes), outputs, ends, parameters, inputs, states)`: addresses by slot, 0 where there is no array;
/// the last three are written.
pub fn backward(arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = arguments.py();
    type Given<'py> = (
        Bound<'py, PyCapsule>,
        (usize, usize),
        Vec<Address>,
        Vec<Address>,
        Vec<Address>,
        Vec<Address>,
        Vec<Address>,
    );
    let given: Given<'_> = arguments.extract()?;
    let (capsule, extent, outputs, ends, parameters, inputs, states) = given;
    let call = Back {
        outputs,
        ends,
        parameters,
        inputs,
        states,
    };
    let pointer = capsule.pointer_checked(Some(TAPE))?;
    // SAFETY: a capsule of this name holds a tape as long as it lives.
    let tape = unsafe { pointer.cast::<Mutex<AnyTape>>().as_ref() };
    detached(py, || {
        match &mut *tape.lock().unwrap_or_else(PoisonError::into_inner) {
            AnyTape::Single(tape) => back_on_arrays(tape, &call, extent),
            AnyTape::Double(tape) => back_on_arrays(tape, &call, extent),
        }
    })?;
    Ok(py.None())
}

fn back_on_arrays<T: Native + Real>(
    tape: &mut Tape<T>,
    call: &Back,
    (steps, lanes): (usize, usize),
) -> Result<(), Failure> {
    let graph = tape.graph();
    // SAFETY: the caller has checked each array against the slots, and holds them while this runs.
    let (outputs, states) = unsafe {
        let outputs = graph.outputs.iter().zip(&call.outputs);
        let states = graph.states.iter().zip(&call.ends);
        (
            outputs
                .map(|(slot, at)| read_some::<T>(*at, steps * lanes * elements(&slot.dims)))
                .collect::<Vec<_>>(),
            states
                .map(|(slot, at)| read_some::<T>(*at, lanes * elements(&slot.dims)))
                .collect::<Vec<_>>(),
        )
    };
    let seeds = Seeds {
        outputs: &outputs,
        states: &states,
    };
    let adjoints = pool()?
        .install(|| tape.backward(seeds))
        .map_err(Failure::of)?;
    // SAFETY: the caller has made arrays of these sizes for the results.
    unsafe {
        for (at, values) in call.parameters.iter().zip(&adjoints.parameters) {
            if let Some(values) = values {
                write(*at, values);
            }
        }
        for (at, values) in call.inputs.iter().zip(&adjoints.inputs) {
            write(*at, values);
        }
        for (at, values) in call.states.iter().zip(&adjoints.states) {
            write(*at, values);
        }
    }
    Ok(())
}

/// The text of a spec on disk.
pub fn text_of(path: &Path) -> Result<String, Failure> {
    driver::read_text(path).map_err(|error| {
        Failure::Named(
            "Error",
            format!("cannot read the spec {}: {error}", path.display()),
        )
    })
}
