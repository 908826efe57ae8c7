//! Random well-typed bundles over the whole element language.

/// A source of choices. Where it runs out every choice is the first, so that shorter lists give simpler
/// specs and shrinking a list shrinks the spec.
pub struct Choices<'a> {
    list: &'a [u32],
    at: usize,
}

impl<'a> Choices<'a> {
    pub fn new(list: &'a [u32]) -> Choices<'a> {
        Choices { list, at: 0 }
    }

    /// A number below `count`.
    pub fn pick(&mut self, count: usize) -> usize {
        let choice = self.list.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        choice as usize % count
    }

    fn word(&mut self, words: &[&'static str]) -> &'static str {
        words[self.pick(words.len())]
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.pick(one_in) == one_in - 1
    }
}

/// Which sides of a bundle a value may differ along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axes {
    pre: bool,
    post: bool,
}

const BOTH: Axes = Axes {
    pre: true,
    post: true,
};

/// A random spec.
#[derive(Debug)]
pub struct Spec {
    pub text: String,
    pub lanes: usize,
    pub steps: usize,
    /// Whether every derivative in it is meant as one: no `stop`, no `straight_through`.
    pub exact: bool,
}

struct Generator<'a> {
    choices: Choices<'a>,
    /// Names that an expression may read, with their axes; those that need `post` apart.
    early: Vec<(String, Axes)>,
    late: Vec<(String, Axes)>,
    exact: bool,
}

fn fits(axes: Axes, within: Axes) -> bool {
    (!axes.pre || within.pre) && (!axes.post || within.post)
}

impl Generator<'_> {
    fn leaf(&mut self, within: Axes, late: bool) -> String {
        let mut names: Vec<&str> = vec!["0.5", "-1.25", "eta", "size(pre)"];
        let late = late.then_some(&self.late).into_iter().flatten();
        let known = self.early.iter().chain(late);
        names.extend(
            known
                .filter(|(_, axes)| fits(*axes, within))
                .map(|(name, _)| name.as_str()),
        );
        // The longest lists of names are those that matter; look at their end first.
        let k = self.choices.pick(names.len());
        names[names.len() - 1 - k].to_owned()
    }

    /// An expression that differs along `within` at most. `late` says whether it may need `post`.
    fn expr(&mut self, within: Axes, late: bool, depth: usize) -> String {
        if depth == 0 {
            return self.leaf(within, late);
        }
        let kind = self.choices.pick(14);
        let one = |this: &mut Self| this.expr(within, late, depth - 1);
        match kind {
            0 => self.leaf(within, late),
            1 => format!("({} + {})", one(self), one(self)),
            2 => format!("({} - {})", one(self), one(self)),
            3 | 4 => format!("{} * {}", wrap(&one(self)), wrap(&one(self))),
            5 => format!("{} / (1 + square({}))", wrap(&one(self)), one(self)),
            6 => {
                let function = self.choices.word(&[
                    "tanh", "sigmoid", "relu", "softplus", "abs", "sign", "square", "sin", "cos",
                ]);
                format!("{function}({})", one(self))
            }
            7 => match self.choices.pick(6) {
                0 => format!("exp(-abs({}))", one(self)),
                1 => format!("log(1 + square({}))", one(self)),
                2 => format!("sqrt(0.5 + square({}))", one(self)),
                3 => format!("(0.5 + square({})) ^ tanh({})", one(self), one(self)),
                4 => format!("(-{})", wrap(&one(self))),
                _ => format!("tanh({}) ^ 2", one(self)),
            },
            8 => {
                let boundary = self.choices.word(&[
                    "",
                    ", boundary = exclusive",
                    ", boundary = half",
                    ", boundary = straight_through",
                ]);
                self.exact &= !boundary.contains("through");
                format!("clip({}, -0.4, 0.6{boundary})", one(self))
            }
            9 => {
                let function = self.choices.word(&["min", "max"]);
                format!("{function}({}, {})", one(self), one(self))
            }
            10 => format!(
                "select({}, {}, {})",
                self.condition(within, late, depth),
                one(self),
                one(self)
            ),
            11 | 12 => self.reduction(within, late, depth),
            _ => {
                if self.choices.chance(3) {
                    self.exact = false;
                    format!("stop({})", one(self))
                } else {
                    one(self)
                }
            }
        }
    }

    fn condition(&mut self, within: Axes, late: bool, depth: usize) -> String {
        let comparison = self.choices.word(&["<", "<=", ">", ">=", "!=", "=="]);
        let a = self.expr(within, late, depth - 1);
        let b = self.leaf(within, late);
        // Beside a number of its own, for a comparison of equals is a matter of rounding.
        let simple = format!("tanh({a}) {comparison} 0.01234 + 0.9 * {}", wrap(&b));
        match self.choices.pick(4) {
            0 => format!("!({simple})"),
            1 => {
                let other = self.leaf(within, late);
                format!("({simple} && {} < 0.31)", wrap(&other))
            }
            2 => {
                let other = self.leaf(within, late);
                format!("({simple} || {} > 0.73)", wrap(&other))
            }
            _ => simple,
        }
    }

