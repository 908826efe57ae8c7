//! `for` and indices mean what the statements mean that one would write by hand.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bpmc::driver;
use bpmc::lang::diag::{render, Style};

const END: &str = "}\n\ntrain supervised { loss = half_sum_squares, batch = 2, steps = 3 }\n";

/// The graph of a step with `set`, in which `h.0` is called `h0`.
fn graph(body: &str, set: &[&str]) -> String {
    let text = format!("dim L = 2\n\nnetwork net {{\n{body}{END}");
    let set: Vec<String> = set.iter().map(|word| (*word).to_owned()).collect();
    let compilation = driver::compile("net.bpm", &text, &set, &driver::from_disk).unwrap();
    let found = render(&compilation.diagnostics, &compilation.sources, Style::PLAIN);
    let step = compilation
        .program
        .unwrap_or_else(|| panic!("{found}"))
        .step;
    let mut text = step.to_string();
    for k in 0..4 {
        text = text.replace(&format!(".{k} "), &format!("{k} "));
        text = text.replace(&format!(".{k}."), &format!("{k}."));
        text = text.replace(&format!(".{k}\n"), &format!("{k}\n"));
    }
    text
}

const LAYERS: &str = "  input x: [3]
  up[0] = linear(x, 4)
  for k in 0 .. L {
    state h[k]: [4] = 0
    plastic rec[k]: h[k] -> y[k] using plain {
      weight w ~ uniform(-0.1, 0.1)
      coeff alpha ~ uniform(0, 0.1)
    }
    y[k] = tanh(up[k] + rec[k] * x[k + 1])
    h[k] <- y[k] + h[L - 1][k] * 0.1
    up[k + 1] = y[k]
  }
  output out = linear(up[L], 2)
";

/// `LAYERS` with so many of them, by hand.
fn by_hand(layers: usize) -> String {
    let mut text = "  input x: [3]\n  up0 = linear(x, 4)\n".to_owned();
    for k in 0..layers {
        let (next, last) = (k + 1, layers - 1);
        text += &format!(
            "  state h{k}: [4] = 0
  plastic rec{k}: h{k} -> y{k} using plain {{
    weight w ~ uniform(-0.1, 0.1)
    coeff alpha ~ uniform(0, 0.1)
  }}
  y{k} = tanh(up{k} + rec{k} * sum(x[{next} .. {next} + 1]))
  h{k} <- y{k} + sum(h{last}[{k} .. {next}]) * 0.1
  up{next} = y{k}
"
        );
    }
    text + &format!("  output out = linear(up{layers}, 2)\n")
}

#[test]
fn a_repetition_is_the_network_written_out() {
    assert_eq!(graph(LAYERS, &[]), graph(&by_hand(2), &[]));
    // A number of repetitions is a setting as any other.
    let one = graph(LAYERS, &["L=1"]);
    assert_eq!(one, graph(&by_hand(1), &["L=1"]));
    assert_ne!(one, graph(LAYERS, &[]));
}
