//! Random bundles.

use super::expression::{Axes, Expressions, Scope, BOTH};
use super::sizes::Extent;
use crate::properties::chance::Chance;

/// A bundle to be written.
pub struct Sides {
    pub name: &'static str,
    /// The vectors it connects.
    pub from: &'static str,
    pub to: &'static str,
}

/// `plastic name: from -> to { ... }` over `scope`, which has what the network gives.
pub fn bundle(sides: &Sides, scope: Scope, extent: Extent, chance: &mut Chance) -> String {
    let mut writer = Writer {
        chance,
        scope,
        body: String::new(),
        gain: match extent.steps {
            0..=4 => 0.8,
            5..=12 => 0.2,
            _ => 0.05,
        },
    };
    writer.declarations();
    let traces = writer.traces();
    writer.locals();
    writer.transmit(&traces);
    for (k, trace) in traces.iter().enumerate() {
        writer.update(k, trace);
    }
    let Sides { name, from, to } = sides;
    format!("plastic {name}: {from} -> {to} {{\n{}}}\n", writer.body)
}

struct Trace {
    name: String,
    axes: Axes,
    bound: &'static str,
}

struct Writer<'a> {
    chance: &'a mut Chance,
    scope: Scope,
    body: String,
    /// How much of a trace may change in a step: long runs of strong changes would only tell of chaos.
    gain: f64,
}