    /// A reduction over a side, whose value does not differ along it.
    fn reduction(&mut self, within: Axes, late: bool, depth: usize) -> String {
        let over_pre = self.choices.pick(2) == 0;
        let inner = Axes {
            pre: over_pre || within.pre,
            post: !over_pre || within.post,
        };
        let side = if over_pre { "pre" } else { "post" };
        let x = self.expr(inner, late, depth - 1);
        match self.choices.pick(4) {
            0 => format!("sum_{side}({x})"),
            1 => format!("mean_{side}({x})"),
            2 => format!("max_{side}({x})"),
            // Away from 0, where a norm has no derivative.
            _ => format!("norm_{side}(2 + tanh({x}))"),
        }
    }

    fn granularity(&mut self) -> (&'static str, Axes) {
        let (pre, post) =
            [(true, true), (false, true), (true, false), (false, false)][self.choices.pick(4)];
        let word = match (pre, post) {
            (true, true) => "connection",
            (false, true) => "post",
            (true, false) => "pre",
            (false, false) => "network",
        };
        (word, Axes { pre, post })
    }
}

fn wrap(text: &str) -> String {
    if text.starts_with('-') || text.contains(' ') {
        format!("({text})")
    } else {
        text.to_owned()
    }
}

/// A spec from a list of choices.
pub fn spec(list: &[u32]) -> Spec {
    let mut g = Generator {
        choices: Choices::new(list),
        early: Vec::new(),
        late: Vec::new(),
        exact: true,
    };
    let post = 1 + g.choices.pick(4);
    let recurrent = g.choices.pick(2) == 0;
    let pre = if recurrent {
        post
    } else {
        1 + g.choices.pick(4)
    };
    let lanes = 1 + g.choices.pick(4);
    let steps = 1 + g.choices.pick(4);
    let vector = |pre, post| Axes { pre, post };
    let name = |text: &str| text.to_owned();

    let mut body = String::from("weight w ~ uniform(-1, 1)\n");
    g.early.push((name("pre"), vector(true, false)));
    g.early.push((name("w"), BOTH));
    for coefficient in ["alpha", "beta"] {
        let (per, axes) = g.granularity();
        body += &format!("coeff {coefficient} ~ uniform(-1, 1) per {per}\n");
        g.early.push((name(coefficient), axes));
    }
    body += "trained eta = 0.3\n";
    if g.choices.chance(3) {
        body += "const mask ~ bernoulli(0.5) per connection\n";
        g.early.push((name("mask"), BOTH));
    }
    if g.choices.chance(3) {
        let (per, axes) = g.granularity();
        body += &format!("noise xi ~ normal(0, 1) per {per}\n");
        g.early.push((name("xi"), axes));
    }
    let count = 1 + g.choices.pick(3);
    let mut traces = Vec::new();
    for k in 0..count {
        let (per, axes) = if k == 0 {
            ("connection", BOTH)
        } else {
            g.granularity()
        };
        let reset = g.choices.word(&["", " reset trial", " reset never"]);
        body += &format!("trace t{k} = 0.1 per {per}{reset}\n");
        g.early.push((format!("t{k}"), axes));
        traces.push((format!("t{k}"), axes));
    }
    g.late.push((name("post"), vector(false, true)));
    g.late.push((name("m"), vector(false, false)));
    g.late.push((name("gain"), vector(false, true)));
    for k in 0..g.choices.pick(3) {
        let (_, axes) = g.granularity();
        let late = g.choices.pick(2) == 1;
        let value = g.expr(axes, late, 2);
        body += &format!("local{k} = {value}\n");
        let known = if late { &mut g.late } else { &mut g.early };
        known.push((format!("local{k}"), axes));
    }
    let extra = g.expr(BOTH, false, 2);
    body += &format!("transmit 0.5 * w + alpha * t0 + 0.2 * tanh({extra})\n");
    for (k, (trace, axes)) in traces.iter().enumerate() {
        let value = g.expr(*axes, true, 3);
        let update = match g.choices.pick(3) {
            0 => format!("{trace} <- clip(0.7 * {trace} + 0.8 * tanh({value}), -0.5, 0.5)"),
            1 => format!("{trace} <- (1 - eta) * {trace} + eta * tanh({value})"),
            _ => format!("{trace} <- 0.6 * {trace} + 0.4 * tanh({value})"),
        };
        let update = match g.choices.pick(4) {
            1 if axes.post => format!("on post[0 .. size(post) - size(post) / 2] {{ {update} }}"),
            2 if axes.pre => format!("on pre[size(pre) / 2 .. size(pre)] {{ {update} }}"),
            3 => {
                let condition = g.condition(*axes, true, 1);
                format!("when {condition} {{ {update} }}")
            }
            _ => update,
        };
        body += &update;
        body.push('\n');
        // Later traces may read what leaves the step.
        g.late.push((format!("next t{k}"), *axes));
    }
    let (source, input) = if recurrent {
        ("h", "linear(x)")
    } else {
        ("z", "linear(x) + linear(h)")
    };
    let body: String = body.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "network random {{
  input x: [2]
  state h: [{post}] = 0
  z = tanh(linear(x, {pre}))
  plastic rec: {source} -> y {{
{body}  }}
  y = tanh({input} + rec)
  modulator m = tanh(linear(y, 1))
  modulator gain = fanout(m, {post})
  h <- y
  output out = linear(y, 2)
}}

train supervised {{ loss = half_sum_squares, batch = {lanes}, steps = {steps} }}
"
    );
    Spec {
        text,
        lanes,
        steps,
        exact: g.exact,
    }
}
