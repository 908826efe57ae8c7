//! Models of ONNX: one of a step, and one that goes over all steps with `Scan`. Field numbers are those of `onnx.proto`.

use super::proto::Message;
use super::table::find;
use super::{input_name, Export};
use crate::ir::{Graph, Op, OutputId, ResultKind, StateId, ValueId};

/// The version of the format, and of the set of operators.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// Element types.
const FLOAT: i64 = 1;
const INT64: i64 = 7;
const BOOL: i64 = 9;

/// The model of one step.
pub(super) fn step_model(export: &Export<'_>) -> Vec<u8> {
    let body = Builder::new(export, "").body();
    let graph = body.graph(export.name, &slots(export, ""), &results(export, ""));
    model(export, &graph)
}

/// The model of all steps, `[lanes, steps, ...]`; `None` for a network without inputs.
pub(super) fn scan_model(export: &Export<'_>) -> Option<Vec<u8>> {
    let step = export.step;
    let (given, states) = (step.inputs.len() + step.noises.len(), step.states.len());
    if given == 0 {
        return None;
    }
    let body = Builder::new(export, INNER).body();
    // States come before what is scanned.
    let order = |all: Vec<Value>, first: usize| -> Vec<Value> {
        let (given, states) = all.split_at(first);
        states.iter().chain(given).cloned().collect()
    };
    let inputs = order(slots(export, INNER), given);
    let outputs = order(results(export, INNER), step.outputs.len());
    let body = body.graph("step", &inputs, &outputs);
    let whole = |values: Vec<Value>| -> Vec<Value> {
        let values = values.into_iter().enumerate().map(|(k, mut value)| {
            if k >= states {
                value.dims.insert(1, "steps".to_owned());
            }
            value.name = value.name[INNER.len()..].to_owned();
            value
        });
        values.collect()
    };
    let (inputs, outputs) = (whole(inputs), whole(outputs));
    let axes = |count: usize| vec![1i64; count];
    let mut scan = node("Scan", &names(&inputs), &names(&outputs)).message(
        5,
        &Message::new().text(1, "body").message(6, &body).int(20, 5),
    );
    for (name, values) in [
        ("scan_input_axes", axes(given)),
        ("scan_output_axes", axes(step.outputs.len())),
    ] {
        scan = scan.message(5, &ints(name, &values));
    }
    scan = scan.message(5, &int("num_scan_inputs", given as i64));
    let mut graph = Message::new().message(1, &scan).text(2, export.name);
    for value in &inputs {
        graph = graph.message(11, &value.info());
    }
    for value in &outputs {
        graph = graph.message(12, &value.info());
    }
    Some(model(export, &graph))
}

/// The prefix of names inside the loop, which may not be those outside.
const INNER: &str = "step/";

fn names(values: &[Value]) -> Vec<String> {
    values.iter().map(|value| value.name.clone()).collect()
}

fn model(export: &Export<'_>, graph: &Message) -> Vec<u8> {
    let opset = Message::new().text(1, "").int(2, OPSET);
    Message::new()
        .int(1, IR_VERSION)
        .text(2, "bpmc")
        .text(3, env!("CARGO_PKG_VERSION"))
        .text(6, &super::python::about(export))
        .message(7, graph)
        .message(8, &opset)
        .finish()
}

/// An input or output of a model.
#[derive(Clone)]
struct Value {
    name: String,
    /// Numbers, or names of dimensions that may be any.
    dims: Vec<String>,
}

impl Value {
    fn new(name: String, dims: &[usize]) -> Value {
        let lanes = std::iter::once("lanes".to_owned());
        Value {
            name,
            dims: lanes.chain(dims.iter().map(usize::to_string)).collect(),
        }
    }

    fn info(&self) -> Message {
        let mut shape = Message::new();
        for dim in &self.dims {
            let one = match dim.parse() {
                Ok(number) => Message::new().int(1, number),
                Err(_) => Message::new().text(2, dim),
            };
            shape = shape.message(1, &one);
        }
        let tensor = Message::new().int(1, FLOAT).message(2, &shape);
        Message::new()
            .text(1, &self.name)
            .message(2, &Message::new().message(1, &tensor))
    }
}

