//! Every function and operator of the language, in each position it can take: as a vector of the
//! network, as a scalar, and as an element of a plastic bundle.

use crate::gradients::spec::{check, compile, numbers};
use bpmc::ir::{Binary, Unary};
use bpmc::lang::sema::functions::{Function, FunctionInfo, FUNCTIONS};
use bpmc::lang::sema::model::Over;

/// Expressions to be tried, by position. `v` and `y` are vectors of size N, `k` and `s` scalars; in a
/// bundle `pre`, `post`, `w`, `hebb` and `eta` are there too.
#[derive(Default)]
pub struct Uses {
    pub vectors: Vec<String>,
    pub scalars: Vec<String>,
    pub elements: Vec<String>,
}

impl Uses {
    /// Each expression alone, with its text.
    pub fn each(&self) -> impl Iterator<Item = (&str, Uses)> {
        let vectors = self
            .vectors
            .iter()
            .map(|e| (e.as_str(), Uses::new(&[e], &[], &[])));
        let scalars = self
            .scalars
            .iter()
            .map(|e| (e.as_str(), Uses::new(&[], &[e], &[])));
        let elements = self
            .elements
            .iter()
            .map(|e| (e.as_str(), Uses::new(&[], &[], &[e])));
        vectors.chain(scalars).chain(elements)
    }

    fn new(vectors: &[&str], scalars: &[&str], elements: &[&str]) -> Uses {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Uses {
            vectors: owned(vectors),
            scalars: owned(scalars),
            elements: owned(elements),
        }
    }
}

