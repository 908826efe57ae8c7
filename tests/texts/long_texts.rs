//! Texts of up to a megabyte, each long in one way: time must not grow with the square of the length.

use crate::stopwatch::Stopwatch;
use bpmc::driver;
use bpmc::lang::diag::{render, Style};
use bpmc::lang::syntax::MAX_BYTES;
use std::fmt::Write;
use std::sync::OnceLock;
use std::time::Duration;

/// The longest that a text may take: a compiler that takes the square of the length takes minutes.
///
/// A busy or a slow machine takes longer for every text, so the limit grows with the time of a plain one.
fn limit() -> Duration {
    static PLAIN: OnceLock<Duration> = OnceLock::new();
    let plain = PLAIN.get_or_init(|| {
        let text = repeat(ROOM, |k| format!("dim a{k} = {k} + 1\n")) + &network("");
        let watch = Stopwatch::start();
        driver::compile("plain", &text, &[], &driver::from_disk).unwrap();
        watch.elapsed()
    });
    (*plain * 16).max(Duration::from_secs(10))
}

/// `line(0)`, `line(1)` and so on until `bytes` are full.
fn repeat(bytes: usize, line: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for k in 0.. {
        let line = line(k);
        if text.len() + line.len() > bytes {
            break;
        }
        text.push_str(&line);
    }
    text
}

/// How many lines [`repeat`] makes.
fn count(bytes: usize, line: impl Fn(usize) -> String) -> usize {
    let mut total = 0;
    (0..)
        .take_while(|k| {
            total += line(*k).len();
            total <= bytes
        })
        .count()
}

const ROOM: usize = MAX_BYTES - 4000;

fn network(body: &str) -> String {
    format!(
        "network agent {{\n  input x: [4]\n  state h: [3] = 0\n{body}  y = tanh(linear(x) + linear(h))\n  h <- y\n  \
         output out = linear(y, 2)\n}}\n\ntrain supervised {{ batch = 2, steps = 3 }}\n"
    )
}

fn bundle(head: &str, body: &str) -> String {
    format!(
        "network agent {{\n  input x: [4]\n  state h: [3] = 0\n  plastic rec: h -> y {head} {{\n    weight w ~ \
         uniform(0, 1)\n    coeff alpha ~ uniform(0, 1)\n{body}  }}\n  y = tanh(linear(x) + rec)\n  modulator m = \
         mean(y)\n  h <- y\n  output out = linear(y, 2)\n}}\n\ntrain supervised {{ batch = 2, steps = 3 }}\n"
    )
}

fn check(name: &str, text: &str) {
    assert!(text.len() <= MAX_BYTES, "{name}: {}", text.len());
    // A busy machine may be slow once; a slow compiler is slow every time.
    let mut time = Duration::MAX;
    for _ in 0..3 {
        let watch = Stopwatch::start();
        let compilation = driver::compile(name, text, &[], &driver::from_disk).unwrap();
        render(&compilation.diagnostics, &compilation.sources, Style::PLAIN);
        time = time.min(watch.elapsed());
        if time < limit() {
            let mut codes: Vec<&str> = compilation
                .diagnostics
                .iter()
                .map(|d| d.code.text())
                .collect();
            codes.sort_unstable();
            codes.dedup();
            #[expect(
                clippy::print_stdout,
                reason = "a report for people, shown by --nocapture"
            )]
            {
                println!("{name:34} {:8} bytes {time:>10.1?} {codes:?}", text.len());
            }
            return;
        }
    }
    panic!("{name} took {time:?}");
}

#[test]
fn dims() {
    check(
        "many dims",
        &(repeat(ROOM, |k| format!("dim a{k} = {k} + 1\n")) + &network("")),
    );
    let line = |k: usize| format!("dim a{k} = a{} + 1\n", k + 1);
    let last = count(ROOM, line);
    let chain = repeat(ROOM, line) + &format!("dim a{last} = 1\n") + &network("");
    check("dims in reverse", &chain);
    check(
        "dims around",
        &(repeat(ROOM, |k| format!("dim a{k} = a{} + 1\n", (k + 1) % 30_000)) + &network("")),
    );
    check(
        "dims that grow",
        &("dim a0 = 3\n".to_owned()
            + &repeat(ROOM, |k| format!("dim a{} = a{k} * a{k}\n", k + 1))
            + &network("")),
    );
    check(
        "unknown dims",
        &(repeat(ROOM, |k| format!("dim a{k} = b{k}\n")) + &network("")),
    );
    check(
        "one dim again and again",
        &(repeat(ROOM, |_| "dim a = 1\n".to_owned()) + &network("")),
    );
}

