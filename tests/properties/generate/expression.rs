//! Random expressions of one connection.

use crate::properties::chance::Chance;

/// Which sides of a bundle a value may differ along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axes {
    pub pre: bool,
    pub post: bool,
}

pub const BOTH: Axes = Axes {
    pre: true,
    post: true,
};

impl Axes {
    pub fn fit(self, within: Axes) -> bool {
        (!self.pre || within.pre) && (!self.post || within.post)
    }

    /// Any of the four granularities, and its word.
    pub fn any(chance: &mut Chance) -> (&'static str, Axes) {
        let axes = |pre, post| Axes { pre, post };
        chance.of(&[
            ("connection", BOTH),
            ("post", axes(false, true)),
            ("pre", axes(true, false)),
            ("network", axes(false, false)),
        ])
    }
}

/// Something an expression may name. What is `late` needs the postsynaptic activity of the step.
#[derive(Clone, Debug)]
pub struct Known {
    pub text: String,
    pub axes: Axes,
    pub late: bool,
}

/// A vector of the network: its name and the name of its size.
#[derive(Clone, Debug)]
pub struct Vector {
    pub name: String,
    pub size: &'static str,
    pub late: bool,
}

/// What a bundle can name.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub known: Vec<Known>,
    pub vectors: Vec<Vector>,
    /// Names of the sizes of its sides.
    pub pre: &'static str,
    pub post: &'static str,
    /// Neurons of the smallest population.
    pub shortest: usize,
}

/// Writes expressions over a scope. All of them are between brackets of their own where they need any.
pub struct Expressions<'a> {
    pub chance: &'a mut Chance,
    pub scope: &'a Scope,
    /// Whether it may name what is late.
    pub late: bool,
}

