//! Random well-typed specs over the whole element language.

mod bundle;
mod expression;
mod sizes;

use crate::properties::chance::Chance;
use bundle::{bundle, Sides};
use expression::{Axes, Known, Scope, Vector};
pub use sizes::{extent, Extent};

/// A spec with bundles between populations of these sizes; `train` has its lanes and steps.
pub fn spec(extent: Extent, chance: &mut Chance) -> String {
    let network = Network::new(chance);
    network.text(extent, chance)
}

/// What is around the bundles of a network.
struct Network {
    /// Further declarations and updates.
    lines: Vec<String>,
    modulators: Vec<String>,
    /// Scalars, as bundles know them.
    scalars: Vec<Known>,
    vectors: Vec<Vector>,
    /// Modulators with a number for each neuron. They are no vectors where there is one neuron only.
    spread: Vec<Vector>,
}

impl Network {
    fn new(chance: &mut Chance) -> Network {
        let mut network = Network {
            lines: Vec::new(),
            modulators: Vec::new(),
            scalars: Vec::new(),
            vectors: Vec::new(),
            spread: Vec::new(),
        };
        network.vector("h", "N", false);
        network.vector("y", "N", true);
        network.vector("z", "P", false);
        if chance.one_in(3) {
            let reset = chance.of(&["", " reset trial", " reset never"]);
            network.line(format!("state slow: [N] = 0.1{reset}"));
            network.line("slow <- 0.9 * slow + 0.1 * y");
            network.vector("slow", "N", false);
        }
        if chance.one_in(4) {
            network.line("noise nu: [P] ~ normal(0, 0.3)");
            network.vector("nu", "P", false);
        }
        if chance.one_in(4) {
            network.line("trained g: [N] ~ uniform(-1, 1)");
            network.vector("g", "N", false);
        }
        if chance.one_in(4) {
            let size = chance.of(&[1, 3, 5, 7]);
            network.line(format!("state odd: [{size}] = 0"));
            network.line(format!("odd <- 0.5 * odd + 0.5 * tanh(linear(y, {size}))"));
            network.vector("odd", "O", false);
        }
        if chance.one_in(4) {
            network.line("e = embedding(x, N)");
            network.line("d = dropout(e, 0.25)");
            network.line("output word = tied(y, e)");
            network.vector("d", "N", false);
        }
        if chance.one_in(4) {
            // Infinite wherever it is not taken, which `h` decides, and so is the product.
            let f = chance.of(&[
                "y / least",
                "log(relu(h))",
                "relu(h) ^ (-0.5)",
                "norm(log(h)) * y",
            ]);
            network.line("least = relu(-max(-h))");
            network.line(format!("far = linear({f}, N)"));
            network.line("near = select(least > 0.05, tanh(0.1 * far), y)");
            network.vector("near", "N", true);
        }
        for k in 0..chance.of(&[1, 1, 2, 2, 3]) {
            network.modulator(k, chance);
        }
        network
    }

    fn line(&mut self, text: impl Into<String>) {
        self.lines.push(text.into());
    }

    fn vector(&mut self, name: &str, size: &'static str, late: bool) {
        self.vectors.push(Vector {
            name: name.to_owned(),
            size,
            late,
        });
    }

    fn modulator(&mut self, k: usize, chance: &mut Chance) {
        let name = format!("m{k}");
        let scalars: Vec<Known> = self.scalars.clone();
        let (value, size, late) = match chance.pick(12) {
            0 | 1 => ("tanh(linear(y, 1))".to_owned(), None, true),
            2 => ("tanh(linear(h, 1))".to_owned(), None, false),
            3 => ("mean(y) + norm(h) / size(h)".to_owned(), None, true),
            4 => ("external reward".to_owned(), None, false),
            5 => {
                self.line(format!("state expected{k}: [1] = 0"));
                self.line(format!(
                    "expected{k} <- expected{k} + 0.1 * (external reward - expected{k})"
                ));
                (format!("external reward - expected{k}"), None, false)
            }
            6 => ("fanout(tanh(linear(y, 1)), N)".to_owned(), Some("N"), true),
            7 => ("fanout(external reward, N)".to_owned(), Some("N"), false),
            8 => ("tanh(linear(y, N))".to_owned(), Some("N"), true),
            9 => ("sigmoid(linear(x, P))".to_owned(), Some("P"), false),
            10 if !scalars.is_empty() => {
                let other = chance.of(&scalars);
                (
                    format!("fanout({}, N, bias = false)", other.text),
                    Some("N"),
                    other.late,
                )
            }
            _ if !scalars.is_empty() => {
                let other = chance.of(&scalars);
                (
                    format!("{} * max(tanh(linear(x, 2)))", other.text),
                    None,
                    other.late,
                )
            }
            _ => ("tanh(linear(x, 1)) + 0.5".to_owned(), None, false),
        };
        self.modulators.push(format!("modulator {name} = {value}"));
        match size {
            Some(size) => self.spread.push(Vector { name, size, late }),
            None => self.scalars.push(Known {
                text: name,
                axes: Axes {
                    pre: false,
                    post: false,
                },
                late,
            }),
        }
    }