#[test]
fn states_and_values() {
    check(
        "many states",
        &network(&repeat(ROOM, |k| {
            format!("  state s{k}: [3] = 0\n  s{k} <- h\n")
        })),
    );
    check(
        "states above their updates",
        &network(
            &(repeat(ROOM / 2, |k| format!("  s{k} <- h\n"))
                + &repeat(ROOM / 2, |k| format!("  state s{k}: [3] = 0\n"))),
        ),
    );
    check(
        "one state again and again",
        &network(&repeat(ROOM, |_| "  state s: [3] = 0\n".to_owned())),
    );
    check(
        "many updates of one state",
        &network(&repeat(ROOM, |_| "  h <- y\n".to_owned())),
    );
    check(
        "unknown updates",
        &network(&repeat(ROOM, |k| format!("  s{k} <- h\n"))),
    );
    check(
        "many values",
        &network(&repeat(ROOM, |k| format!("  v{k} = linear(x, 3)\n"))),
    );
    check(
        "a chain of values",
        &network(
            &("  v0 = linear(x, 3)\n".to_owned()
                + &repeat(ROOM, |k| format!("  v{} = v{k} + v{k}\n", k + 1))),
        ),
    );
    let line = |k: usize| format!("  v{k} = v{} + 1\n", k + 1);
    let last = count(ROOM, line);
    check(
        "a chain in reverse",
        &network(&(repeat(ROOM, line) + &format!("  v{last} = linear(x, 3)\n"))),
    );
    check(
        "a circle of values",
        &network(&(repeat(ROOM, line) + &format!("  v{last} = v0\n"))),
    );
    check(
        "sizes in reverse",
        &network(
            &(repeat(ROOM, |k| format!("  v{k} = concat(v{}, x)\n", k + 1))
                + &format!(
                    "  v{} = x\n",
                    count(ROOM, |k| format!("  v{k} = concat(v{}, x)\n", k + 1))
                )),
        ),
    );
    check(
        "sizes that double",
        &network(
            &("  v0 = x\n".to_owned()
                + &repeat(ROOM, |k| format!("  v{} = concat(v{k}, v{k})\n", k + 1))),
        ),
    );
    check(
        "undetermined sizes",
        &network(&repeat(ROOM, |k| format!("  v{k} = linear(x)\n"))),
    );
    check(
        "sizes that differ",
        &network(&repeat(ROOM, |k| format!("  v{k} = linear(x, 5) + h\n"))),
    );
    check(
        "many slices",
        &network(&repeat(ROOM, |k| {
            format!("  v{k} = h[0 .. 1 + {k} / 100000]\n")
        })),
    );
    check(
        "many inputs",
        &network(&repeat(ROOM, |k| format!("  input i{k}: [3]\n"))),
    );
    check(
        "many modulators",
        &network(&repeat(ROOM, |k| format!("  modulator m{k} = mean(h)\n"))),
    );
    check(
        "many outputs",
        &network(&repeat(ROOM, |k| format!("  output o{k} = h\n"))),
    );
    check(
        "many noises",
        &network(&repeat(ROOM, |k| {
            format!("  noise n{k}: [3] ~ normal(0, 1)\n")
        })),
    );
}

#[test]
fn names() {
    check(
        "unknown names",
        &network(&repeat(ROOM, |k| format!("  v{k} = u{k}\n"))),
    );
    check(
        "names in one expression",
        &network(&format!(
            "  v = concat({}h)\n",
            repeat(ROOM, |k| format!("u{k}, "))
        )),
    );
    check(
        "unknown functions",
        &network(&repeat(ROOM, |k| format!("  v{k} = lineer{k}(h)\n"))),
    );
    let long = "a".repeat(ROOM / 2);
    check(
        "long names",
        &network(&format!("  {long} = h\n  v = {long}b\n")),
    );
    let path: Vec<&str> = std::iter::repeat_n("a", ROOM / 2).collect();
    check(
        "a long path",
        &network(&format!("  v = {}\n", path.join("."))),
    );
    check(
        "unknown signals",
        &network(&repeat(ROOM, |k| format!("  v{k} = external s{k}\n"))),
    );
}

#[test]
fn bundles_and_rules() {
    check(
        "many bundles",
        &network(&repeat(ROOM, |k| {
            format!("  plastic b{k}: h -> y {{ transmit 1 }}\n")
        })),
    );
    check(
        "many bundles with a rule",
        &network(&repeat(ROOM, |k| {
            format!("  plastic b{k}: h -> y using plain() {{ weight w = 1 coeff alpha = 1 }}\n")
        })),
    );
    check(
        "bundles without anything",
        &network(&repeat(ROOM, |k| format!("  plastic b{k}: q -> r {{ }}\n"))),
    );
    check(
        "many rules",
        &(repeat(ROOM, |k| format!("rule r{k}(a) {{ transmit a }}\n")) + &network("")),
    );
    check(
        "unknown rules",
        &network(&repeat(ROOM, |k| {
            format!("  plastic b{k}: h -> y using r{k}() {{ }}\n")
        })),
    );
    check(
        "many arguments",
        &bundle(
            &format!("using plain({}0)", repeat(ROOM, |k| format!("a{k} = 0, "))),
            "",
        ),
    );
    check(
        "many traces",
        &bundle(
            "",
            &("    transmit w\n".to_owned()
                + &repeat(ROOM, |k| {
                    format!("    trace t{k} = 0\n    t{k} <- pre * post\n")
                })),
        ),
    );
    check(
        "many coefficients",
        &bundle(
            "",
            &("    transmit w\n".to_owned() + &repeat(ROOM, |k| format!("    coeff c{k} = 0\n"))),
        ),
    );
    check(
        "many transmits",
        &bundle("", &repeat(ROOM, |_| "    transmit w\n".to_owned())),
    );
    check(
        "many regions",
        &bundle(
            "",
            &("    trace t = 0\n    transmit w + alpha * t\n".to_owned()
                + &repeat(ROOM, |k| {
                    format!("    on post[{k} .. {k} + 1] {{ t <- 0 }}\n")
                })),
        ),
    );
    check(
        "many conditions",
        &bundle(
            "",
            &("    trace t = 0\n    transmit w + alpha * t\n".to_owned()
                + &repeat(ROOM, |k| format!("    when m > {k} {{ t <- 0 }}\n"))),
        ),
    );
    check(
        "nested conditions",
        &bundle(
            "",
            &format!(
                "    trace t = 0\n    transmit w + alpha * t\n{}t <- 0{}\n",
                "when m { ".repeat(60),
                " }".repeat(60)
            ),
        ),
    );
}

