//! The examples on the pages of `bpmc explain CODE`: the one that shows a mistake reports that mistake and
//! nothing else, and the one to use instead is silent.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bpmc::driver;
use bpmc::lang::diag::{examples, render, Code, Style};
use std::io;
use std::path::Path;

/// The codes a spec gives as the file `spec.bpm`, and what the command would print.
fn check(text: &str) -> (Vec<Code>, String) {
    let set: Vec<String> = match text
        .lines()
        .next()
        .unwrap()
        .strip_prefix("// bpmc check spec.bpm")
    {
        Some(options) => options
            .split_whitespace()
            .filter(|word| *word != "--set")
            .map(str::to_owned)
            .collect(),
        None => Vec::new(),
    };
    let load = |path: &Path| {
        if path == Path::new("spec.bpm") {
            Ok(text.to_owned())
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, "no such file"))
        }
    };
    let compilation = driver::compile("spec.bpm", text, &set, &load).unwrap();
    let codes = compilation.diagnostics.iter().map(|d| d.code).collect();
    let shown = render(&compilation.diagnostics, &compilation.sources, Style::PLAIN);
    (codes, shown)
}

#[test]
fn examples_show_their_code_alone() {
    let mut wrong = Vec::new();
    for &code in Code::ALL {
        let Some(example) = examples(code).0 else {
            continue;
        };
        let (codes, shown) = check(example);
        if codes.is_empty() || codes.iter().any(|found| *found != code) {
            wrong.push(format!("{}:\n{shown}", code.text()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_to_use_instead_is_silent() {
    let mut wrong = Vec::new();
    for &code in Code::ALL {
        let (codes, shown) = check(examples(code).1);
        if !codes.is_empty() {
            wrong.push(format!("{}:\n{shown}", code.text()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples_name_the_place() {
    for &code in Code::ALL {
        let Some(example) = examples(code).0 else {
            continue;
        };
        let (_, shown) = check(example);
        // A line and column of the spec, or of the option that is wrong.
        assert!(
            shown.contains("--> spec.bpm:") || shown.contains("--> --set:"),
            "{}:\n{shown}",
            code.text()
        );
        assert!(shown.contains(code.text()), "{shown}");
    }
}

#[test]
fn a_file_of_many_megabytes_is_too_large() {
    // The one code whose page has no example.
    let text = format!("{}{}", examples(Code::TooLarge).1, "\n".repeat(10 << 20));
    assert_eq!(check(&text).0, [Code::TooLarge]);
}
