//! Exported networks against bpmc itself: what Python computes from the written modules, over a hundred steps.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::python::python;
use crate::runs_support::run;
use crate::scratch::scratch;
use bpmc::lab::replay::archive;
use std::path::Path;

const AGENT: &str = "
network agent {
  input obs: [6]
  state h: [9] = 0.1
  state slow: [2] = -1 reset trial
  plastic rec: h -> y using retroactive(m) {
    weight w ~ uniform(-0.4, 0.4)
    coeff alpha ~ uniform(0, 0.5) per connection
  }
  y = tanh(linear(obs) + rec)
  modulator m = tanh(linear(concat(y, external reward), 1))
  h <- y
  slow <- 0.9 * slow + 0.1 * y[0 .. 2]
  output policy = softmax(linear(concat(y, slow), 4))
  output value = linear(y, 1)
}
";

const LSTM: &str = "
network lstm {
  input x: [3]
  cell memory: plastic_lstm(x, 7) using retroactive_per_connection(m, bound = 2)
  output out = linear(memory.h, 2)
}
";

/// Many operations, of numbers near and far from their edges.
const MANY: &str = "
network many {
  input x: [4]
  state s: [4] = 0.5
  a = sigmoid(3 * x) + relu(x) - softplus(s) / 2
  b = exp(-abs(a)) * log(2 + a ^ 2) + sqrt(abs(s)) + sign(x)
  c = select(x > 0.1 && s < 2, min(a, b), max(a, -b))
  d = clip(a * b, -0.5, 0.75) + sin(s) * cos(x) + 0.5 ^ abs(x)
  s <- 0.9 * s + 0.1 * (c + d)
  output out = softmax(concat(c, d[1 .. 3], mean(a)))
  output norm = s / (1 + norm(d)) + mean(b)
}
";

const STEPS: usize = 100;
const LANES: usize = 3;

fn works(root: &Path, arguments: &[&str]) {
    let (code, _, err) = run(root, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
}

/// Writes inputs of these sizes, `[lanes, steps, size]`.
fn inputs(root: &Path, file: &str, names: &[(&str, usize)]) {
    let number = |k: usize| f64::from((k as f64 * 0.73).sin() as f32);
    let arrays: Vec<(String, Vec<usize>, Vec<f64>)> = names
        .iter()
        .map(|(name, size)| {
            let mut values: Vec<f64> = (0..LANES * STEPS * size.max(&1)).map(number).collect();
            if *name == "trial" {
                for (k, value) in values.iter_mut().enumerate() {
                    *value = f64::from(u8::from(k % 20 == 7));
                }
            }
            let mut dims = vec![LANES, STEPS];
            dims.extend((*size > 0).then_some(*size));
            ((*name).to_owned(), dims, values)
        })
        .collect();
    let arrays: Vec<_> = arrays
        .iter()
        .map(|(name, dims, values)| (name.clone(), dims.clone(), values.as_slice()))
        .collect();
    std::fs::write(root.join(file), archive(&arrays, false)).unwrap();
}

/// Compares all outputs and last states of a module with those of bpmc.
const COMPARE: &str = "
import json, sys
import numpy as np
def compare(name, number, close):
    sys.path.insert(0, f'out_{name}')
    module = __import__(name)
    wanted = np.load(f'{name}_out.npz')
    given = np.load(f'{name}.npz')
    found, state = number(module, {k: given[k] for k in given.files})
    worst, count = 0.0, 0
    for key, values in [*found.items(), *((f'start.{path}', v) for path, v in state.items())]:
        assert values.shape == wanted[key].shape, (key, values.shape, wanted[key].shape)
        assert np.isfinite(wanted[key]).all()
        worst = max(worst, np.abs(values - wanted[key]).max())
        count += 1
    assert count == len(wanted.files), (count, wanted.files)
    assert worst <= close, (name, worst)
    return worst
";

fn specs(root: &Path) -> Vec<&'static str> {
    for (name, text) in [("agent", AGENT), ("lstm", LSTM), ("many", MANY)] {
        std::fs::write(root.join(format!("{name}.bpm")), text).unwrap();
    }
    inputs(
        root,
        "agent.npz",
        &[("obs", 6), ("reward", 0), ("trial", 0)],
    );
    inputs(root, "lstm.npz", &[("x", 3)]);
    inputs(root, "many.npz", &[("x", 4)]);
    let names = vec!["agent", "lstm", "many"];
    for name in &names {
        let (spec, given, out) = (
            format!("{name}.bpm"),
            format!("{name}.npz"),
            format!("{name}_out.npz"),
        );
        works(
            root,
            &[
                "run",
                &spec,
                "--inputs",
                &given,
                "-o",
                &out,
                "--backend",
                "reference",
            ],
        );
    }
    names
}

#[test]
fn the_docstring_tells_of_computed_first_values() {
    let root = scratch("export_docstring");
    let spec = "network a {\n  input x: [4]\n  trained h0: [3] = 0.1\n  state h: [3] = tanh(h0)\n  \
                state c: [3] = 0.5\n  h <- tanh(linear(x) + c)\n  c <- 0.5 * c + h\n  output y = linear(h, 2)\n}\n";
    std::fs::write(root.join("a.bpm"), spec).unwrap();
    works(&root, &["export", "a.bpm", "--to", "numpy", "-o", "out"]);
    let module = std::fs::read_to_string(root.join("out/a.py")).unwrap();
    for line in [
        "state   h [3], computed in the first step, where `h.starts` is 1\n",
        "state   h.starts [1], 1.0 at first\n",
        "state   c [3], 0.5 at first\n",
    ] {
        assert!(module.contains(line), "{line}\n{module}");
    }
}

