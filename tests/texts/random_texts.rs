//! Mutated specs: whatever the text, the compiler answers, soon, without a panic.

use crate::stopwatch::Stopwatch;
use bpmc::driver;
use bpmc::lang::diag::{render, Style};
use bpmc::step::autodiff::Options;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest time for one text.
const LIMIT: Duration = Duration::from_secs(5);

struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % count.max(1) as u64) as usize
    }

    fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

/// All specs of the project, by which mutation starts.
fn seeds() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut folders = vec![
        root.join("tests/cases"),
        root.join("tests/specs"),
        root.join("specs"),
    ];
    folders.push(root.join("src/lang/library"));
    while let Some(folder) = folders.pop() {
        // `specs` may be missing in a packaged crate.
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "bpm") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

/// Words, blanks and signs, as pieces of a text.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut last = None;
    for c in text.chars() {
        let kind = if c.is_alphanumeric() || c == '_' {
            0
        } else if c.is_whitespace() {
            1
        } else {
            2
        };
        match pieces.last_mut() {
            Some(piece) if last == Some(kind) && kind != 2 => piece.push(c),
            _ => pieces.push(c.to_string()),
        }
        last = Some(kind);
    }
    pieces
}

const ODD: &[&str] = &[
    "",
    " ",
    "\n",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "<-",
    "=",
    "~",
    ",",
    ".",
    "..",
    ":",
    "->",
    "+",
    "-",
    "*",
    "/",
    "^",
    "!",
    "!=",
    "==",
    "<",
    ">",
    "<=",
    "&&",
    "||",
    "\"",
    "\"a\"",
    "//",
    "//!",
    "\u{0}",
    "\u{feff}",
    "é",
    "入",
    "🧠",
    "\u{202e}",
    "0",
    "1",
    "2",
    "-1",
    "1e308",
    "1e999",
    "99999999999999999999",
    "4294967296",
    "18446744073709551615",
    "0.5",
    "1_0",
    "dim",
    "rule",
    "network",
    "task",
    "train",
    "import",
    "plastic",
    "using",
    "state",
    "input",
    "trace",
    "weight",
    "coeff",
    "trained",
    "const",
    "noise",
    "modulator",
    "output",
    "transmit",
    "on",
    "when",
    "next",
    "external",
    "per",
    "reset",
    "pre",
    "post",
    "connection",
    "trial",
    "never",
    "carry",
    "linear",
    "fanout",
    "softmax",
    "concat",
    "clip",
    "select",
    "sum_pre",
    "mean_post",
    "norm_pre",
    "max",
    "size",
    "per_pre",
    "stop",
    "uniform",
    "normal",
    "identity",
    "boundary",
    "bias",
    "init",
    "task.obs",
    "x",
    "h",
    "y",
    "w",
    "rec",
    "rec.hebb",
    "hebb",
    "alpha",
    "eta",
    "M",
    "m",
    "true",
    "optimizer",
    "adam",
    "grad_scale",
    "linear(h)",
    "sum_pre(hebb * pre)",
    "h[0 .. 2]",
    "next h",
    "-> y",
    "using simple(m)",
    "per post",
    "state q: [x] = 0",
    "on post[0 .. 1] { hebb <- 0 }",
    "when y { }",
    "import \"spec.bpm\"",
];

/// A mutant of one of the seeds, of which the sound ones come first and are `sound` many.
fn mutate(random: &mut Random, seeds: &[String], sound: usize) -> String {
    // Most mutants are near to a sound spec, so that they reach the later stages.
    let among = if random.below(4) > 0 {
        sound
    } else {
        seeds.len()
    };
    let mut text = pieces(&seeds[random.below(among)]);
    let count = if random.below(2) == 0 {
        1
    } else {
        1 + random.below(6)
    };
    for _ in 0..count {
        let length = text.len();
        let at = random.below(length + 1);
        let some = random.below(12).min(length - at);
        match random.below(10) {
            0 => drop(text.drain(at..at + some)),
            1 => {
                let copy: Vec<String> = text[at..at + some].to_vec();
                let to = random.below(length + 1);
                text.splice(to..to, copy);
            }
            2 | 3 => text.insert(at, random.of(ODD).to_owned()),
            4 | 5 => {
                if let Some(piece) = text.get_mut(at) {
                    *piece = random.of(ODD).to_owned();
                }
            }
            6 | 7 => {
                // Another word of this text, or another number, where there is one.
                let is_word = |piece: &str| piece.starts_with(|c: char| c.is_alphanumeric());
                let is_number = |piece: &str| piece.starts_with(|c: char| c.is_ascii_digit());
                let words: Vec<usize> = (0..length).filter(|k| is_word(&text[*k])).collect();
                if !words.is_empty() {
                    let place = words[random.below(words.len())];
                    let number = is_number(&text[place]);
                    let alike: Vec<&usize> = words
                        .iter()
                        .filter(|k| is_number(&text[**k]) == number)
                        .collect();
                    text[place] = text[*alike[random.below(alike.len())]].clone();
                }
            }
            8 => {
                let other = pieces(&seeds[random.below(seeds.len())]);
                let start = random.below(other.len());
                let end = (start + random.below(60)).min(other.len());
                text.splice(at..at, other[start..end].iter().cloned());
            }
            _ => text.truncate(at),
        }
        if text.is_empty() {
            break;
        }
    }
    text.concat()
}

/// Compiles as the command does, adjoint and messages included. Returns the time it took and whether
/// there was a program.
fn compile(text: &str) -> (Duration, bool) {
    let watch = Stopwatch::start();
    let load = |_: &Path| Ok(text.to_owned());
    let compilation = driver::compile("spec.bpm", text, &[], &load).unwrap();
    render(&compilation.diagnostics, &compilation.sources, Style::PLAIN);
    let sound = compilation.program.is_some();
    // A file of rules alone is sound and no program.
    assert!(!(sound && compilation.diagnostics.has_errors()));
    if let Some(compiled) = compilation.program {
        bpmc::step::adjoint(&compiled.step, Options::default()).unwrap();
    }
    (watch.elapsed(), sound)
}

#[test]
fn no_text_does_harm() {
    let cases = crate::texts::cases("BPMC_FUZZ_CASES", 4000);
    let (mut seeds, broken): (Vec<String>, Vec<String>) =
        seeds().into_iter().partition(|text| compile(text).1);
    let sound_seeds = seeds.len();
    assert!(sound_seeds > 80 && broken.len() > 80);
    seeds.extend(broken);
    let mut random = Random(1);
    let (mut sound, mut slowest) = (0, Duration::ZERO);
    for case in 0..cases {
        let text = mutate(&mut random, &seeds, sound_seeds);
        let answer = std::panic::catch_unwind(|| compile(&text));
        let (time, has_program) =
            answer.unwrap_or_else(|_| panic!("case {case} panicked:\n---\n{text}\n---"));
        assert!(time < LIMIT, "case {case} took {time:?}:\n---\n{text}\n---");
        sound += u32::from(has_program);
        slowest = slowest.max(time);
    }
    #[expect(
        clippy::print_stdout,
        reason = "a report for people, shown by --nocapture"
    )]
    {
        println!("{cases} texts, {sound} of them without errors, slowest {slowest:?}");
    }
    // Mutation that left nothing alive would look at the parser alone.
    assert!(sound * 20 > cases, "{sound} of {cases}");
}
