//! The losses that `bpmc explain train NAME` prints, against the losses and gradients that are trained with: each printed
//! term is evaluated for the outputs of a network, and its finite differences are compared with the gradients.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod terms;

use bpmc::driver::compile;
use bpmc::engine::in_step::InStep;
use bpmc::engine::reference::Reference;
use bpmc::ir::rng::{Key, Stream};
use bpmc::lang::catalog::TrainerKind;
use bpmc::lang::formula::Over;
use bpmc::learn::given::{evaluate, GivenResults, GivenValues};
use bpmc::learn::values::ValuesLayout;
use bpmc::learn::TRAINERS;
use bpmc::step::autodiff::Options;
use bpmc::step::{adjoint, Compiled};
use terms::{expression, Names};

const STEPS: usize = 5;
const LANES: usize = 3;

struct Case {
    program: Compiled,
    given: GivenValues,
}

impl Case {
    /// A spec at the first values of its parameters, with inputs and all else drawn.
    fn new(text: &str, set: &[String]) -> Case {
        let load = |_: &std::path::Path| -> std::io::Result<String> { panic!("no imports") };
        let compilation = compile("case.bpm", text, set, &load).unwrap();
        let program = compilation.program.unwrap();
        let kind = program.model.train.as_ref().unwrap().trainer.kind;
        let layout = ValuesLayout::new(&program, kind, STEPS, LANES);
        let file = layout.template(&program.step, 3);
        let mut given = layout.read(&file, &program.step).unwrap();
        let place = Key::new(8, Stream::Task).at(0, 0, 0);
        let mut index = 0;
        let mut draw = || {
            index += 1;
            place.uniform(index)
        };
        for values in &mut given.inputs {
            values.iter_mut().for_each(|x| *x = 2.0 * draw() - 1.0);
        }
        for values in given.targets.iter_mut().filter(|t| !t.is_empty()) {
            values.iter_mut().for_each(|x| *x = draw());
        }
        // Some steps have no target, and another number of them in each lane.
        for values in given.weights.iter_mut().filter(|w| !w.is_empty()) {
            let weight = |k: usize| if k.is_multiple_of(4) { 0.0 } else { 1.5 };
            values
                .iter_mut()
                .enumerate()
                .for_each(|(k, w)| *w = weight(k));
        }
        given.rewards.iter_mut().for_each(|x| *x = draw());
        given
            .actions
            .iter_mut()
            .for_each(|a| *a = f64::from(u8::from(draw() < 0.5)));
        Case { program, given }
    }

    fn results(&self, given: &GivenValues) -> GivenResults {
        let step = &self.program.step;
        let back = adjoint(step, Options::default()).unwrap();
        let train = self.program.model.train.as_ref().unwrap();
        let mut engine = InStep::from(Reference::new(step.clone(), back, LANES));
        evaluate(&mut engine, train, given).unwrap()
    }

    /// `width` numbers of step `t` and lane `b`.
    fn at(values: &[f64], t: usize, b: usize) -> Vec<f64> {
        let width = values.len() / (STEPS * LANES);
        let start = (t * LANES + b) * width;
        values[start..start + width].to_vec()
    }