/// How to call a function so that it is differentiable at almost every point. Exhaustive, so that a new
/// function does not go untested.
pub fn uses(info: &FunctionInfo) -> Uses {
    let f = info.name;
    let call = |vectors: &[&str], scalars: &[&str], elements: &[&str]| {
        let all = |list: &[&str]| list.iter().map(|args| format!("{f}({args})")).collect();
        Uses {
            vectors: all(vectors),
            scalars: all(scalars),
            elements: all(elements),
        }
    };
    match info.function {
        Function::Unary(Unary::Log | Unary::Sqrt) => call(
            &["square(v) + 0.5"],
            &["square(k) + 0.5"],
            &[
                "square(pre * post) + 0.5",
                "square(post) + 0.5",
                "square(eta) + 0.5",
            ],
        ),
        Function::Unary(_) => call(
            &["v", "2 * v - y"],
            &["k", "s - k"],
            &["pre * post + w", "pre", "post", "eta", "hebb - k"],
        ),
        Function::Binary(Binary::Max) => call(
            &["v, y", "v, 0.1", "s, v"],
            &["k, s", "v"],
            &["pre, post", "hebb, w", "eta, hebb"],
        ),
        Function::Binary(_) => call(
            &["v, y", "v, 0.1", "s, v"],
            &["k, s"],
            &["pre, post", "hebb, w", "eta, hebb"],
        ),
        Function::Select => call(
            &["v > 0.1, v * v, y", "k > 0, v, y", "v < y, s, k"],
            &["k < s, k * k, s"],
            &[
                "pre < post, w, hebb",
                "post > 0, pre, eta",
                "k > 0, hebb, w",
                "1, w, hebb",
            ],
        ),
        // Its derivative is none: see `surrogates_have_the_derivative_of_their_shape`. Where it is far from the threshold, it is 0.
        Function::Surrogate => call(
            &[
                "v > 100, 1, shape = triangle",
                "y < v - 100, 2, shape = triangle",
            ],
            &["k >= 50, 3, shape = triangle"],
            &["pre <= post - 100, 1, shape = triangle"],
        ),
        // `straight_through` is no derivative; see `straight_through_passes_everything`.
        Function::Clip => call(
            &[
                "v, -0.2, 0.2",
                "v, -0.2, 0.2, boundary = inclusive",
                "v, -0.2, 0.2, boundary = exclusive",
                "v, -0.2, 0.2, boundary = half",
            ],
            &["k, -0.1, 0.1", "s, -1, 1"],
            &["pre * post, -0.1, 0.1", "hebb, -0.5, 1 / 2", "post, 0, 1"],
        ),
        Function::Reduce(_, Over::Side(_)) => call(
            &[],
            &[],
            &[
                "pre * post * w",
                "hebb - pre + post",
                "pre + 0.1",
                "post + 0.1",
                "eta",
            ],
        ),
        Function::Reduce(_, Over::Vector) => {
            call(&[], &["v", "2 * y + v", "concat(v, y)"], &["y", "v * y"])
        }
        Function::Linear => call(
            &[
                "v",
                "v, N",
                "k",
                "v, N, bias = false",
                "v, N, init = normal(0, 1)",
            ],
            &["v, 1", "k, 1"],
            &["y", "y, N", "k, 1", "concat(y, v)"],
        ),
        Function::Fanout => call(
            &["k, N", "k", "v[0 .. 1], N", "s, N, bias = false"],
            &["k, 1"],
            &["k", "k, N", "s, bias = false", "eta"],
        ),
        Function::Every => Uses::new(
            &["every(1) * v + y", "select(every(2), v, y)"],
            &["every(1) * k"],
            &["every(1) * pre * post"],
        ),
        Function::Delay => call(
            &["v, 1", "y, 2", "2 * v - h, 1", "v, 1, reset = trial"],
            &["k, 1", "s * k, 2"],
            &["pre, 2", "post, 1", "y, 1", "post - y * post, 1"],
        ),
        // They have no derivatives of their own.
        Function::Index => Uses::new(
            &["index(v) * v"],
            &["sum(index(v) * y)"],
            &["(index(pre) - 0.5 * index(post)) * w"],
        ),
        Function::TopK => Uses::new(
            &["topk(v, 1) * v"],
            &["sum(topk(y, 1) * y)"],
            &["topk(post, 1) * post", "per_pre(topk(pre, 1)) * w"],
        ),
        Function::Softmax | Function::LogSoftmax => call(&["v", "v * y"], &["k"], &["y", "v + y"]),
        Function::Concat => Uses::new(
            &["concat(v, y)[N .. 2 * N]", "concat(k, v)[0 .. N]"],
            &["sum(concat(v, k, y))"],
            &["concat(k, y)[1 .. N + 1]"],
        ),
        // No derivative; see `stop_passes_nothing`.
        Function::Stop => Uses::default(),
        Function::Size => Uses::new(
            &["size(v) * v"],
            &["k / size(v)"],
            &[
                "pre / size(pre)",
                "post / size(post)",
                "w / size(v)",
                "size(k) * hebb",
            ],
        ),
        Function::Along(_) => call(&[], &[], &["y", "v * y", "k"]),
        Function::Embedding => call(&["x", "x, N", "v, N, init = normal(0, 1)"], &["x, 1"], &[]),
        Function::Tied => Uses::new(
            &["v + sum(tied(y, word))", "v * max(tied(v, word))"],
            &["sum(tied(v, word))", "sum(tied(y, word, bias = false))"],
            &[],
        ),
        // A mask as likely as not keeps half of a vector; what it drops has no gradient.
        Function::Dropout => call(
            &["v, 0.5", "2 * v - y, 0.1", "v, 0"],
            &["k, 0.5"],
            &["y, 0.5", "k, 0.1"],
        ),
    }
}