impl Expressions<'_> {
    fn leaf(&mut self, within: Axes) -> String {
        let late = self.late;
        let known = self.scope.known.iter();
        let fitting: Vec<&str> = known
            .filter(|k| k.axes.fit(within) && (late || !k.late))
            .map(|k| k.text.as_str())
            .collect();
        match self.chance.pick(8) {
            0 => self
                .chance
                .of(&["0.5", "-1.25", "0.25", "1", "2", "0.01234"])
                .to_owned(),
            1 => self.of_network(within),
            // What comes last is what the bundle itself declared last; look there more often.
            2..5 if fitting.len() > 3 => {
                let at = fitting.len() - 1 - self.chance.pick(3);
                fitting[at].to_owned()
            }
            _ if !fitting.is_empty() => self.chance.of(&fitting).to_owned(),
            _ => "0.75".to_owned(),
        }
    }

    fn vector(&mut self, size: Option<&str>) -> Option<Vector> {
        let late = self.late;
        let vectors = self.scope.vectors.iter();
        let fitting: Vec<Vector> = vectors
            .filter(|v| size.is_none_or(|size| v.size == size) && (late || !v.late))
            .cloned()
            .collect();
        (!fitting.is_empty()).then(|| self.chance.of(&fitting))
    }

    /// A value made from vectors of the network.
    fn of_network(&mut self, within: Axes) -> String {
        let side = match (within.pre, within.post) {
            (true, true) => self.chance.pick(3),
            (false, true) => 1 + self.chance.pick(2),
            (true, false) => 2 * self.chance.pick(2),
            (false, false) => 2,
        };
        if side < 2 && self.chance.one_in(10) {
            return self
                .chance
                .of(match side {
                    0 => &["(index(pre) / 50)", "delay(pre, 1)"],
                    _ => &["(index(post) / 50)", "delay(post, 1)"],
                })
                .to_owned();
        }
        if side == 2 && self.chance.one_in(8) {
            return self.chance.of(&["every(2)", "(-every(3))"]).to_owned();
        }
        if side == 2 {
            return match self.vector(None) {
                None => "size(post)".to_owned(),
                Some(v) => {
                    let f = self
                        .chance
                        .of(&["sum", "mean", "norm", "max", "min", "size", "topk", "index"]);
                    match f {
                        "topk" => format!("tanh(sum(topk({0}, 1) * {0}))", v.name),
                        "index" => format!("tanh(mean(index({0}) * {0}))", v.name),
                        "sum" => format!("tanh(sum({}))", v.name),
                        "size" => format!(
                            "(size({}) / 50)",
                            self.chance.of(&["pre", "post", v.name.as_str()])
                        ),
                        _ => format!("{f}({})", v.name),
                    }
                }
            };
        }
        let size = if side == 0 {
            self.scope.pre
        } else {
            self.scope.post
        };
        let Some(v) = self.vector(Some(size)) else {
            return "1.5".to_owned();
        };
        let name = &v.name;
        let text = match self.chance.pick(9) {
            8 => format!("delay({name}, 2)"),
            0 => format!("softmax({name})"),
            7 => format!("log_softmax({name})"),
            1 => format!("{name}[0 .. {size}]"),
            2 if self.scope.shortest > 1 => {
                format!("concat({name}[{size} / 2 .. {size}], {name}[0 .. {size} / 2])")
            }
            3 => format!("linear({name}, {size}, bias = false)"),
            4 => format!("fanout(mean({name}), {size})"),
            _ => name.clone(),
        };
        match side {
            0 => format!("per_pre({text})"),
            _ if self.chance.one_in(3) => format!("per_post({text})"),
            _ => text,
        }
    }

    /// An expression that differs along `within` at most.
    pub fn value(&mut self, within: Axes, depth: usize) -> String {
        if depth == 0 {
            return self.leaf(within);
        }
        let depth = depth - 1;
        match self.chance.pick(21) {
            0 => self.leaf(within),
            1 => format!(
                "({} + {})",
                self.value(within, depth),
                self.value(within, depth)
            ),
            2 => format!(
                "({} - {})",
                self.value(within, depth),
                self.value(within, depth)
            ),
            3..6 => format!(
                "({} * {})",
                self.value(within, depth),
                self.value(within, depth)
            ),
            6 => self.quotient(within, depth),
            7..10 => {
                let f = self.chance.of(&[
                    "tanh", "sigmoid", "relu", "softplus", "abs", "sign", "square", "sin", "cos",
                ]);
                format!("{f}({})", self.value(within, depth))
            }
            10 => self.guarded(within, depth),
            11 | 12 => self.clip(within, depth),
            13 => {
                let f = self.chance.of(&["min", "max"]);
                format!(
                    "{f}({}, {})",
                    self.value(within, depth),
                    self.value(within, depth)
                )
            }
            14 | 15 => {
                let condition = self.condition(within, depth);
                format!(
                    "select({condition}, {}, {})",
                    self.value(within, depth),
                    self.value(within, depth)
                )
            }
            16 | 17 => self.reduction(within, depth),
            // Its derivative is no difference quotient, so what it decides lets no gradient pass.
            18 if self.chance.one_in(3) => {
                let (a, b) = (self.value(within, depth), self.value(within, depth));
                let shape = self
                    .chance
                    .of(&["", ", shape = triangle", ", shape = arctan"]);
                format!("surrogate({a} > {b}, 2{shape})")
            }
            18 => {
                let condition = self.condition(within, depth);
                format!("(0.5 * {condition})")
            }
            19 => self.untaken(within, depth),
            _ if self.chance.one_in(3) => format!("stop({})", self.value(within, depth)),
            _ => self.value(within, depth),
        }
    }

    fn quotient(&mut self, within: Axes, depth: usize) -> String {
        let (a, b) = (self.value(within, depth), self.value(within, depth));
        match self.chance.pick(4) {
            0 => format!("({a} / (2 + sin({b})))"),
            1 => format!("({a} / 3)"),
            2 => format!("({a} / (0.1 + abs({b})))"),
            _ => format!("({a} / (1 + square({b})))"),
        }
    }

    /// Functions that need care to stay defined and bounded.
    fn guarded(&mut self, within: Axes, depth: usize) -> String {
        let a = self.value(within, depth);
        match self.chance.pick(9) {
            0 => format!("exp(-abs({a}))"),
            1 => format!("exp(tanh({a}))"),
            2 => format!("log(1 + square({a}))"),
            3 => format!("sqrt(0.5 + square({a}))"),
            4 => format!(
                "((0.5 + square({a})) ^ tanh({}))",
                self.value(within, depth)
            ),
            5 => format!("(tanh({a}) ^ 2)"),
            6 => format!("(tanh({a}) ^ 3)"),
            7 => format!("(sigmoid({a}) ^ 0.5)"),
            _ => format!("(-{a})"),
        }
    }

    /// A value that means the same where it stands twice: each call of a layer has parameters of its own, and each delay states
    /// that begin at numbers of their own.
    fn repeatable(&mut self, within: Axes, depth: usize) -> String {
        let layers = ["linear(", "fanout(", "dropout(", "delay("];
        let has_layer = |text: &String| layers.iter().any(|layer| text.contains(layer));
        let drawn = [self.value(within, depth), self.leaf(within)];
        let found = drawn.into_iter().find(|text| !has_layer(text));
        found.unwrap_or_else(|| "0.25".to_owned())
    }

    /// A choice that takes a function only where it is defined: elsewhere that is often infinite or no number.
    fn untaken(&mut self, within: Axes, depth: usize) -> String {
        let (a, b) = (self.repeatable(within, depth), self.value(within, depth));
        let other = self.leaf(within);
        // Often exactly 0.
        let x = format!("relu(tanh({a}))");
        let function = match self.chance.pick(9) {
            0 => format!("{other} / {x}"),
            1 => format!("log({x})"),
            2 => format!("sqrt({x} - 0.1)"),
            3 => format!("{x} ^ (-0.5)"),
            4 => format!("({x} - 0.2) ^ 0.5 * {other}"),
            5 => format!("1 / {x} * {other}"),
            6 => format!("tanh(log({x}) * {other})"),
            7 => {
                return format!("select(tanh({a}) < 0.1, exp(300 * tanh({a}) - 30) * {other}, {b})")
            }
            _ => {
                let side = self.chance.of(&["pre", "post"]);
                let inner = Axes {
                    pre: side == "pre" || within.pre,
                    post: side == "post" || within.post,
                };
                let a = self.repeatable(inner, depth);
                let f = self.chance.of(&["sum", "max", "norm"]);
                let x = format!("{f}_{side}(relu(tanh({a})))");
                return format!("select({x} > 0.3, {other} / {x}, {b})");
            }
        };
        match self.chance.pick(3) {
            0 => format!("select({x} <= 0.3, {b}, {function})"),
            1 => format!("select(!({x} <= 0.3), {function}, {b})"),
            _ => format!("select({x} > 0.3, {function}, {b})"),
        }
    }

    fn clip(&mut self, within: Axes, depth: usize) -> String {
        let boundary = self.chance.of(&[
            "",
            ", boundary = inclusive",
            ", boundary = exclusive",
            ", boundary = half",
            ", boundary = straight_through",
        ]);
        let bounds = self.chance.of(&[
            "-0.4, 0.6",
            "-1, 1",
            "0, 1",
            "-0.25, 0.25",
            "-0.5, 0.5",
            "0.1, 0.1",
        ]);
        format!("clip({}, {bounds}{boundary})", self.value(within, depth))
    }

    /// 1 or 0.
    pub fn condition(&mut self, within: Axes, depth: usize) -> String {
        let comparison = self.chance.of(&["<", "<=", ">", ">=", "!=", "=="]);
        let a = self.value(within, depth.saturating_sub(1));
        let b = self.leaf(within);
        // Beside a number of its own, for a comparison of equals is a matter of rounding.
        let simple = format!("(tanh({a}) {comparison} 0.01234 + 0.9 * {b})");
        let other = self.leaf(within);
        match self.chance.pick(7) {
            0 => format!("(!{simple})"),
            1 => format!("({simple} && {other} < 0.31)"),
            2 => format!("({simple} || {other} > 0.73)"),
            3 => format!("({other} {comparison} 0.25)"),
            4 => format!("({other} && {simple})"),
            _ => simple,
        }
    }

    /// A reduction over a side, whose value does not differ along it.
    fn reduction(&mut self, within: Axes, depth: usize) -> String {
        let side = self.chance.of(&["pre", "post"]);
        let inner = Axes {
            pre: side == "pre" || within.pre,
            post: side == "post" || within.post,
        };
        let x = self.value(inner, depth);
        match self.chance.pick(5) {
            0 => format!("tanh(sum_{side}({x}))"),
            1 => format!("(sum_{side}({x}) / size({side}))"),
            2 => format!("mean_{side}({x})"),
            3 => format!("max_{side}({x})"),
            // Away from 0, where a norm has no derivative.
            _ => format!("(norm_{side}(2 + tanh({x})) / size({side}))"),
        }
    }
}