    /// What a name in a term means at step `t` of lane `b`, where `y` is the output `output`.
    fn name(
        &self,
        name: &str,
        outputs: &[Vec<f64>],
        output: usize,
        t: usize,
        b: usize,
    ) -> Vec<f64> {
        let slots = &self.program.step.outputs;
        let settings = &self.program.model.train.as_ref().unwrap().settings;
        let of = |path: &str, t: usize| {
            let slot = slots.iter().position(|slot| slot.path == path).unwrap();
            Self::at(&outputs[slot], t, b)
        };
        match name {
            "y" => Self::at(&outputs[output], t, b),
            "target" => Self::at(&self.given.targets[output], t, b),
            "p" => terms::evaluate(&expression("softmax(x)"), &|_| of("policy", t), &|_| {
                Vec::new()
            }),
            "V" => of("value", t),
            "action" => {
                let action = self.given.actions[t * LANES + b];
                let count = of("policy", t).len();
                (0..count)
                    .map(|k| f64::from(u8::from(k as f64 == action)))
                    .collect()
            }
            "R" => vec![self.returned(&|k| of("value", k)[0], t, b)],
            "A" => {
                let advantage = |t: usize, b: usize| {
                    let slot = slots.iter().position(|slot| slot.path == "value").unwrap();
                    let value = |k: usize| Self::at(&outputs[slot], k, b)[0];
                    self.returned(&value, t, b) - value(t)
                };
                let every = (0..STEPS).flat_map(|t| (0..LANES).map(move |b| (t, b)));
                let all: Vec<f64> = every.map(|(t, b)| advantage(t, b)).collect();
                let mean = all.iter().sum::<f64>() / all.len() as f64;
                let squares: f64 = all.iter().map(|a| (a - mean).powi(2)).sum();
                let deviation = (squares / all.len() as f64).sqrt();
                vec![(advantage(t, b) - mean) / (deviation + 1e-8)]
            }
            "chosen" => {
                let action = self.given.actions[t * LANES + b] as usize;
                vec![self.name("p", outputs, output, t, b)[action]]
            }
            "before" => of("activity", t - 1),
            path => match path.strip_prefix("train.") {
                Some(setting) => vec![settings.real(setting)],
                None => of(path, t),
            },
        }
    }

    /// The return of step `t` of lane `b` where the values of its steps are these.
    fn returned(&self, value: &dyn Fn(usize) -> f64, t: usize, b: usize) -> f64 {
        let settings = &self.program.model.train.as_ref().unwrap().settings;
        let (gamma, lambda) = (settings.real("gamma"), settings.real("lambda"));
        let reward = self.given.rewards[t * LANES + b];
        if t + 1 == STEPS {
            return reward;
        }
        let later = self.returned(value, t + 1, b);
        reward + gamma * ((1.0 - lambda) * value(t + 1) + lambda * later)
    }

    /// The printed loss for these outputs, with `stop` at its value for `held`.
    fn formula(&self, outputs: &[Vec<f64>], held: &[Vec<f64>]) -> f64 {
        let train = self.program.model.train.as_ref().unwrap();
        let formula = train.trainer.loss(&train.settings);
        let targets = self.given.targets.iter().enumerate();
        let compared: Vec<usize> = match train.trainer.kind {
            TrainerKind::Reward => vec![0],
            TrainerKind::Supervised | TrainerKind::Language => targets
                .filter(|(_, values)| !values.is_empty())
                .map(|(k, _)| k)
                .collect(),
        };
        let mut loss = 0.0;
        for part in formula.parts {
            let term = expression(part.term);
            for output in &compared {
                let value = |t: usize, b: usize| {
                    let fixed: &Names<'_> = &|name| self.name(name, held, *output, t, b);
                    let names: &Names<'_> = &|name| match name {
                        "rho" => {
                            let now = self.name("chosen", outputs, *output, t, b)[0];
                            vec![now / fixed("chosen")[0]]
                        }
                        name => self.name(name, outputs, *output, t, b),
                    };
                    let value = terms::evaluate(&term, names, fixed);
                    assert_eq!(value.len(), 1, "{}", part.term);
                    value[0]
                };
                let weight = |t: usize, b: usize| match self.given.weights.get(*output) {
                    Some(weights) => weights[t * LANES + b],
                    None => 1.0,
                };
                let lane = |b: usize| (0..STEPS).map(|t| weight(t, b)).sum::<f64>();
                let all: f64 = (0..LANES).map(lane).sum();
                let lanes = LANES as f64;
                for (t, b) in (0..STEPS).flat_map(|t| (0..LANES).map(move |b| (t, b))) {
                    let factor = match part.over {
                        Over::LanesAndSteps => 1.0 / (lanes * STEPS as f64),
                        Over::Sum => weight(t, b),
                        Over::Lanes => weight(t, b) / (lane(b) * lanes),
                        Over::Words => weight(t, b) / all,
                        Over::LaterSteps if t == 0 => continue,
                        Over::LaterSteps => 1.0 / (lanes * (STEPS - 1) as f64),
                    };
                    loss += factor * value(t, b);
                }
            }
        }
        loss
    }

    /// Compares the printed loss with the loss, and its differences with the gradients, at some numbers of each parameter.
    /// Returns by how much the differences would be off if `stop` were not held.
    fn check(&self, what: &str) -> f64 {
        let results = self.results(&self.given);
        let found = self.formula(&results.outputs, &results.outputs);
        assert!(
            (found - results.loss).abs() < 1e-12,
            "{what}: {found} {}",
            results.loss
        );
        assert!(results.loss.abs() > 1e-3, "{what}");
        let h = 1e-5;
        let mut off = 0.0f64;
        for (k, gradient) in results.gradients.iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            for number in [0, gradient.len() - 1] {
                let moved = |by: f64| {
                    let mut given = self.given.clone();
                    given.params[k][number] += by;
                    self.results(&given).outputs
                };
                let (above, below) = (moved(h), moved(-h));
                let slope = |held: Option<&[Vec<f64>]>| {
                    let above = self.formula(&above, held.unwrap_or(&above));
                    let below = self.formula(&below, held.unwrap_or(&below));
                    (above - below) / (2.0 * h)
                };
                let wanted = gradient[number];
                let error = (slope(Some(&results.outputs)) - wanted).abs();
                let path = &self.program.step.params[k].path;
                assert!(
                    error < 1e-8,
                    "{what}: {path}[{number}]: {error} of {wanted}"
                );
                off = off.max((slope(None) - wanted).abs());
            }
        }
        off
    }
}

