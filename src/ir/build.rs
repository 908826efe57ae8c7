//! The construction of graphs: every value passes its shape rule, and structurally equal values are one
//! value.
//!
//! Two calls with the same operation and operands return the same id. Trivial cases of the convenience
//! methods (a broadcast to the same dimensions, a sum over no axis) return the operand.

use super::graph::{Graph, InputSlot, NoiseSlot, OutputSlot, ParamSlot, Reset, StateSlot, Value};
use super::id::{InputId, NoiseId, OutputId, ParamId, StateId, ValueId};
use super::op::{Binary, Boundary, Op, Reduction, Shape, Unary};
use super::shape::{infer, ShapeError};
use super::Span;

impl Graph {
    /// Adds `op` on `operands`, or finds the existing value.
    ///
    /// # Errors
    /// Fails if the operands violate the shape rule of `op` ([`infer`]).
    pub fn add(&mut self, op: Op, operands: &[ValueId]) -> Result<ValueId, ShapeError> {
        self.add_at(op, operands, None, None)
    }

    /// Adds a value like [`Graph::add`], with its name in the spec and the expression it comes from. A value
    /// that already has a name or a place keeps it.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn add_at(
        &mut self,
        op: Op,
        operands: &[ValueId],
        name: Option<&str>,
        span: Option<Span>,
    ) -> Result<ValueId, ShapeError> {
        let id = match self.find(&op, operands) {
            Some(id) => id,
            None => {
                let shapes: Vec<&Shape> = operands
                    .iter()
                    .map(|operand| &self.value(*operand).shape)
                    .collect();
                let shape = infer(&op, &shapes, self)?;
                self.push(Value {
                    op,
                    operands: operands.to_vec(),
                    shape,
                    name: None,
                    span: None,
                })
            }
        };
        if let Some(name) = name {
            self.set_name(id, name);
        }
        if let Some(span) = span {
            self.set_span(id, span);
        }
        Ok(id)
    }

    /// The shape of a value.
    pub fn shape(&self, id: ValueId) -> &Shape {
        &self.value(id).shape
    }

    /// The dimensions of a value without its lane axis.
    pub fn dims(&self, id: ValueId) -> &[usize] {
        &self.value(id).shape.dims
    }

    /// Declares a parameter.
    pub fn add_param(&mut self, slot: ParamSlot) -> ParamId {
        self.params.push(slot);
        ParamId(self.params.len() as u32 - 1)
    }

    /// Declares an input.
    pub fn add_input(&mut self, slot: InputSlot) -> InputId {
        self.inputs.push(slot);
        InputId(self.inputs.len() as u32 - 1)
    }

    /// Declares a state; its [`super::ResultKind::Next`] is set later.
    pub fn add_state(&mut self, slot: StateSlot) -> StateId {
        self.states.push(slot);
        StateId(self.states.len() as u32 - 1)
    }

    /// Declares a noise source.
    pub fn add_noise(&mut self, slot: NoiseSlot) -> NoiseId {
        self.noises.push(slot);
        NoiseId(self.noises.len() as u32 - 1)
    }

    /// Declares an output; its [`super::ResultKind::Output`] is set later.
    pub fn add_output(&mut self, slot: OutputSlot) -> OutputId {
        self.outputs.push(slot);
        OutputId(self.outputs.len() as u32 - 1)
    }

    /// Applies `f(x)` elementwise.
    ///
    /// # Errors
    /// As [`Graph::add`]; this holds for all methods below.
    pub fn unary(&mut self, f: Unary, x: ValueId) -> Result<ValueId, ShapeError> {
        self.add(Op::Unary(f), &[x])
    }

    /// Applies `f(a, b)` elementwise to operands of equal dimensions.
    pub fn binary(&mut self, f: Binary, a: ValueId, b: ValueId) -> Result<ValueId, ShapeError> {
        self.add(Op::Binary(f), &[a, b])
    }

    /// Selects `a` where `condition` is not 0, else `b`; dimensions must be equal.
    pub fn select(
        &mut self,
        condition: ValueId,
        a: ValueId,
        b: ValueId,
    ) -> Result<ValueId, ShapeError> {
        self.add(Op::Select, &[condition, a, b])
    }

    /// Clips to `min(max(x, lo), hi)`.
    pub fn clip(
        &mut self,
        x: ValueId,
        lo: f64,
        hi: f64,
        boundary: Boundary,
    ) -> Result<ValueId, ShapeError> {
        let (lo, hi) = (lo.into(), hi.into());
        self.add(Op::Clip { lo, hi, boundary }, &[x])
    }

    /// A shared scalar.
    pub fn constant(&mut self, value: f64) -> ValueId {
        self.add(Op::Const(value.into()), &[])
            .expect("a constant has no operands that could not fit")
    }

    /// A shared value of the given dimensions with one number everywhere.
    pub fn fill(&mut self, value: f64, dims: &[usize]) -> Result<ValueId, ShapeError> {
        let scalar = self.constant(value);
        self.broadcast_to(scalar, dims, &[])
    }

    /// Broadcasts `x` to `dims`; dimension `k` of `x` becomes dimension `from[k]`.
    pub fn broadcast_to(
        &mut self,
        x: ValueId,
        dims: &[usize],
        from: &[usize],
    ) -> Result<ValueId, ShapeError> {
        let trivial = self.dims(x) == dims && from.iter().copied().eq(0..dims.len());
        if trivial {
            return Ok(x);
        }
        let op = Op::Broadcast {
            dims: dims.to_vec(),
            from: from.to_vec(),
        };
        self.add(op, &[x])
    }

    /// The sum over the dimensions `axes`, strictly increasing.
    pub fn sum(&mut self, x: ValueId, axes: &[usize]) -> Result<ValueId, ShapeError> {
        self.reduce(Reduction::Sum, x, axes)
    }

    /// Reduces over the dimensions `axes`, strictly increasing.
    pub fn reduce(
        &mut self,
        kind: Reduction,
        x: ValueId,
        axes: &[usize],
    ) -> Result<ValueId, ShapeError> {
        if axes.is_empty() {
            return Ok(x);
        }
        let axes = axes.to_vec();
        self.add(Op::Reduce { kind, axes }, &[x])
    }

    /// The sum over lanes; a shared value is returned unchanged.
    pub fn lane_sum(&mut self, x: ValueId) -> Result<ValueId, ShapeError> {
        if self.shape(x).lane {
            self.add(Op::LaneSum, &[x])
        } else {
            Ok(x)
        }
    }

    /// The same elements in other dimensions.
    pub fn reshape(&mut self, x: ValueId, dims: &[usize]) -> Result<ValueId, ShapeError> {
        if self.dims(x) == dims {
            return Ok(x);
        }
        let dims = dims.to_vec();
        self.add(Op::Reshape { dims }, &[x])
    }

    /// Concatenates values along the last dimension.
    pub fn concat(&mut self, parts: &[ValueId]) -> Result<ValueId, ShapeError> {
        match parts {
            [only] if !self.dims(*only).is_empty() => Ok(*only),
            _ => self.add(Op::Concat, parts),
        }
    }

    /// The slice `start..end` of the last dimension.
    pub fn slice(&mut self, x: ValueId, start: usize, end: usize) -> Result<ValueId, ShapeError> {
        if start == 0 && self.dims(x).last() == Some(&end) {
            return Ok(x);
        }
        self.add(Op::Slice { start, end }, &[x])
    }

    /// Pads the last dimension with zeros.
    pub fn pad(&mut self, x: ValueId, before: usize, after: usize) -> Result<ValueId, ShapeError> {
        if before == 0 && after == 0 && !self.dims(x).is_empty() {
            return Ok(x);
        }
        self.add(Op::Pad { before, after }, &[x])
    }

    /// The product `v m`, or `v mᵀ` if `transposed`.
    pub fn mat_vec(
        &mut self,
        v: ValueId,
        m: ValueId,
        transposed: bool,
    ) -> Result<ValueId, ShapeError> {
        self.add(Op::MatVec { transposed }, &[v, m])
    }

    /// Sets the expression that a value comes from, unless it has one.
    pub(crate) fn set_span(&mut self, id: ValueId, span: Span) {
        self.value_mut(id).span.get_or_insert(span);
    }
}

