//! Modules of Python: the class around the lines of a step.

use super::print::{lines, number};
use super::{is_mean, Dialect, Export};
use crate::ir::Draw;
use std::fmt::Write;

const SOUND: &str = "writing to a string";

/// The text of the module.
pub(super) fn module(export: &Export<'_>, dialect: Dialect) -> String {
    let mut out = String::new();
    let file = super::print::identifier(export.name);
    write!(out, "\"\"\"{}", about(export)).expect(SOUND);
    writeln!(out, "\"\"\"\n\nimport os\n\nimport numpy as np").expect(SOUND);
    if dialect == Dialect::Pytorch {
        writeln!(out, "import torch").expect(SOUND);
    }
    writeln!(
        out,
        "\nWEIGHTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), \"{file}.npz\")"
    )
    .expect(SOUND);
    writeln!(
        out,
        "\n# The states: dimensions and first value of each.\nSTATES = {{"
    )
    .expect(SOUND);
    for slot in &export.step.states {
        writeln!(
            out,
            "    {:?}: ({}, {}),",
            slot.path,
            list(&slot.dims),
            number(slot.init)
        )
        .expect(SOUND);
    }
    out.push_str("}\n");
    out.push_str("\n# The noise: dimensions, distribution and its numbers.\nNOISE = {");
    for slot in &export.step.noises {
        let draw = if is_mean(slot.kind) {
            Draw::Constant(slot.draw.mean())
        } else {
            slot.draw.clone()
        };
        let draw = match draw {
            Draw::Uniform(lo, hi) => format!("\"uniform\", {}, {}", number(lo), number(hi)),
            Draw::Normal(mean, deviation) => {
                format!("\"normal\", {}, {}", number(mean), number(deviation))
            }
            Draw::Bernoulli(p) => format!("\"binomial\", 1, {}", number(p)),
            other => format!("\"uniform\", {0}, {0}", number(other.mean())),
        };
        write!(
            out,
            "\n    {:?}: ({}, {draw}),",
            slot.path,
            list(&slot.dims)
        )
        .expect(SOUND);
    }
    out.push_str(if export.step.noises.is_empty() {
        "}\n"
    } else {
        "\n}\n"
    });
    match dialect {
        Dialect::Numpy => out.push_str(SOFTMAX),
        Dialect::Pytorch => {
            let trained = export.step.params.iter().filter(|slot| slot.trained);
            let paths: Vec<String> = trained.map(|slot| format!("{:?}", slot.path)).collect();
            writeln!(
                out,
                "\n# The parameters that training moves.\nTRAINED = [{}]",
                paths.join(", ")
            )
            .expect(SOUND);
        }
    }
    out.push_str("\n\n");
    out.push_str(match dialect {
        Dialect::Numpy => NUMPY,
        Dialect::Pytorch => PYTORCH,
    });
    step(export, dialect, &mut out);
    out.push_str(RUN);
    if dialect == Dialect::Pytorch {
        out = out
            .replace("np.stack", "torch.stack")
            .replace("self.step(", "self.forward(");
    }
    out
}

/// The first lines, which say what the network reads and gives.
pub(super) fn about(export: &Export<'_>) -> String {
    let mut out = format!(
        "The network `{}`, {}; written by bpmc {}.\n\n",
        export.name,
        export.origin,
        env!("CARGO_PKG_VERSION")
    );
    out.push_str("All values have the axis of the lanes first; a lane is one copy of the network, with its own states.\n\n");
    let mut rows = |what: &str, all: &mut dyn Iterator<Item = (&str, &[usize])>| {
        for (name, dims) in all {
            writeln!(out, "{what:<6}  {name} {}", list(dims)).expect(SOUND);
        }
    };
    rows(
        "input",
        &mut export
            .inputs()
            .map(|slot| (super::input_name(&slot.path), slot.dims.as_slice())),
    );
    if export.has_trials() {
        rows(
            "input",
            &mut std::iter::once(("trial (0 if not given)", [].as_slice())),
        );
    }
    rows(
        "output",
        &mut export
            .step
            .outputs
            .iter()
            .map(|slot| (slot.path.as_str(), slot.dims.as_slice())),
    );
    for (k, slot) in export.step.states.iter().enumerate() {
        let (path, dims) = (&slot.path, list(&slot.dims));
        let first = match export.step.starts_of(k) {
            Some(mark) => {
                let mark = &export.step.states[mark].path;
                format!("computed in the first step, where `{mark}` is 1")
            }
            None => format!("{} at first", number(slot.init)),
        };
        writeln!(out, "state   {path} {dims}, {first}").expect(SOUND);
    }
    out
}