#[test]
fn a_rule_that_multiplies_its_argument() {
    // Half the text is the argument, half reads it.
    let half = ROOM / 2 - 2000;
    let argument = format!("concat({}y)", repeat(half, |_| "y, ".to_owned()));
    let uses = repeat(half, |k| format!("  v{k} = M\n"));
    let rule = format!("rule r(M) {{\n  transmit w\n{uses}}}\n\n");
    check(
        "a vector read by many values",
        &(rule + &bundle(&format!("using r({argument})"), "")),
    );
    let mut sum = "m".to_owned();
    while sum.len() < half {
        // Balanced, so that the depth stays within its limit.
        sum = format!("({sum} + {sum})");
    }
    let rule = format!("rule r(M) {{\n  transmit w\n{uses}}}\n\n");
    let size = sum.len();
    if size + rule.len() < ROOM {
        check(
            "a sum read by many values",
            &(rule + &bundle(&format!("using r({sum})"), "")),
        );
    }
    let mut sum = "1".to_owned();
    while sum.len() < half / 2 {
        sum = format!("({sum} + {sum})");
    }
    let clips = repeat(half, |k| format!("  v{k} = clip(pre, 0, B)\n"));
    let rule = format!("rule r(B) {{\n  transmit w\n{clips}}}\n\n");
    check(
        "a constant read by many clips",
        &(rule + &bundle(&format!("using r({sum})"), "")),
    );
    let clips = repeat(half, |k| {
        format!("  on post[0 .. B] {{ t{k} <- 1 }}\n  trace t{k} = 0\n")
    });
    let rule = format!("rule r(B) {{\n  transmit w\n{clips}}}\n\n");
    check(
        "a size read by many regions",
        &(rule + &bundle(&format!("using r({sum})"), "")),
    );
}

#[test]
fn blocks() {
    let block = |inside: String| network("").replace("batch = 2,", &inside);
    check(
        "unknown settings",
        &block(repeat(ROOM, |k| format!("batsh{k} = 1, "))),
    );
    check(
        "one setting again and again",
        &block(repeat(ROOM, |_| "batch = 1, ".to_owned())),
    );
    check(
        "many factors",
        &block(format!(
            "grad_scale {{ {} }} ",
            repeat(ROOM, |k| format!("y.linear{k} = 1, "))
        )),
    );
    check(
        "many blocks",
        &(repeat(ROOM, |k| format!("block{k} x {{ }}\n")) + &network("")),
    );
    check(
        "many tasks",
        &(repeat(ROOM, |_| "task maze { }\n".to_owned()) + &network("")),
    );
    check(
        "many networks",
        &repeat(ROOM, |k| format!("network n{k} {{ }}\n")),
    );
    check(
        "many imports",
        &(repeat(ROOM, |k| format!("import \"nowhere{k}.bpm\"\n")) + &network("")),
    );
    let values = "grad_scale { ".to_owned()
        + &repeat(ROOM / 2, |k| format!("v{k}.linear.weight = 1, "))
        + "} ";
    let text = network(&repeat(ROOM / 2, |k| format!("  v{k} = linear(x, 3)\n")))
        .replace("batch = 2,", &values);
    check("a factor for each parameter", &text);
}

#[test]
fn broken_texts() {
    let mut text = String::new();
    for k in 0..ROOM / 30 {
        let _ = writeln!(text, "dim = {k} network {{ state }}");
    }
    check("broken items", &text);
    check(
        "broken statements",
        &network(&repeat(ROOM, |_| "  h <- +\n".to_owned())),
    );
    check("brackets", &"(".repeat(ROOM));
    check("closing brackets", &"}".repeat(ROOM));
    check(
        "operators",
        &network(&format!("  v = {}1\n", "-".repeat(ROOM))),
    );
    check(
        "a long sum",
        &network(&format!("  v = 1{}\n", " + 1".repeat(ROOM / 4))),
    );
    check("quotes", &"\"".repeat(ROOM));
    check("comments", &"// a\n".repeat(ROOM / 5));
    check("nothing", "");
}