impl StateSlot {
    /// A state with value `init` at the start of every episode.
    pub fn new(path: impl Into<String>, dims: impl Into<Vec<usize>>, init: f64) -> StateSlot {
        StateSlot {
            path: path.into(),
            dims: dims.into(),
            init,
            first: None,
            reset: Reset::Episode,
            trace: false,
            given: false,
            span: None,
        }
    }
}

impl ParamSlot {
    /// A trained parameter with initial value 0 and gradient factor 1.
    pub fn new(path: impl Into<String>, dims: impl Into<Vec<usize>>) -> ParamSlot {
        ParamSlot {
            path: path.into(),
            dims: dims.into(),
            trained: true,
            init: super::graph::Draw::Constant(0.0),
            grad_scale: 1.0,
            span: None,
        }
    }
}

impl InputSlot {
    /// An input.
    pub fn new(path: impl Into<String>, dims: impl Into<Vec<usize>>) -> InputSlot {
        InputSlot {
            path: path.into(),
            dims: dims.into(),
            span: None,
        }
    }
}

impl OutputSlot {
    /// An output.
    pub fn new(path: impl Into<String>, dims: impl Into<Vec<usize>>) -> OutputSlot {
        OutputSlot {
            path: path.into(),
            dims: dims.into(),
            span: None,
        }
    }
}
