//! Random networks that read a text in two chunks, the second going on from the first: kernels in stages and Candle
//! against the reference without passes.

use super::case::canonical;
use super::chance::Chance;
use super::{generate, number};
use bpmc::driver::{compile, from_disk};
use bpmc::engine::experiment::CompileError;
use bpmc::learn::trainer::{BackendKind, Probe, TrainError, Trainer, TrainerOptions};
use bpmc::machine::device::DeviceChoice;
use bpmc::step::passes::Selection;
use bpmc::step::Compiled;

/// A random spec that predicts words; `None` where it asks for what a text does not give.
fn text(seed: u64, index: u64) -> Option<(String, Compiled)> {
    let mut chance = Chance::of_case(seed ^ 0x7e, index);
    let extent = generate::Extent {
        n: 1 + chance.pick(9),
        p: 1 + chance.pick(9),
        lanes: 1 + chance.pick(4),
        steps: 1 + chance.pick(7),
    };
    let spec = generate::spec(extent, &mut chance);
    let (before, rest) = spec.split_once("input x: [")?;
    let (size, rest) = rest.split_once("]\n")?;
    let (network, _) = rest.split_once("\n}\n\ntrain")?;
    // A text has an input of this name, and no reward.
    let network = network.replace("output word =", "output read =");
    let network = network.replace("external reward", "surprise");
    let generate::Extent { lanes, steps, .. } = extent;
    let spec = canonical(&format!(
        "{before}input word: [task.words]\nx = embedding(word, {size})\nsurprise = tanh(mean(x))\n{network}\n\
         output next_word = linear(y, task.words)\n}}\n\n\
         task text {{ words = 9, steps = {steps} }}\n\n\
         train language_model {{ batch = {lanes}, epochs = 1 }}\n"
    ));
    let compilation = compile("text.bpm", &spec, &[], &from_disk);
    let program = compilation.unwrap_or_else(|fault| panic!("{fault}\n{spec}"));
    Some((spec, program.program?))
}

/// Two chunks with the same parameters; `None` where the backend does not run the network.
fn chunks(
    spec: &str,
    program: &Compiled,
    backend: BackendKind,
    passes: Selection,
) -> Option<Vec<Probe>> {
    let options = TrainerOptions {
        threads: 2,
        backend,
        device: DeviceChoice::CPU,
        passes,
        memory: None,
    };
    let mut trainer = match Trainer::new(program, options) {
        Err(TrainError::Compile(CompileError::Unsupported(_))) => return None,
        made => made.unwrap_or_else(|fault| panic!("{fault}\n{spec}")),
    };
    Some((0..2).map(|_| trainer.probe().unwrap()).collect())
}

/// By chunk and parameter, the loss first: the largest error against the largest number.
fn errors(found: &[Probe], expected: &[Probe]) -> Vec<f64> {
    let mut all = Vec::new();
    for (found, expected) in found.iter().zip(expected) {
        all.push((found.loss - expected.loss).abs() / expected.loss.abs().max(1.0));
        for (a, b) in found.gradients.iter().zip(&expected.gradients) {
            let (a, b) = (a.iter().flatten(), b.iter().flatten());
            let scale = b.clone().fold(1e-3, |m: f64, x| m.max(x.abs()));
            let errors = a.zip(b).map(|(a, b)| (a - b).abs() / scale);
            all.push(errors.fold(0.0, |m: f64, x| if m.is_nan() || x <= m { m } else { x }));
        }
    }
    all
}

#[test]
fn random_texts_agree_with_the_reference() {
    let seed = number("BPMC_PROPERTY_SEED", 7);
    let first = number("BPMC_PROPERTY_FIRST", 0);
    let count = number("BPMC_PROPERTY_CASES", 2_000).div_ceil(20);
    let (mut compared, mut on_kernels) = (0, 0);
    for index in first..first + count {
        let Some((spec, program)) = text(seed, index) else {
            continue;
        };
        let plain = Selection::level(0);
        let expected = chunks(&spec, &program, BackendKind::Reference, plain)
            .expect("the reference runs every network");
        if errors(&expected, &expected).iter().any(|x| x.is_nan()) {
            continue;
        }
        compared += 1;
        // What rounding explains is as wrong in the same precision without kernels and passes.
        let rounded = chunks(&spec, &program, BackendKind::Candle, plain)
            .map(|rounded| errors(&rounded, &expected))
            .expect("Candle runs every network");
        for backend in [BackendKind::Fused, BackendKind::Candle] {
            let Some(found) = chunks(&spec, &program, backend, Selection::default()) else {
                continue;
            };
            on_kernels += u64::from(backend == BackendKind::Fused);
            let wrong = errors(&found, &expected);
            for (k, (wrong, rounded)) in wrong.iter().zip(&rounded).enumerate() {
                assert!(
                    *wrong < 1e-3 || *wrong < 10.0 * rounded,
                    "case {index} of seed {seed} on {backend:?}, number {k}: wrong by {wrong}, rounding \
                     explains {rounded}\n{spec}"
                );
            }
        }
    }
    assert!(
        count < 20 || (compared * 4 > count * 3 && on_kernels * 8 > count),
        "{compared} of {count} compared, {on_kernels} on kernels"
    );
}
