//! Each rule is broken in a sound program, and the fault must be found.

mod once;
mod planted;
mod random;

use super::*;
use crate::driver::{self, from_disk};
use crate::ir::Graph;
use crate::program::{compile, Choices};
use crate::step::autodiff::Options;
use crate::step::passes::Selection;
use crate::step::{prepare_through, Horizon};

/// A network with a recurrent plastic bundle, a bundle between sides of other sizes, noise and a readout.
const TEXT: &str = "
network net {
  input x: [4]
  state h: [20] = 0
  plastic rec: h -> y {
    weight w ~ uniform(-0.1, 0.1)
    coeff alpha ~ uniform(0, 0.1)
    trained eta = 0.1
    trace hebb = 0
    transmit w + alpha * hebb
    hebb <- clip(hebb + eta * m * pre * post, -1, 1)
  }
  plastic out: y -> z using simple(m) {
    weight w ~ uniform(-0.1, 0.1)
    coeff alpha ~ uniform(0, 0.1)
  }
  y = tanh(linear(x) + rec)
  z = tanh(linear(y, 7) + out)
  modulator m = sigmoid(linear(y, 1))
  h <- y
  output a = softmax(linear(concat(y, z), 3))
}
train supervised { loss = half_sum_squares, batch = 1, steps = 5 }
";

/// The step and its adjoint as they are trained.
fn graphs() -> (Graph, Graph) {
    let compilation = driver::compile("test.bpm", TEXT, &[], &from_disk).unwrap();
    let found = compilation.diagnostics.iter();
    let found: Vec<String> = found.map(|d| d.message.clone()).collect();
    let compiled = compilation.program;
    let step = compiled.unwrap_or_else(|| panic!("{found:?}")).step;
    let options = Options { inputs: true };
    let passes = Selection::default();
    let prepared = prepare_through(&step, options, &passes, Horizon::Unknown, None).unwrap();
    (prepared.step, prepared.adjoint)
}

fn program(choices: Choices) -> Program {
    let (step, adjoint) = graphs();
    compile(&step, &adjoint, choices).unwrap().into_source()
}