    /// What a bundle can name of the network.
    fn scope(&self, pre: &'static str, post: &'static str, extent: Extent) -> Scope {
        let mut known = self.scalars.clone();
        let side = |vector: &Vector, pre: bool| Known {
            text: if pre {
                format!("per_pre({})", vector.name)
            } else {
                vector.name.clone()
            },
            axes: Axes { pre, post: !pre },
            late: vector.late,
        };
        for vector in &self.spread {
            if vector.size == post {
                known.push(side(vector, false));
            }
            if vector.size == pre {
                known.push(side(vector, true));
            }
        }
        Scope {
            known,
            vectors: self.vectors.clone(),
            pre,
            post,
            shortest: extent.n.min(extent.p),
        }
    }

    fn text(&self, extent: Extent, chance: &mut Chance) -> String {
        let inputs = chance.of(&[1, 2, 2, 3, 5]);
        let mut bundles = String::new();
        let mut add = |sides: Sides, scope: Scope, chance: &mut Chance| {
            bundles += &bundle(&sides, scope, extent, chance);
        };
        let sides = |name, from, to| Sides { name, from, to };
        let recurrent = || (sides("rec", "h", "y"), self.scope("N", "N", extent));
        let forward = || (sides("up", "z", "y"), self.scope("P", "N", extent));
        let (z, y, read) = match chance.pick(8) {
            0..3 => {
                let (sides, scope) = recurrent();
                add(sides, scope, chance);
                (
                    "tanh(linear(x, P))",
                    "tanh(linear(x) + rec)",
                    "linear(y, 2)",
                )
            }
            3 => {
                let (sides, scope) = forward();
                add(sides, scope, chance);
                (
                    "tanh(linear(x, P))",
                    "tanh(linear(h, N) + up)",
                    "linear(y, 2)",
                )
            }
            4 => {
                for (sides, scope) in [recurrent(), forward()] {
                    add(sides, scope, chance);
                }
                ("tanh(linear(x, P))", "tanh(rec + 0.5 * up)", "linear(y, 2)")
            }
            5 => {
                // Two between the same populations.
                let (first, scope) = recurrent();
                add(first, scope.clone(), chance);
                add(sides("twin", "h", "y"), scope, chance);
                (
                    "tanh(linear(x, P))",
                    "tanh(linear(x) + rec + twin)",
                    "linear(y, 3)",
                )
            }
            6 => {
                // One after another: the first does not know what it has not sent yet.
                let mut scope = self.scope("N", "P", extent);
                for vector in scope.vectors.iter_mut().filter(|v| v.name == "z") {
                    vector.late = true;
                }
                add(sides("low", "h", "z"), scope, chance);
                let (next, scope) = forward();
                add(next, scope, chance);
                (
                    "tanh(linear(x, P) + low)",
                    "tanh(up + linear(x, N))",
                    "linear(y, 2)",
                )
            }
            _ => {
                let (first, scope) = recurrent();
                add(first, scope, chance);
                // To an output; nothing reads what comes of it.
                let mut scope = self.scope("N", "P", extent);
                scope.vectors.iter_mut().for_each(|v| v.late = false);
                scope.known.iter_mut().for_each(|k| k.late = false);
                scope.vectors.push(Vector {
                    name: "o".to_owned(),
                    size: "P",
                    late: true,
                });
                add(sides("out_of", "y", "o"), scope, chance);
                ("tanh(linear(x, P))", "sigmoid(linear(x) + rec)", "o")
            }
        };
        // Where both are of one neuron, a sum says nothing of the size of a bundle: the state does.
        let output = match (z, read) {
            (_, "o") => "o = tanh(out_of + linear(z, P))\nstate kept: [P] = 0\nkept <- o\n",
            ("tanh(linear(x, P) + low)", _) => "state kept: [P] = 0\nkept <- z\n",
            _ => "",
        };
        let lines: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        let modulators: String = self
            .modulators
            .iter()
            .map(|line| format!("{line}\n"))
            .collect();
        let Extent { n, p, lanes, steps } = extent;
        format!(
            "dim N = {n}\ndim P = {p}\n\nnetwork random {{\ninput x: [{inputs}]\nstate h: [N] = 0\n{lines}{bundles}\
             z = {z}\ny = {y}\n{output}{modulators}h <- y\noutput out = {read}\noutput level = mean(y)\n}}\n\n\
             train supervised {{ loss = half_sum_squares, batch = {lanes}, steps = {steps} }}\n"
        )
    }
}