/// Inputs, noise, then states.
fn slots(export: &Export<'_>, prefix: &str) -> Vec<Value> {
    let step = export.step;
    let inputs = step
        .inputs
        .iter()
        .map(|slot| (input_name(&slot.path), &slot.dims));
    let noises = step
        .noises
        .iter()
        .map(|slot| (slot.path.as_str(), &slot.dims));
    let states = step
        .states
        .iter()
        .map(|slot| (slot.path.as_str(), &slot.dims));
    let all = inputs.chain(noises).chain(states);
    all.map(|(name, dims)| Value::new(format!("{prefix}{name}"), dims))
        .collect()
}

/// Outputs, then the states that leave the step.
fn results(export: &Export<'_>, prefix: &str) -> Vec<Value> {
    let step = export.step;
    let outputs = step
        .outputs
        .iter()
        .map(|slot| (slot.path.clone(), &slot.dims));
    let states = step
        .states
        .iter()
        .map(|slot| (format!("next.{}", slot.path), &slot.dims));
    let all = outputs.chain(states);
    all.map(|(name, dims)| Value::new(format!("{prefix}{name}"), dims))
        .collect()
}

fn node(kind: &str, inputs: &[String], outputs: &[String]) -> Message {
    let mut node = Message::new();
    for input in inputs {
        node = node.text(1, input);
    }
    for output in outputs {
        node = node.text(2, output);
    }
    node.text(4, kind)
}

fn int(name: &str, value: i64) -> Message {
    Message::new().text(1, name).int(3, value).int(20, 2)
}

fn ints(name: &str, values: &[i64]) -> Message {
    let mut attribute = Message::new().text(1, name);
    for value in values {
        attribute = attribute.int(8, *value);
    }
    attribute.int(20, 7)
}

/// The nodes and constants of a step.
struct Builder<'a> {
    export: &'a Export<'a>,
    graph: &'a Graph,
    prefix: &'a str,
    nodes: Vec<Message>,
    constants: Vec<Message>,
    count: usize,
}