/// The method that runs one step.
fn step(export: &Export<'_>, dialect: Dialect, out: &mut String) {
    let printed = lines(export.step, dialect);
    let (head, first) = match dialect {
        Dialect::Numpy => ("step", NUMPY_FIRST),
        Dialect::Pytorch => ("forward", PYTORCH_FIRST),
    };
    writeln!(out, "\n    def {head}(self, inputs, state, noise=None):").expect(SOUND);
    writeln!(
        out,
        "        \"\"\"One step: the outputs, and the states that leave it.\"\"\""
    )
    .expect(SOUND);
    let lanes = match (export.inputs().next(), export.step.states.first()) {
        (Some(slot), _) => format!("len(inputs[{:?}])", super::input_name(&slot.path)),
        (None, Some(slot)) => format!("len(state[{:?}])", slot.path),
        (None, None) => "1".to_owned(),
    };
    writeln!(out, "        lanes = {lanes}").expect(SOUND);
    out.push_str(first);
    if !export.step.noises.is_empty() {
        out.push_str("        noise = self.draw(lanes) if noise is None else noise\n");
    }
    if export.has_trials() {
        let zeros = dialect.full("(lanes,)", "0.0");
        writeln!(out, "        inputs = {{\"trial\": {zeros}, **inputs}}").expect(SOUND);
    }
    for line in &printed.lines {
        writeln!(out, "        {line}").expect(SOUND);
    }
    for (word, slots, values) in [
        (
            "outputs",
            export
                .step
                .outputs
                .iter()
                .map(|slot| &slot.path)
                .collect::<Vec<_>>(),
            &printed.outputs,
        ),
        (
            "leaving",
            export.step.states.iter().map(|slot| &slot.path).collect(),
            &printed.next,
        ),
    ] {
        writeln!(out, "        {word} = {{").expect(SOUND);
        for (path, value) in slots.into_iter().zip(values) {
            // The value of a state that nothing updates stays.
            let value = if value.is_empty() {
                format!("state[{path:?}]")
            } else {
                value.clone()
            };
            writeln!(out, "            {path:?}: {value},").expect(SOUND);
        }
        writeln!(out, "        }}").expect(SOUND);
    }
    out.push_str("        return outputs, leaving\n");
}

fn list(dims: &[usize]) -> String {
    format!("{dims:?}")
}

const SOFTMAX: &str = r#"

def softmax(x):
    """The softmax over the last axis."""
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)
"#;

const NUMPY: &str = r#"class Network:
    """The network with its weights; `dtype=np.float64` computes with 64 bits."""

    def __init__(self, weights=WEIGHTS, dtype=np.float32, seed=0):
        self.dtype = dtype
        self.random = np.random.default_rng(seed)
        with np.load(weights) as arrays:
            self.parameters = {path: arrays[path].astype(dtype) for path in arrays.files}

    def start(self, lanes=1):
        """The first states."""
        return {path: np.full([lanes, *dims], first, self.dtype) for path, (dims, first) in STATES.items()}

    def draw(self, lanes):
        """New noise; other numbers than bpmc draws."""
        draws = {path: getattr(self.random, how)(*numbers, size=[lanes, *dims]) for path, (dims, how, *numbers) in NOISE.items()}
        return {path: np.asarray(values, self.dtype) for path, values in draws.items()}
"#;

const NUMPY_FIRST: &str = r#"        p = self.parameters
        inputs = {name: np.asarray(values, self.dtype) for name, values in inputs.items()}

        def truth(condition):
            return condition.astype(self.dtype)

"#;

const PYTORCH: &str = r#"class Network(torch.nn.Module):
    """The network with its weights; `.double()` computes with 64 bits."""

    def __init__(self, weights=WEIGHTS):
        super().__init__()
        # Its type and device are those of the computation.
        self.register_buffer("like", torch.zeros(()), persistent=False)
        self.paths = {}
        with np.load(weights) as arrays:
            for path in arrays.files:
                name = path.replace(".", "_")
                while hasattr(self, name):
                    name += "_"
                self.paths[path] = name
                tensor = torch.from_numpy(arrays[path].copy())
                if path in TRAINED:
                    self.register_parameter(name, torch.nn.Parameter(tensor))
                else:
                    self.register_buffer(name, tensor)

    def start(self, lanes=1):
        """The first states."""
        return {path: self.like.new_full([lanes, *dims], first) for path, (dims, first) in STATES.items()}

    def draw(self, lanes):
        """New noise; other numbers than bpmc draws."""
        random = np.random.default_rng(int(torch.randint(2**31, ())))
        draws = {path: getattr(random, how)(*numbers, size=[lanes, *dims]) for path, (dims, how, *numbers) in NOISE.items()}
        return {path: torch.as_tensor(values).to(self.like) for path, values in draws.items()}
"#;

const PYTORCH_FIRST: &str = r#"        p = {path: getattr(self, name) for path, name in self.paths.items()}
        dtype, device = self.like.dtype, self.like.device
        inputs = {name: torch.as_tensor(values).to(self.like) for name, values in inputs.items()}

        def truth(condition):
            return condition.to(dtype)

"#;

const RUN: &str = r#"
    def run(self, inputs, state=None):
        """All steps of `[lanes, steps, ...]`: the outputs with the same axes, and the states after the last step."""
        lanes, steps = next(iter(inputs.values())).shape[:2]
        state = self.start(lanes) if state is None else state
        outputs = []
        for step in range(steps):
            output, state = self.step({name: values[:, step] for name, values in inputs.items()}, state)
            outputs.append(output)
        return {name: np.stack([output[name] for output in outputs], 1) for name in outputs[0]}, state
"#;