impl Writer<'_> {
    fn line(&mut self, text: &str) {
        self.body.push_str(text);
        self.body.push('\n');
    }

    fn knows(&mut self, text: impl Into<String>, axes: Axes, late: bool) {
        self.scope.known.push(super::expression::Known {
            text: text.into(),
            axes,
            late,
        });
    }

    fn expressions(&mut self, late: bool) -> Expressions<'_> {
        Expressions {
            chance: self.chance,
            scope: &self.scope,
            late,
        }
    }

    fn declarations(&mut self) {
        self.knows(
            "pre",
            Axes {
                pre: true,
                post: false,
            },
            false,
        );
        self.knows(
            "post",
            Axes {
                pre: false,
                post: true,
            },
            true,
        );
        let weight = self.chance.of(&["", "", "", " per connection"]);
        self.line(&format!("weight w ~ uniform(-1, 1){weight}"));
        self.knows("w", BOTH, false);
        for name in ["alpha", "beta"] {
            let (per, axes) = Axes::any(self.chance);
            self.line(&format!("coeff {name} ~ uniform(-1, 1) per {per}"));
            self.knows(name, axes, false);
        }
        if self.chance.one_in(2) {
            let (per, axes) = Axes::any(self.chance);
            self.line(&format!("trained eta = 0.1 per {per}"));
            self.knows("eta", axes, false);
        } else {
            self.line("trained eta = 0.1");
            self.knows(
                "eta",
                Axes {
                    pre: false,
                    post: false,
                },
                false,
            );
        }
        if self.chance.one_in(4) {
            let (per, axes) = Axes::any(self.chance);
            self.line(&format!("const mask ~ bernoulli(0.5) per {per}"));
            self.knows("mask", axes, false);
        }
        if self.chance.one_in(5) {
            let (per, axes) = Axes::any(self.chance);
            let draw = self
                .chance
                .of(&["normal(0, 1)", "uniform(-1, 1)", "bernoulli(0.5)"]);
            self.line(&format!("noise xi ~ {draw} per {per}"));
            self.knows("xi", axes, false);
        }
    }

    fn traces(&mut self) -> Vec<Trace> {
        let count = self.chance.of(&[1, 1, 1, 2, 2, 2, 3]);
        let mut traces = Vec::new();
        for k in 0..count {
            let (per, axes) = match k {
                0 => ("", BOTH),
                _ if self.chance.one_in(2) => (" per connection", BOTH),
                _ => {
                    let (per, axes) = Axes::any(self.chance);
                    (
                        [" per connection", " per post", " per pre", " per network"]
                            .into_iter()
                            .find(|word| word.ends_with(per))
                            .unwrap(),
                        axes,
                    )
                }
            };
            let reset = self.chance.of(&[
                "",
                "",
                "",
                "",
                " reset trial",
                " reset never",
                " reset carry",
            ]);
            let first = self.chance.of(&[
                "= 0",
                "= 0",
                "= 0.1",
                "= -0.5",
                "~ normal(0, 0.2)",
                "~ uniform(-0.2, 0.2)",
                "= tanh(begin)",
            ]);
            if first == "= tanh(begin)" {
                self.line(&format!("trained begin{k} ~ uniform(-0.3, 0.3){per}"));
            }
            let first = first.replace("begin", &format!("begin{k}"));
            self.line(&format!("trace t{k} {first}{per}{reset}"));
            self.knows(format!("t{k}"), axes, false);
            traces.push(Trace {
                name: format!("t{k}"),
                axes,
                bound: self.chance.of(&["0.25", "0.5", "0.5", "1", "0.0625"]),
            });
        }
        traces
    }

    fn locals(&mut self) {
        for k in 0..self.chance.of(&[0, 0, 1, 1, 2]) {
            let (_, axes) = Axes::any(self.chance);
            let late = self.chance.one_in(2);
            let value = self.expressions(late).value(axes, 2);
            self.line(&format!("local{k} = {value}"));
            self.knows(format!("local{k}"), axes, late);
        }
    }

    fn transmit(&mut self, traces: &[Trace]) {
        let extra = self.expressions(false).value(BOTH, 2);
        let bound = traces[0].bound;
        let text = match self.chance.pick(6) {
            0 => "w + alpha * t0".to_owned(),
            1 => format!("w + alpha * clip(t0, -{bound}, {bound})"),
            2 => format!("0.5 * w + alpha * t0 + 0.2 * tanh({extra})"),
            3 => format!("w * (1 + tanh({extra}))"),
            4 => format!("(w + alpha * t0) * sigmoid({extra})"),
            _ => format!("0.3 * tanh({extra})"),
        };
        self.line(&format!("transmit {text}"));
    }

    /// The next value of a trace, bounded.
    fn next_value(&mut self, trace: &Trace) -> String {
        let gain = self.gain;
        let value = self.expressions(true).value(trace.axes, 3);
        let Trace { name, bound, axes } = trace;
        let eta = self
            .scope
            .known
            .iter()
            .any(|k| k.text == "eta" && k.axes.fit(*axes));
        let boundary = self.chance.of(&[
            "",
            "",
            ", boundary = exclusive",
            ", boundary = half",
            ", boundary = straight_through",
        ]);
        match self.chance.pick(9) {
            // Steps of a quarter land exactly on the bounds.
            0 => format!("clip({name} + 0.25 * sign({value}), -{bound}, {bound}{boundary})"),
            // Nothing is added half of the time, to traces that may sit on a bound.
            1 => {
                format!("clip({name} + {gain} * relu(tanh({value})), -{bound}, {bound}{boundary})")
            }
            2 => format!("clip({name} + {gain} * pre * post, -{bound}, {bound}{boundary})")
                .replace(
                    " * pre",
                    if axes.pre {
                        " * pre"
                    } else {
                        " * mean_pre(pre)"
                    },
                )
                .replace(
                    " * post,",
                    if axes.post {
                        " * post,"
                    } else {
                        " * mean_post(post),"
                    },
                ),
            3 | 4 => format!("clip({name} + {gain} * tanh({value}), -{bound}, {bound}{boundary})"),
            5 if eta => format!("(1 - eta) * {name} + eta * tanh({value})"),
            6 if eta => format!("{name} + eta * (tanh({value}) - {name})"),
            _ => format!("0.8 * {name} + {gain} * tanh({value})"),
        }
    }

    fn update(&mut self, k: usize, trace: &Trace) {
        let name = &trace.name;
        let value = self.next_value(trace);
        let plain = format!("{name} <- {value}");
        let sides: Vec<(&str, &str)> = [
            ("post", self.scope.post, trace.axes.post),
            ("pre", self.scope.pre, trace.axes.pre),
        ]
        .into_iter()
        .filter(|(_, _, has)| *has)
        .map(|(side, size, _)| (side, size))
        .collect();
        let text = match self.chance.pick(9) {
            // Divided by a sum that is often 0, where the division is not taken.
            8 if trace.axes.pre => {
                let grown = self.expressions(true).value(trace.axes, 2);
                let gain = self.gain;
                self.line(&format!(
                    "grown{k} = 0.5 * relu({name}) + {gain} * relu(tanh({grown}))"
                ));
                let bound = trace.bound;
                format!(
                    "when sum_pre(grown{k}) > 0.05 {{ {name} <- {bound} * grown{k} / sum_pre(grown{k}) }}"
                )
            }
            0 | 1 if !sides.is_empty() => {
                let (side, size) = self.chance.of(&sides);
                let region = self.chance.of(&[
                    "0 .. S - S / 2",
                    "S / 2 .. S",
                    "S / 3 .. S - S / 4",
                    "0 .. size(side) - S / 3",
                ]);
                let region = region.replace('S', size).replace("side", side);
                format!("on {side}[{region}] {{ {plain} }}")
            }
            2 if !sides.is_empty() => {
                let (side, size) = self.chance.of(&sides);
                let other = self.next_value(trace);
                format!(
                    "on {side}[0 .. {size} / 2] {{ {plain} }}\non {side}[{size} / 2 .. {size}] {{ {name} <- {other} }}"
                )
            }
            3 => {
                let condition = self.expressions(true).condition(trace.axes, 1);
                format!("when {condition} {{ {plain} }}")
            }
            4 if !sides.is_empty() => {
                let (side, size) = self.chance.of(&sides);
                let condition = self.expressions(true).condition(trace.axes, 1);
                format!("on {side}[{size} / 4 .. {size}] {{ when {condition} {{ {plain} }} }}")
            }
            5 if self.chance.one_in(2) => format!("when external reward != 0 {{ {plain} }}"),
            _ => plain,
        };
        self.line(&text);
        // Later traces may read what leaves the step.
        self.knows(format!("(next t{k})"), trace.axes, true);
    }
}