/// Operators, by the same rules.
pub fn operators() -> Uses {
    let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
    Uses {
        vectors: owned(vec![
            "v + y",
            "v - y",
            "v * y",
            "v / (square(y) + 0.5)",
            "-v",
            "!v * y",
            "(square(v) + 0.5) ^ y",
            "v ^ 2",
            "v ^ 3",
            "(v < y) * v",
            "(v <= y) * v",
            "(v > y) * v",
            "(v >= y) * v",
            "(v == h) + v",
            "(h == h) * v",
            "(v != h) * v",
            "(v < 0 && y < 0.5) * v",
            "(v < 0 || y > 0) * y",
            "k * v",
            "v - s",
            "v[0 .. N]",
            "1 / (1 + exp(-v))",
        ]),
        scalars: owned(vec![
            "k + s",
            "k / (2 + s)",
            "-k ^ 2",
            "(k < s) * k",
            "2 ^ k",
            "sum(v[0 .. 1])",
        ]),
        elements: owned(vec![
            "pre * post",
            "w + pre",
            "hebb - post",
            "w / (square(pre) + 0.5)",
            "-hebb",
            "(square(pre) + 0.5) ^ post",
            "eta * pre * post",
            "(pre < post) * w",
            "k * hebb",
            "post * (pre - post * hebb)",
            "y * w",
            "per_pre(h) * w",
            "next hebb_slow",
            "xi * w",
            "mask * w",
            "recall * post",
            "g",
        ]),
    }
}

/// A spec that uses all of them, with hidden size `n`.
pub fn spec(uses: &Uses, n: usize) -> String {
    let sum = |list: &[String]| {
        list.iter().enumerate().fold("0".to_owned(), |sum, (k, e)| {
            format!("{sum} + {}.{} * {e}", 0, 3 + k % 7)
        })
    };
    format!(
        "dim N = {n}
         network net {{
           input x: [4]
           state h: [N] = 0
           trained s = 0.3
           noise xi: [N] ~ normal(0, 1)
           plastic rec: h -> y {{
             weight w ~ uniform(-1, 1)
             coeff alpha ~ uniform(-1, 1)
             coeff g ~ uniform(-1, 1) per post
             trained eta = 0.1
             const mask ~ bernoulli(0.5) per connection
             trace hebb = 0, hebb_slow = 0
             recall = sum_pre(hebb * pre)
             transmit w + alpha * hebb + 0.1 * hebb_slow
             hebb <- 0.5 * hebb + 0.3 * ({})
             hebb_slow <- 0.9 * hebb_slow + 0.1 * pre * post
           }}
           v = linear(x) + rec
           k = 0.3 * sum(linear(v, 3))
           y = tanh(v)
           h <- y
           word = embedding(x, N)
           output vector = v + {}
           output scalar = k + {}
         }}
         train supervised {{ loss = half_sum_squares, batch = 2, steps = 3 }}",
        sum(&uses.elements),
        sum(&uses.vectors),
        sum(&uses.scalars),
    )
}

#[test]
fn functions_agree_with_finite_differences() {
    for info in FUNCTIONS {
        let uses = uses(info);
        let graph = compile(&spec(&uses, 3)).step;
        let numbers = numbers(&graph, 11, (2, 3), 0.8, 0.8);
        check(&graph, &numbers, 2, info.name);
    }
}

#[test]
fn operators_agree_with_finite_differences() {
    let graph = compile(&spec(&operators(), 3)).step;
    let numbers = numbers(&graph, 12, (2, 3), 0.8, 0.8);
    check(&graph, &numbers, 2, "operators");
}

/// Gradients of one expression by its vector `v`, through `output out`.
fn gradients_of(expression: &str) -> (Vec<f64>, Vec<f64>) {
    let text = format!(
        "network net {{
           input x: [5]
           trained v: [5] = 1
           output out = {expression}
         }}
         train supervised {{ loss = half_sum_squares, batch = 1, steps = 1 }}"
    );
    let graph = compile(&text).step;
    let mut numbers = numbers(&graph, 3, (1, 1), 1.0, 1.0);
    numbers.params[0] = vec![-2.0, -0.5, 0.25, 0.5, 3.0];
    numbers.inputs[0][0] = vec![1.0; 5];
    let outcome = crate::gradients::run::run(
        &mut crate::gradients::run::reference(&graph, 1),
        &numbers,
        1,
    );
    let gradient = outcome.params[0].clone().unwrap();
    let seeds = numbers.seeds[0][0].clone();
    (gradient, seeds)
}