/// Two outputs, so that losses are added.
const SUPERVISED: &str = "
network net {
  input x: [2]
  state h: [3] = 0
  plastic rec: h -> y {
    weight w ~ uniform(-0.5, 0.5)
    trained eta = 0.3
    trace hebb = 0
    transmit w + hebb
    hebb <- (1 - eta) * hebb + eta * pre * post
  }
  y = tanh(linear(x) + rec)
  h <- y
  output first = linear(y, 4)
  output second = linear(y, 2)
}
train supervised { batch = 3, steps = 5 }
";

const LANGUAGE: &str = "
network model {
  input word: [task.words]
  x = embedding(word, 4)
  cell layer: lstm(x, 4)
  output activity = layer.h
  output dropped = dropout(layer.h, 0.4)
  output next_word = tied(dropped, x)
}
task text { words = 8, steps = 5 }
train language_model { batch = 3, activity = 2, change = 1.5 }
";

#[test]
fn printed_losses_are_those_that_are_trained_with() {
    for trainer in TRAINERS {
        assert!(!trainer.about_loss.is_empty());
        for formula in trainer.losses {
            let text = match trainer.kind {
                TrainerKind::Reward => include_str!("two_rules.bpm"),
                TrainerKind::Supervised => SUPERVISED,
                TrainerKind::Language => LANGUAGE,
            };
            let choice =
                (!formula.choice.is_empty()).then(|| format!("train.loss={}", formula.choice));
            let text = match trainer.name {
                "ppo" => text.replace("train a2c {", "train ppo {"),
                _ => text.to_owned(),
            };
            let case = Case::new(&text, choice.as_slice());
            let what = format!("{} {}", trainer.name, formula.choice);
            let off = case.check(&what);
            let detached = formula.parts.iter().any(|part| part.term.contains("stop("));
            if detached {
                // What makes finite differences of the whole loss mislead.
                assert!(off > 0.01, "{what}: {off}");
            } else {
                assert!(off < 1e-8, "{what}: {off}");
            }
        }
    }
}

#[test]
fn every_choice_of_a_loss_has_its_formula() {
    for trainer in TRAINERS {
        let choices = trainer.settings.iter().find(|row| row.name == "loss");
        let words: Vec<&str> = match choices.map(|row| row.kind) {
            Some(bpmc::lang::settings::SettingKind::Choice(words)) => words.to_vec(),
            _ => vec![""],
        };
        let formulas: Vec<&str> = trainer.losses.iter().map(|one| one.choice).collect();
        assert_eq!(formulas, words, "{}", trainer.name);
    }
}
