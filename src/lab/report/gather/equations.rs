//! The equations of a network as it ran: sizes resolved, rules and cells expanded, overrides applied.

use super::formula::{axes, formula, Formula};
use crate::ir::{Draw, NoiseKind, Reset};
use crate::lab::report::figures::number::{exact, short};
use crate::lang::sema::model::{DefKind, ExprKind, First, Model, Step, Type};

/// One equation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equation {
    /// The left side.
    pub left: Formula,
    /// The sign between the sides: `=`, `←` for the next value of a state, `∼` for a draw.
    pub sign: char,
    /// The right side.
    pub right: Formula,
    /// The kind of value, if it is special.
    pub what: &'static str,
    /// The dimensions per lane.
    pub dims: Vec<usize>,
}

/// A parameter, state, input or source of noise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The path.
    pub path: String,
    /// The kind of declaration.
    pub what: &'static str,
    /// The dimensions.
    pub dims: Vec<usize>,
    /// The initial value or distribution.
    pub first: String,
    /// True if the optimizer updates it.
    pub trained: bool,
}

impl Declared {
    /// The number of elements.
    pub fn count(&self) -> u64 {
        self.dims.iter().map(|dim| *dim as u64).product()
    }
}

/// All equations and declarations of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Equations {
    /// The name of the network.
    pub network: String,
    /// The plastic bundles in words.
    pub bundles: Vec<String>,
    /// The equations, each after those it depends on.
    pub equations: Vec<Equation>,
    /// The parameters, trained and constant.
    pub parameters: Vec<Declared>,
    /// The states, traces, inputs and noise.
    pub others: Vec<Declared>,
}

impl Equations {
    /// The equations of a model.
    pub fn of(model: &Model) -> Equations {
        let parameters = model.params.iter().map(|slot| Declared {
            path: slot.path.clone(),
            what: if slot.trained { "trained" } else { "constant" },
            dims: slot.dims.clone(),
            first: draw(&slot.init),
            trained: slot.trained,
        });
        let inputs = model.inputs.iter().map(|slot| Declared {
            path: slot.path.clone(),
            what: "input",
            dims: slot.dims.clone(),
            first: String::new(),
            trained: false,
        });
        let first_of = |k: usize| model.firsts.iter().find(|first| first.state.index() == k);
        let is_mark = |k: usize| model.firsts.iter().any(|first| first.starts.index() == k);
        let states = model.states.iter().enumerate();
        let states = states.filter(|(k, _)| !is_mark(*k));
        let states = states.map(|(k, slot)| Declared {
            path: slot.path.clone(),
            what: match (slot.trace, slot.reset) {
                (true, Reset::Episode) => "trace",
                (true, Reset::Trial) => "trace, reset at each trial",
                (true, Reset::Never) => "trace, never reset",
                (true, Reset::Carry) => "trace, carried over",
                (true, Reset::Stream) => "trace, reset at each episode",
                (false, Reset::Episode) => "state",
                (false, Reset::Trial) => "state, reset at each trial",
                (false, Reset::Never) => "state, never reset",
                (false, Reset::Carry) => "state, carried over",
                (false, Reset::Stream) => "state, reset at each episode",
            },
            dims: slot.dims.clone(),
            first: match (first_of(k), slot.first) {
                (Some(first), _) => match first.value.kind {
                    ExprKind::Noise(id) => draw(&model.noises[id.index()].draw),
                    _ => "computed of parameters".to_owned(),
                },
                (None, Some(first)) => model.params[first.index()].path.clone(),
                (None, None) => exact(slot.init),
            },
            trained: false,
        });
        let noises = model.noises.iter().map(|slot| Declared {
            path: slot.path.clone(),
            what: match slot.kind {
                NoiseKind::Step => "noise",
                NoiseKind::Mask => "dropout mask",
            },
            dims: slot.dims.clone(),
            first: draw(&slot.draw),
            trained: false,
        });
        let bundles = model.bundles.iter().map(|bundle| {
            let (pre, post) = (model.size(bundle.pre), model.size(bundle.post));
            let rule = match &bundle.rule {
                Some(rule) => format!("rule {rule}"),
                None => "a rule of its own".to_owned(),
            };
            let of = match &bundle.connections {
                Some(connections) => format!("{} of ", connections.count()),
                None => String::new(),
            };
            format!("{} ({of}{pre} × {post} connections, {rule})", bundle.name)
        });
        let steps = model.order.iter().filter(|step| match step {
            Step::Next(id) => !is_mark(id.index()),
            Step::Define(_) => true,
        });
        Equations {
            network: model.name.clone(),
            bundles: bundles.collect(),
            equations: model
                .firsts
                .iter()
                .map(|first| first_value(model, first))
                .chain(steps.filter_map(|step| equation(model, *step)))
                .collect(),
            parameters: parameters.collect(),
            others: inputs.chain(states).chain(noises).collect(),
        }
    }