#[test]
fn straight_through_passes_everything() {
    let (gradient, seeds) = gradients_of("clip(v * x, -0.5, 0.5, boundary = straight_through)");
    assert_eq!(gradient, seeds);
    let slopes = |boundary: &str| {
        let (gradient, seeds) =
            gradients_of(&format!("clip(v * x, -0.5, 0.5, boundary = {boundary})"));
        gradient
            .iter()
            .zip(&seeds)
            .map(|(g, s)| g / s)
            .collect::<Vec<_>>()
    };
    // Outside, on a bound, inside, on a bound, outside.
    assert_eq!(slopes("inclusive"), [0.0, 1.0, 1.0, 1.0, 0.0]);
    assert_eq!(slopes("exclusive"), [0.0, 0.0, 1.0, 0.0, 0.0]);
    assert_eq!(slopes("half"), [0.0, 0.5, 1.0, 0.5, 0.0]);
}

#[test]
fn surrogates_have_the_derivative_of_their_shape() {
    type Derivative = fn(f64) -> f64;
    let shapes: [(&str, Derivative); 5] = [
        ("", |x| (1.0 + 2.0 * x.abs()).powi(-2)),
        (", shape = fast_sigmoid", |x| (1.0 + 2.0 * x.abs()).powi(-2)),
        (", shape = triangle", |x| (1.0 - 2.0 * x.abs()).max(0.0)),
        (", shape = arctan", |x| 1.0 / (1.0 + (2.0 * x).powi(2))),
        (", shape = straight_through", |_| 1.0),
    ];
    let values = [-2.0, -0.5, 0.25, 0.5, 3.0];
    for (shape, derivative) in shapes {
        // At a distance of v - 0.25 above, and of -0.25 - v below the threshold.
        for (comparison, above, sign) in [
            ("v * x > 0.25", 0.25, 1.0),
            ("0.25 <= v * x", 0.25, 1.0),
            ("v * x < 0.25", 0.25, -1.0),
        ] {
            let (gradient, seeds) = gradients_of(&format!("surrogate({comparison}, 2{shape})"));
            for ((found, seed), value) in gradient.iter().zip(&seeds).zip(values) {
                let expected = seed * sign * derivative(value - above);
                assert!(
                    (found - expected).abs() <= 1e-12,
                    "{comparison}{shape} at {value}: {found}, {expected}"
                );
            }
        }
    }
    // The value is that of the comparison to the last bit, and the slope may be trained or not be there.
    let text = |output: &str| {
        format!(
            "network net {{\n  input x: [5]\n  trained s = 3\n  output out = {output}\n}}\n\
             train supervised {{ loss = half_sum_squares, batch = 1, steps = 1 }}"
        )
    };
    let values = |output: &str| {
        let graph = compile(&text(output)).step;
        let numbers = numbers(&graph, 3, (2, 3), 1.0, 1.0);
        let mut reference = crate::gradients::run::reference(&graph, 2);
        crate::gradients::run::run(&mut reference, &numbers, 2).outputs
    };
    let plain = values("x > 0.1");
    for surrogate in ["x > 0.1", "x > 0.1, s", "x > 0.1, s, shape = arctan"] {
        assert_eq!(values(&format!("surrogate({surrogate})")), plain);
    }
}

#[test]
fn stop_passes_nothing() {
    let (gradient, _) = gradients_of("stop(v * x)");
    assert_eq!(gradient, [0.0; 5]);
    let (product, seeds) = gradients_of("v * stop(v * x)");
    let expected = [-2.0, -0.5, 0.25, 0.5, 3.0];
    for ((found, seed), expected) in product.iter().zip(&seeds).zip(expected) {
        assert!((found - seed * expected).abs() <= 1e-12);
    }
}
