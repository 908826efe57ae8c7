//! The equations of a network as it ran: sizes resolved, rules and cells expanded, overrides applied.

use super::formula::{axes, formula, Formula};
use crate::ir::{Draw, NoiseKind, Reset};
use crate::lab::report::figures::number::{exact, short};
use crate::lang::sema::model::{DefKind, ExprKind, Model, Step, Type};

/// One equation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equation {
    /// The left side.
    pub left: Formula,
    /// True if the equation defines the next value of a state.
    pub leaves: bool,
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
        let states = model.states.iter().enumerate().map(|(k, slot)| Declared {
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
            format!("{} ({pre} × {post} connections, {rule})", bundle.name)
        });
        Equations {
            network: model.name.clone(),
            bundles: bundles.collect(),
            equations: model
                .order
                .iter()
                .filter_map(|step| equation(model, *step))
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
                leaves: false,
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
                leaves: true,
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
}