    /// The number of trained scalars.
    pub fn trained(&self) -> u64 {
        let trained = self.parameters.iter().filter(|one| one.trained);
        trained.map(Declared::count).sum()
    }
}

/// The equation of the value that a state has in its first step.
fn first_value(model: &Model, first: &First) -> Equation {
    let slot = &model.states[first.state.index()];
    let index = match axes(model.state_types[first.state.index()]) {
        "" => "0".to_owned(),
        axes => format!("{axes},0"),
    };
    let (sign, right) = match first.value.kind {
        ExprKind::Noise(id) => (
            '∼',
            Formula::name(&draw(&model.noises[id.index()].draw), ""),
        ),
        _ => ('=', formula(model, &first.value)),
    };
    Equation {
        left: Formula::name(&slot.path, &index),
        sign,
        right,
        what: "first value",
        dims: slot.dims.clone(),
    }
}

fn equation(model: &Model, step: Step) -> Option<Equation> {
    match step {
        Step::Define(id) => {
            let definition = &model.definitions[id.index()];
            let (what, index) = match definition.kind {
                DefKind::Value => ("", axes(definition.expr.ty)),
                DefKind::Modulator => ("modulator", axes(definition.expr.ty)),
                DefKind::Output => ("output", ""),
                // A vector, but its equation describes one postsynaptic neuron.
                DefKind::Received => ("received from the bundle", "j"),
            };
            Some(Equation {
                left: Formula::name(&definition.path, index),
                sign: '=',
                right: formula(model, &definition.expr),
                what,
                dims: model.dims(definition.expr.ty),
            })
        }
        Step::Next(id) => {
            let slot = &model.states[id.index()];
            let next = model.nexts[id.index()].as_ref()?;
            let index = match model.state_types[id.index()] {
                ty @ Type::Element { .. } => axes(ty),
                Type::Scalar | Type::Vector(_) | Type::Poison => "",
            };
            Some(Equation {
                left: Formula::name(&slot.path, index),
                sign: '←',
                right: formula(model, next),
                what: if slot.trace { "trace" } else { "state" },
                dims: slot.dims.clone(),
            })
        }
    }
}

