use super::*;
use crate::diag::{Diagnostics, SourceId};

fn errors(text: &str) -> String {
    let mut diagnostics = Diagnostics::new();
    parse(SourceId(0), text, &mut diagnostics);
    render(text, &diagnostics)
}

/// Every finding as: code, the text its label covers, message; other labels; help.
fn render(text: &str, diagnostics: &Diagnostics) -> String {
    let mut out = String::new();
    for found in diagnostics.iter() {
        let range = found.primary.span.range();
        out += &format!(
            "{} {}..{} `{}`: {}\n",
            found.code.text(),
            range.start,
            range.end,
            &text[range.clone()],
            found.message
        );
        for label in &found.secondary {
            let range = label.span.range();
            out += &format!("  {}..{}: {}\n", range.start, range.end, label.text);
        }
        if let Some(help) = &found.help {
            out += &format!("  help: {help}\n");
        }
    }
    out
}

#[test]
fn probe() {
    let cases = [
        "network a {\n  y = tanh(x\n}\n",
        "network a {\n  trace hebb := 0, e = 0\n  y == 3\n  h -> y\n  plastic rec h -> y {\n    transmit = w\n    q p\n  }\n  per = 3\n  y = 3,\n  z = a <-b\n  q = x + * 3\n  w = f(a b)\n  x = y[3]\n  r = 3x + 1\n  r = .5\n r = 1.\n größe = 3\n  a = b c\n  state h = 0: [3]\n  y =\n  h <- y\n  trace a 3\n  y = 2 3\n a = b <= c == d\n b = f(x = 1, 3)\n c = (a + )\n d = 5 ** 3\n a += 3\n when a = 3 { b }\n on post[3] { b <- 1 }\n trnsmit w\n}\n",
        "train a2c {\n lr: 3\n batch = 3 4, eps = = 2\n a.b <- 3\n foo\n optimizer { , }\n s = \"abc\n q = 200MB\n}\nx = 3\ninput y: [3]\nnetwrk a { input x: [3]\n y = 3 }\nnetwork { y = 3 }\nrule f(a, per) { }\ndim N\ndim N = \nimport foo\n",
        "network a {\n  plastic r: h -> y {\n    transmit w\n  y = 3\n}\ntask t { a = }\n",
        "network a {\n y = 3\n}\n}\ntask t { b = 1 }\n",
        "network a {\n y = (3]\n}\ntask t { b = 1 2 }\n",
        "foo", "(((", "dim N = 1e999", "import \"x\" network n { plastic a: b c { } ; ; y = 1 }", "network a { trace x ~ , e = 3 \n weight w per \n state q reset }",
        "\u{feff}dim N = 3\u{a0}", "dim N = 3 ≤ 4", "network a { y = not x\n z = a and b }",
    ];
    for case in cases {
        println!("-----\n{case}\n=>\n{}", errors(case));
    }
    let text = std::fs::read_to_string("/tmp/lang.bpm").unwrap();
    let mut d = Diagnostics::new();
    let file = parse(SourceId(0), &text, &mut d);
    println!(
        "{}\n{}\n{}",
        render(&text, &d),
        dump(&file),
        print(&file, &text)
    );
}