#[test]
fn numpy_computes_the_same() {
    let root = scratch("export-numpy");
    let names = specs(&root);
    for level in ["0", "3"] {
        for name in &names {
            let (spec, folder) = (format!("{name}.bpm"), format!("out_{name}"));
            works(
                &root,
                &[
                    "export", &spec, "--to", "numpy", "-o", &folder, "--opt", level,
                ],
            );
        }
        let program = format!(
            "{COMPARE}
def number(dtype):
    return lambda module, given: module.Network(dtype=dtype).run(given)
def kind(module, given):
    outputs, state = module.Network().step({{k: v[:, 0] for k, v in given.items()}}, module.Network().start({LANES}))
    assert all(v.dtype == np.float32 for v in [*outputs.values(), *state.values()])
    return module.Network().run(given)
print(json.dumps([[compare(name, number(np.float64), 1e-9), compare(name, kind, 1e-5)] for name in {names:?}]))
"
        );
        let Some(found) = python("numpy", &program, &root) else {
            return;
        };
        assert_eq!(found.as_array().unwrap().len(), 3);
    }
    let text = std::fs::read_to_string(root.join("out_agent/agent.py")).unwrap();
    assert!(text.contains("state   rec.hebb [9, 9]"), "{text}");
    assert!(!text.contains("NotImplemented"), "{text}");
}

#[test]
fn pytorch_computes_the_same_and_has_gradients() {
    let root = scratch("export-pytorch");
    let names = specs(&root);
    for name in &names {
        let (spec, folder) = (format!("{name}.bpm"), format!("out_{name}"));
        works(&root, &["export", &spec, "--to", "pytorch", "-o", &folder]);
        let text = std::fs::read_to_string(root.join(format!("{folder}/{name}.py"))).unwrap();
        assert!(text.contains("class Network(torch.nn.Module):"), "{text}");
    }
    let program = format!(
        "{COMPARE}
import torch
def number(double):
    def go(module, given):
        net = module.Network()
        net = net.double() if double else net
        found, state = net.run({{k: torch.as_tensor(v) for k, v in given.items()}})
        loss = sum(v.square().sum() for v in found.values())
        if list(net.parameters()):
            loss.backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        told = lambda all: {{k: v.detach().numpy() for k, v in all.items()}}
        return told(found), told(state)
    return go
print(json.dumps([[compare(name, number(True), 1e-9), compare(name, number(False), 1e-5)] for name in {names:?}]))
"
    );
    if let Some(found) = python("numpy, torch", &program, &root) {
        assert_eq!(found.as_array().unwrap().len(), 3);
    }
}

#[test]
fn onnxruntime_computes_the_same() {
    let root = scratch("export-onnx");
    let names = specs(&root);
    for name in &names {
        let (spec, folder) = (format!("{name}.bpm"), format!("out_{name}"));
        works(&root, &["export", &spec, "--to", "onnx", "-o", &folder]);
        assert!(root.join(format!("{folder}/{name}.onnx")).is_file());
    }
    let program = format!(
        "
import json
import numpy as np
import onnxruntime
first = {{'agent': {{'h': 0.1, 'slow': -1.0}}, 'lstm': {{}}, 'many': {{'s': 0.5}}}}
worst = {{}}
for name in {names:?}:
    wanted, given = np.load(f'{{name}}_out.npz'), np.load(f'{{name}}.npz')
    given = {{k: given[k].astype('f4') for k in given.files}}
    lanes, steps = next(iter(given.values())).shape[:2]
    ends = [k[6:] for k in wanted.files if k.startswith('start.')]
    start = {{k: np.full(wanted[f'start.{{k}}'].shape, first[name].get(k, 0.0), 'f4') for k in ends}}
    def close(found):
        for k, v in found.items():
            key = f'start.{{k[5:]}}' if k.startswith('next.') else k
            assert v.shape == wanted[key].shape, (k, v.shape)
            worst[name] = max(worst.get(name, 0.0), float(np.abs(v - wanted[key]).max()))
        assert len(found) == len(wanted.files)
    net = onnxruntime.InferenceSession(f'out_{{name}}/{{name}}.onnx')
    outputs = [o.name for o in net.get_outputs()]
    state, told = start, []
    for t in range(steps):
        found = dict(zip(outputs, net.run(None, {{**{{k: v[:, t] for k, v in given.items()}}, **state}})))
        state = {{k: found[f'next.{{k}}'] for k in ends}}
        told.append(found)
    close({{k: found[k] if k.startswith('next.') else np.stack([one[k] for one in told], 1) for k in outputs}})
    scan = onnxruntime.InferenceSession(f'out_{{name}}/{{name}}_scan.onnx')
    close(dict(zip([o.name for o in scan.get_outputs()], scan.run(None, {{**given, **start}}))))
assert all(v <= 1e-5 for v in worst.values()), worst
print(json.dumps(worst))
"
    );
    if let Some(found) = python("numpy, onnxruntime", &program, &root) {
        assert_eq!(found.as_object().unwrap().len(), 3);
    }
}