/// A distribution as a spec writes it.
fn draw(draw: &Draw) -> String {
    let exact = |x: f64| {
        // Bounds computed from sizes have many digits, of which few matter.
        let text = exact(x);
        if text.chars().count() > 9 {
            short(x)
        } else {
            text
        }
    };
    match draw {
        Draw::Constant(value) => exact(*value),
        Draw::Uniform(lo, hi) => format!("uniform({}, {})", exact(*lo), exact(*hi)),
        Draw::Normal(mean, deviation) => format!("normal({}, {})", exact(*mean), exact(*deviation)),
        Draw::Bernoulli(p) => format!("bernoulli({})", exact(*p)),
        Draw::Identity(scale) => format!("identity({})", exact(*scale)),
        Draw::Given(given) => match &given.file {
            Some((file, _)) => format!("file(\"{}\")", file.display()),
            None => given.literal(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{compile, from_disk};

    fn equations(spec: &str) -> Equations {
        let done = compile("a.bpm", spec, &[], &from_disk).unwrap();
        Equations::of(&done.program.unwrap().model)
    }

    fn line(equations: &Equations, name: &str) -> String {
        let found = equations.equations.iter().find(|e| e.left.plain() == name);
        found.unwrap().right.plain()
    }

    #[test]
    fn the_quickstart_reads_as_in_the_paper() {
        let found = equations(include_str!("../../../../specs/quickstart.bpm"));
        assert_eq!(
            line(&found, "rec_j"),
            "Σ_i (rec.w_ij + rec.alpha_ij · rec.hebb_ij) · h_i"
        );
        assert_eq!(
            line(&found, "rec.hebb_ij"),
            "clip(rec.hebb_ij + dopamine · rec.e_ij, −1, 1)"
        );
        assert_eq!(
            line(&found, "rec.e_ij"),
            "(1 − rec.eta) · rec.e_ij + rec.eta · h_i · y_j"
        );
        assert_eq!(
            line(&found, "y"),
            "tanh(obs · y.linear.weight + y.linear.bias + rec)"
        );
        assert_eq!(line(&found, "h"), "y");
        assert_eq!(
            found.bundles,
            ["rec (32 × 32 connections, rule retroactive)"]
        );
        let alpha = found.parameters.iter().find(|one| one.path == "rec.alpha");
        let alpha = alpha.unwrap();
        assert_eq!(
            (alpha.count(), alpha.first.as_str()),
            (1024, "uniform(0, 0.1)")
        );
        let total: u64 = found.parameters.iter().map(Declared::count).sum();
        assert_eq!(found.trained(), total);
    }

    #[test]
    fn brackets_stand_where_they_must() {
        let found = equations(
            "network a {\n  input x: [3]\n  state h: [3] = 0\n  y = (x - (h - x)) * (2 * h) / (x + 1)\n  z = -(x ^ 2) * min(x, 0 - 1)\n  h <- y + z\n  output out = linear(y, 2)\n}\n",
        );
        assert_eq!(line(&found, "y"), "(x − (h − x)) ∘ 2 · h / (x + 1)");
        assert_eq!(line(&found, "h"), "y + z");
    }

    #[test]
    fn first_values_are_equations_of_the_first_step() {
        let found = equations(
            "network a {\n  input x: [4]\n  trained h0: [3] = 0.1\n  state h: [3] = tanh(h0)\n  plastic rec: h -> y {\n    weight w ~ normal(0, 0.1)\n    trace d = w\n    trace e ~ normal(0, 0.1)\n    transmit w + d + e\n    d <- 0.5 * d + min(post) * pre * max(pre)\n    e <- sum(pre) * post * pre + max(pre * pre) * post\n  }\n  y = tanh(linear(x) + rec) * (min(x) - max(h))\n  h <- y\n  output out = linear(y, 2)\n}\n",
        );
        assert_eq!(line(&found, "h_0"), "tanh(h0)");
        assert_eq!(line(&found, "rec.d_ij,0"), "rec.w_ij");
        assert_eq!(line(&found, "rec.e_ij,0"), "normal(0, 0.1)");
        assert_eq!(
            line(&found, "rec.d_ij"),
            "0.5 · rec.d_ij + (min_j y_j) · h_i · max_i h_i"
        );
        assert_eq!(
            line(&found, "rec.e_ij"),
            "(Σ_i h_i) · y_j · h_i + max_i(h_i · h_i) · y_j"
        );
        let latex = super::super::latex::equations(&found);
        for part in [
            "  h_{0} &= \\tanh(\\mathrm{h0}) \\\\\n",
            "  d^{\\mathrm{rec}}_{ij,0} &= w^{\\mathrm{rec}}_{ij} \\\\\n",
            "  e^{\\mathrm{rec}}_{ij,0} &\\sim \\mathrm{normal}(0, 0.1) \\\\\n",
            "(\\min_{j} y_{j}) \\cdot h_{i} \\cdot \\max_{i} h_{i} ",
            "(\\sum_{i} h_{i}) \\cdot y_{j}",
            "(\\min(x) - \\max(h))",
        ] {
            assert!(latex.contains(part), "{part}\n{latex}");
        }
        let marks = found.others.iter().any(|one| one.path.ends_with("starts"));
        assert!(!marks && !latex.contains("starts"), "{latex}");
    }
}