impl<'a> Builder<'a> {
    fn new(export: &'a Export<'a>, prefix: &'a str) -> Builder<'a> {
        Builder {
            export,
            graph: export.step,
            prefix,
            nodes: Vec::new(),
            constants: Vec::new(),
            count: 0,
        }
    }

    fn graph(self, name: &str, inputs: &[Value], outputs: &[Value]) -> Message {
        let mut graph = Message::new();
        for node in &self.nodes {
            graph = graph.message(1, node);
        }
        graph = graph.text(2, name);
        for constant in &self.constants {
            graph = graph.message(5, constant);
        }
        for value in inputs {
            graph = graph.message(11, &value.info());
        }
        for value in outputs {
            graph = graph.message(12, &value.info());
        }
        graph
    }

    /// The name of an input of the graph.
    fn outside(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn fresh(&mut self) -> String {
        self.count += 1;
        format!("{}%{}", self.prefix, self.count)
    }

    fn floats(&mut self, dims: &[usize], values: &[f64]) -> String {
        let data: Vec<u8> = values
            .iter()
            .flat_map(|x| (*x as f32).to_le_bytes())
            .collect();
        self.tensor(FLOAT, dims, &data)
    }

    fn wholes(&mut self, values: &[i64]) -> String {
        let data: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(INT64, &[values.len()], &data)
    }

    fn tensor(&mut self, kind: i64, dims: &[usize], data: &[u8]) -> String {
        let name = self.fresh();
        let mut tensor = Message::new();
        for dim in dims {
            tensor = tensor.int(1, *dim as i64);
        }
        let tensor = tensor.int(2, kind).text(8, &name).bytes(9, data);
        self.constants.push(tensor);
        name
    }

    /// Adds a node, and returns the name of its result.
    fn add(&mut self, kind: &str, inputs: &[&str], attributes: &[Message]) -> String {
        let name = self.fresh();
        let inputs: Vec<String> = inputs.iter().map(|input| (*input).to_owned()).collect();
        let mut node = node(kind, &inputs, std::slice::from_ref(&name));
        for attribute in attributes {
            node = node.message(5, attribute);
        }
        self.nodes.push(node);
        name
    }

    fn cast(&mut self, x: &str, to: i64) -> String {
        self.add("Cast", &[x], &[int("to", to)])
    }

    /// The value once for each lane.
    fn per_lane(&mut self, x: &str, dims: &[usize]) -> String {
        let all = slots(self.export, self.prefix);
        let Some(known) = all.first() else {
            return x.to_owned();
        };
        let lanes = self.add("Shape", &[&known.name], &[int("start", 0), int("end", 1)]);
        let dims: Vec<i64> = dims.iter().map(|dim| *dim as i64).collect();
        let rest = self.wholes(&dims);
        let shape = self.add("Concat", &[&lanes, &rest], &[int("axis", 0)]);
        self.add("Expand", &[x, &shape], &[])
    }

    fn body(mut self) -> Builder<'a> {
        let graph = self.graph;
        let mut names: Vec<String> = Vec::with_capacity(graph.len());
        for id in graph.ids() {
            let operands: Vec<String> = graph
                .value(id)
                .operands
                .iter()
                .map(|o| names[o.index()].clone())
                .collect();
            let name = self.value(id, &operands);
            names.push(name);
        }
        let outputs = (0..graph.outputs.len() as u32).map(|k| ResultKind::Output(OutputId(k)));
        let states = (0..graph.states.len() as u32).map(|k| ResultKind::Next(StateId(k)));
        let kinds: Vec<ResultKind> = outputs.chain(states).collect();
        for (value, kind) in results(self.export, self.prefix).iter().zip(kinds) {
            let found = match (graph.result(kind), kind) {
                (Some(id), _) if graph.value(id).shape.lane => names[id.index()].clone(),
                (Some(id), _) => self.per_lane(&names[id.index()], &graph.value(id).shape.dims),
                // Nothing updates the state.
                (None, ResultKind::Next(slot)) => self.outside(&graph.states[slot.index()].path),
                (None, _) => continue,
            };
            self.nodes.push(node(
                "Identity",
                &[found],
                std::slice::from_ref(&value.name),
            ));
        }
        self
    }

    /// Adds a value, and returns its name.
    fn value(&mut self, id: ValueId, operands: &[String]) -> String {
        let graph = self.graph;
        let value = graph.value(id);
        let (lane, dims) = (value.shape.lane, value.shape.dims.clone());
        let all: Vec<&str> = operands.iter().map(String::as_str).collect();
        // The axis of the lanes stays as it is: 0 copies it, and 1 keeps it.
        let axes = |keep: i64, dims: &[usize]| -> Vec<i64> {
            let first = lane.then_some(keep);
            first
                .into_iter()
                .chain(dims.iter().map(|dim| *dim as i64))
                .collect()
        };
        match &value.op {
            Op::Param(slot) => {
                let values = &self.export.parameters[slot.index()];
                self.floats(&dims, values)
            }
            Op::Input(slot) => self.outside(input_name(&graph.inputs[slot.index()].path)),
            Op::State(slot) => self.outside(&graph.states[slot.index()].path),
            Op::Noise(slot) => self.outside(&graph.noises[slot.index()].path),
            Op::Const(bits) => self.floats(&[], &[bits.get()]),
            Op::RangeMask { size, start, end } => {
                let values: Vec<f64> = (0..*size)
                    .map(|k| f64::from(u8::from((*start..*end).contains(&k))))
                    .collect();
                self.floats(&[*size], &values)
            }
            Op::Broadcast { dims, from } => {
                let mut spread = vec![1; dims.len()];
                for axis in from {
                    spread[*axis] = dims[*axis];
                }
                let spread = self.wholes(&axes(0, &spread));
                let spread = self.add("Reshape", &[all[0], &spread], &[]);
                let shape = self.wholes(&axes(1, dims));
                self.add("Expand", &[&spread, &shape], &[])
            }
            Op::Reshape { dims } => {
                let shape = self.wholes(&axes(0, dims));
                self.add("Reshape", &[all[0], &shape], &[])
            }
            Op::Reduce { kind, axes } => {
                let first = usize::from(graph.value(value.operands[0]).shape.lane);
                let axes: Vec<i64> = axes.iter().map(|axis| (axis + first) as i64).collect();
                match kind {
                    crate::ir::Reduction::Sum => {
                        let axes = self.wholes(&axes);
                        self.add("ReduceSum", &[all[0], &axes], &[int("keepdims", 0)])
                    }
                    crate::ir::Reduction::Max => self.add(
                        "ReduceMax",
                        &[all[0]],
                        &[int("keepdims", 0), ints("axes", &axes)],
                    ),
                }
            }
            Op::Select => {
                let condition = self.cast(all[0], BOOL);
                self.add("Where", &[&condition, all[1], all[2]], &[])
            }
            Op::Clip { lo, hi, .. } => {
                let (lo, hi) = (self.floats(&[], &[lo.get()]), self.floats(&[], &[hi.get()]));
                self.add("Clip", &[all[0], &lo, &hi], &[])
            }
            Op::Concat => {
                let mut parts = Vec::new();
                for (name, operand) in operands.iter().zip(&value.operands) {
                    let shape = &graph.value(*operand).shape;
                    let mut part = name.clone();
                    let mut dims = shape.dims.clone();
                    if dims.is_empty() {
                        let axes = self.wholes(if shape.lane { &[0, 1] } else { &[1] });
                        part = self.add("Reshape", &[&part, &axes], &[]);
                        dims.push(1);
                    }
                    if lane && !shape.lane {
                        part = self.per_lane(&part, &dims);
                    }
                    parts.push(part);
                }
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                self.add("Concat", &parts, &[int("axis", -1)])
            }
            Op::Slice { start, end } => {
                let (start, end) = (self.wholes(&[*start as i64]), self.wholes(&[*end as i64]));
                let axis = self.wholes(&[-1]);
                self.add("Slice", &[all[0], &start, &end, &axis], &[])
            }
            Op::Pad { before, after } => {
                let rank = dims.len() + usize::from(lane);
                let mut pads = vec![0; 2 * rank];
                pads[rank - 1] = *before as i64;
                pads[2 * rank - 1] = *after as i64;
                let pads = self.wholes(&pads);
                self.add("Pad", &[all[0], &pads], &[])
            }
            Op::MatVec { transposed: true } => {
                let turned = self.add("Transpose", &[all[1]], &[ints("perm", &[1, 0])]);
                self.add("MatMul", &[all[0], &turned], &[])
            }
            Op::Softmax => self.add("Softmax", &[all[0]], &[int("axis", -1)]),
            op => self.by_table(op.mnemonic(), &all),
        }
    }

    /// An operation that is an operator, perhaps of truth values.
    fn by_table(&mut self, op: &str, operands: &[&str]) -> String {
        let text = find(op).map_or("", |row| row.onnx);
        match text.split_once(' ') {
            // Squares, and tests for 0.
            Some(("twice", kind)) => self.add(kind, &[operands[0], operands[0]], &[]),
            Some(("truth", kind)) => {
                let found = self.add(kind, operands, &[]);
                self.cast(&found, FLOAT)
            }
            Some(("truths", kind)) => {
                let given: Vec<String> = operands.iter().map(|x| self.cast(x, BOOL)).collect();
                let given: Vec<&str> = given.iter().map(String::as_str).collect();
                let found = self.add(kind, &given, &[]);
                self.cast(&found, FLOAT)
            }
            _ => self.add(text, operands, &[]),
        }
    }
}
