//! Training: what a spec's `train` block can say, losses with their adjoints, optimizers, parameters,
//! checkpoints and metrics.
//!
//! Losses are computed in f64 whatever the backend's precision, lane by lane over a whole episode, and
//! hand the adjoints of the step's outputs back to the adjoint program.

pub mod a2c;
pub mod action;
mod again;
mod average;
pub mod block;
mod blocks;
pub mod checkpoint;
pub mod chunks;
pub mod data;
pub mod device_block;
mod drive;
pub mod episodes;
mod experiment;
pub mod given;
mod given_loss;
pub mod gradient;
pub mod lane_episode;
pub mod language;
pub mod learner;
pub mod losses;
pub mod optim;
pub mod phases;
pub mod policy;
pub mod ppo;
pub mod rate;
pub mod replace;
pub mod score;
mod softmax;
pub mod supervised;
pub mod tasks;
pub mod text;
pub mod trainer;
pub mod values;

use crate::lang::catalog::{Catalog, TrainerBlock, TrainerInfo, TrainerKind};
use crate::lang::formula::{Formula, Over, Part};
use crate::lang::settings::Setting;
use std::path::Path;

/// The optimizer of a `train` block that names none.
pub const DEFAULT_OPTIMIZER: &str = "adam";

/// All tasks, trainers and optimizers, for the compilation of a spec in `directory`.
pub fn catalog(directory: &Path) -> Catalog {
    Catalog {
        tasks: tasks::TASKS.iter().map(|task| &task.info).collect(),
        trainers: TRAINERS.iter().collect(),
        optimizers: optim::OPTIMIZERS.iter().map(|row| &row.info).collect(),
        default_optimizer: DEFAULT_OPTIMIZER,
        read_array: |path, name| {
            data::given_array(path, name).map_err(|error| (error.message, error.help))
        },
        directory: directory.to_owned(),
    }
}

/// All trainers, by name.
pub static TRAINERS: &[TrainerInfo] = &[
    TrainerInfo {
        name: "a2c",
        summary: "advantage actor-critic over whole episodes (Miconi et al. 2019, §4)",
        settings: &[
            BATCH,
            ITERATIONS,
            SEED,
            Setting::real(
                "gamma",
                (0.0, 1.0),
                0.9,
                "Discount of the return: R(t) = r(t) + gamma R(t+1) (paper: 0.9).",
            ),
            Setting::real(
                "lambda",
                (0.0, 1.0),
                1.0,
                "Share of what really followed in a return; the rest is the value of the next step, which varies less and may be wrong. 1 takes only rewards (paper), 0 only the next one.",
            ),
            Setting::real(
                "value",
                (0.0, 1e6),
                0.1,
                "Coefficient of the squared error of the value (paper: 0.1).",
            ),
            Setting::real(
                "concentration",
                (0.0, 1e6),
                0.0,
                "Coefficient of the sum of squared action probabilities, which keeps the policy open (paper: 0.1 cue–reward, 0.03 maze).",
            ),
            Setting::real(
                "entropy",
                (0.0, 1e6),
                0.0,
                "Coefficient of the entropy of the policy, taken from the loss (paper: 0).",
            ),
            Setting::flag(
                "normalise",
                false,
                "Scale the advantages of an iteration to mean 0 and standard deviation 1; episodes are then run a second time for their gradients.",
            ),
            RATE,
            WARM_UP,
            DECAY,
            DECAY_EVERY,
            CLIP_NORM,
            BURN_IN,
            CHECKPOINT_EVERY,
            KEEP_CHECKPOINTS,
            METRICS_EVERY,
            MEMORY,
        ],
        blocks: &[TrainerBlock::Optimizer, TrainerBlock::GradScale],
        kind: TrainerKind::Reward,
        losses: &[Formula {
            choice: "",
            parts: &[Part {
                over: Over::LanesAndSteps,
                term: "-sum(action * log(p)) * stop(R - V)
                       + train.value * (R - V)^2
                       + train.concentration * sum(p^2)
                       + train.entropy * sum(p * log(p))",
            }],
            names: &[
                ("p", "softmax(policy), the probability of each action"),
                ("V", "the output value"),
                ("action", "1 for the action taken, 0 for the others"),
                ("R", "the return of the step: R(t) = r(t) + train.gamma * ((1 - train.lambda) * V(t+1) + train.lambda * R(t+1)), and 0 after the last step of an episode"),
            ],
        }],
        about_loss: "The advantage R - V in the first term is detached, as `stop` says: that term moves the policy alone.
Finite differences of the loss are its gradients only while return and advantage are held. Nothing
follows the last step of an episode that is over. Where an episode is cut off, as by `truncated` of
`task process` or by its last step, V(t+1) stands for what would have followed; a last step without
a step after it gives its value and adds nothing else. Steps after the end of an episode add 0. The
squared error has no factor 1/2. Several choices a step, with outputs policy_0, policy_1 and so on, add up:
log(p) of the action, p^2 and p * log(p) are then sums over the choices. Continuous actions have normal
distributions with the mean policy and the standard deviation s = exp(log_std): log(p) of the action is
the sum of -((action - policy) / s)^2 / 2 - log_std - log(2 pi) / 2, the entropy is the sum of
log_std + log(2 pi e) / 2, and concentration is 0.",
    },
    TrainerInfo {
        name: "ppo",
        summary: "proximal policy optimisation: several clipped steps on each batch of episodes (Schulman et al. 2017)",
        settings: &[
            BATCH,
            ITERATIONS,
            SEED,
            Setting::real("gamma", (0.0, 1.0), 0.99, "Discount of the return."),
            Setting::real(
                "lambda",
                (0.0, 1.0),
                0.95,
                "Share of what really followed in a return; the rest is the value of the next step.",
            ),
            Setting::real(
                "clip",
                (0.0, 1e6),
                0.2,
                "How far from 1 the ratio of an action's probabilities has an effect.",
            ),
            Setting::int(
                "epochs",
                (1, 1000),
                4,
                "How often each lane of an iteration is learned from.",
            ),
            Setting::int(
                "minibatches",
                (1, 65_536),
                4,
                "Parts of the lanes with an optimizer step each; `batch` must be a multiple.",
            ),
            Setting::flag(
                "normalise",
                true,
                "Scale the advantages of an iteration to mean 0 and standard deviation 1.",
            ),
            Setting::real(
                "value",
                (0.0, 1e6),
                0.5,
                "Coefficient of the squared error of the value.",
            ),
            Setting::real(
                "concentration",
                (0.0, 1e6),
                0.0,
                "Coefficient of the sum of squared action probabilities, which keeps the policy open.",
            ),
            Setting::real(
                "entropy",
                (0.0, 1e6),
                0.0,
                "Coefficient of the entropy of the policy, taken from the loss.",
            ),
            RATE,
            WARM_UP,
            DECAY,
            DECAY_EVERY,
            CLIP_NORM,
            BURN_IN,
            CHECKPOINT_EVERY,
            KEEP_CHECKPOINTS,
            METRICS_EVERY,
            MEMORY,
        ],
        blocks: &[TrainerBlock::Optimizer, TrainerBlock::GradScale],
        kind: TrainerKind::Reward,
        losses: &[Formula {
            choice: "",
            parts: &[Part {
                over: Over::LanesAndSteps,
                term: "-min(rho * stop(A), clip(rho, 1 - train.clip, 1 + train.clip) * stop(A))
                       + train.value * (stop(R) - V)^2
                       + train.concentration * sum(p^2)
                       + train.entropy * sum(p * log(p))",
            }],
            names: &[
                ("p", "softmax(policy), the probability of each action"),
                ("rho", "the probability of the action taken, divided by what it was when it was taken"),
                ("V", "the output value"),
                ("R", "the return of the step: R(t) = r(t) + train.gamma * ((1 - train.lambda) * V(t+1) + train.lambda * R(t+1)), and 0 after the last step of an episode"),
                ("A", "R - V; with train.normalise minus its mean, divided by its standard deviation"),
            ],
        }],
        about_loss: "R and A are those of when the action was taken, and are held. In each epoch the lanes are dealt into
`minibatches`, in another order each time. The lanes of a minibatch run again from the states they
began with, with the same inputs and actions, and the optimizer takes a step. The mean is over the
steps of the minibatch that count: those after the end of an episode do not, nor does a last step
after which the episode would go on, whose value stands for what follows. The loss of an iteration
is the mean over its optimizer steps. The squared error has no factor 1/2. Several choices a step, with outputs
policy_0, policy_1 and so on, add up, and continuous actions have normal distributions with the mean
policy and the standard deviation exp(log_std), as `bpmc explain train a2c` says.",
    },
    TrainerInfo {
        name: "supervised",
        summary: "gradient descent on the error of outputs for which the task has targets",
        settings: &[
            BATCH,
            ITERATIONS,
            Setting::int(
                "epochs",
                (0, 1_000_000),
                0,
                "How often each sequence of a file is shown, instead of `iterations`; 0 counts iterations.",
            ),
            SEED,
            Setting::choice(
                "loss",
                &[
                    "half_sum_squares",
                    "mean_squares",
                    "cross_entropy",
                    "binary_cross_entropy",
                ],
                "Half the summed squared error; the mean squared error; cross-entropy of the softmax; or of the logistic function of each output.",
            ),
            Setting::int(
                "steps",
                (1, 1_000_000),
                1,
                "Steps of an episode in a spec without a task; a task brings its own.",
            ),
            Setting::int(
                "chunk",
                (0, 1_000_000),
                0,
                "Steps after which gradients are cut and parameters move, while states go on to the next chunk of the sequence; 0 learns from whole sequences.",
            ),
            Setting::int(
                "valid_every",
                (1, 1_000_000),
                1,
                "Epochs from one look at the validation file to the next.",
            ),
            Setting::int(
                "patience",
                (0, 1_000_000),
                0,
                "Stop once so many looks at the validation file in a row found no lower loss; 0 never stops.",
            ),
            RATE,
            WARM_UP,
            DECAY,
            DECAY_EVERY,
            CLIP_NORM,
            BURN_IN,
            CHECKPOINT_EVERY,
            KEEP_CHECKPOINTS,
            METRICS_EVERY,
            MEMORY,
        ],
        blocks: &[
            TrainerBlock::Optimizer,
            TrainerBlock::GradScale,
            TrainerBlock::Loss,
        ],
        kind: TrainerKind::Supervised,
        losses: &[
            Formula {
                choice: "half_sum_squares",
                parts: &[Part {
                    over: Over::Sum,
                    term: "0.5 * sum((y - target)^2)",
                }],
                names: &[],
            },
            Formula {
                choice: "mean_squares",
                parts: &[Part {
                    over: Over::Lanes,
                    term: "mean((y - target)^2)",
                }],
                names: &[],
            },
            Formula {
                choice: "cross_entropy",
                parts: &[Part {
                    over: Over::Lanes,
                    term: "-sum(target * log(softmax(y)))",
                }],
                names: &[],
            },
            Formula {
                choice: "binary_cross_entropy",
                parts: &[Part {
                    over: Over::Lanes,
                    term: "-mean(target * log(sigmoid(y)) + (1 - target) * log(1 - sigmoid(y)))",
                }],
                names: &[],
            },
        ],
        about_loss: "Here y is an output and target its target; the losses of several outputs are added. The task
gives each step a weight: 0 where the output does not matter. A mean divides by the sum of the
weights of its lane; a lane without any weight adds 0. `loss { label = cross_entropy, recall = 0.5 * mean_squares }`
gives each output its own loss with a factor. With `chunk = K` an iteration shows K steps of each sequence, and weights
and means are those of these steps; a chunk without any weight moves no parameter.",
    },
    TrainerInfo {
        name: "language_model",
        summary: "cross-entropy of the next word of a text that is read from beginning to end (Miconi et al. 2019, §4.3)",
        settings: &[
            Setting::int(
                "batch",
                (1, 65_536),
                20,
                "Lanes: parts of the text that are read side by side (paper: 20 small, 7 large).",
            ),
            Setting::int(
                "epochs",
                (0, 10_000),
                13,
                "How often the text is read (paper: 13 small).",
            ),
            SEED,
            Setting::int(
                "eval_batch",
                (1, 65_536),
                10,
                "Lanes of validation and test.",
            ),
            Setting::real(
                "decay",
                (0.0, 1.0),
                1.0,
                "Factor on the learning rate in each epoch from `decay_from` on (paper, small: 0.25 to 0.40).",
            ),
            Setting::int(
                "decay_from",
                (0, 10_000),
                0,
                "First epoch, counted from 1, with a smaller learning rate; 0 for none (paper, small: 4 to 6).",
            ),
            Setting::int(
                "decay_every",
                (1, 10_000),
                1,
                "Epochs from one such factor to the next.",
            ),
            Setting::int(
                "average_from",
                (0, 10_000),
                0,
                "First epoch, counted from 1, over whose steps parameters are averaged for validation and test, as in averaged SGD; 0 for none (paper, large: 45).",
            ),
            Setting::int(
                "average_patience",
                (0, 10_000),
                0,
                "Average them once validation is worse than the best of all epochs before but the last so many; 0 for never.",
            ),
            Setting::flag(
                "rate_by_length",
                false,
                "Scale the learning rate with the length of a chunk (paper, large).",
            ),
            Setting::real(
                "activity",
                (0.0, 1e6),
                0.0,
                "Penalty on the mean square of the output `dropped` (paper, large: 2).",
            ),
            Setting::real(
                "change",
                (0.0, 1e6),
                0.0,
                "Penalty on the mean square of the change of the output `activity` from step to step (paper, large: 1).",
            ),
            CLIP_NORM,
            BURN_IN,
            CHECKPOINT_EVERY,
            KEEP_CHECKPOINTS,
            METRICS_EVERY,
            MEMORY,
        ],
        blocks: &[TrainerBlock::Optimizer, TrainerBlock::GradScale],
        kind: TrainerKind::Language,
        losses: &[Formula {
            choice: "",
            parts: &[
                Part {
                    over: Over::Words,
                    term: "-sum(target * log(softmax(next_word)))",
                },
                Part {
                    over: Over::LanesAndSteps,
                    term: "train.activity * mean(dropped^2)",
                },
                Part {
                    over: Over::LaterSteps,
                    term: "train.change * mean((activity - before)^2)",
                },
            ],
            names: &[
                ("target", "1 for the word that follows, 0 for the others"),
                ("before", "the output activity of the step before"),
            ],
        }],
        about_loss: "The means are those of a chunk of the text. `train.activity` needs an output called `dropped`, and
`train.change` one called `activity`.",
    },
];

/// The trainer with this name.
pub fn find(name: &str) -> Option<&'static TrainerInfo> {
    TRAINERS.iter().find(|trainer| trainer.name == name)
}

const BATCH: Setting = Setting::int(
    "batch",
    (1, 65_536),
    30,
    "Episodes of an iteration, each in a lane; the loss above says how they are averaged (paper: 30).",
);
const ITERATIONS: Setting = Setting::int(
    "iterations",
    (0, u32::MAX as u64),
    200_000,
    "Steps of the optimizer, one batch of episodes each (paper: 200 000).",
);
const SEED: Setting = Setting::int(
    "seed",
    (0, u64::MAX),
    0,
    "What all random numbers of the run are drawn from.",
);
const RATE: Setting = Setting::choice(
    "rate",
    &["constant", "step", "cosine"],
    "Learning rate over the run: constant; times `decay` every `decay_every` iterations; or half a cosine down to `decay` of it at the end.",
);
const WARM_UP: Setting = Setting::int(
    "warm_up",
    (0, u32::MAX as u64),
    0,
    "First iterations, in which the learning rate rises in equal steps from 0 to its full value.",
);
const DECAY: Setting = Setting::real(
    "decay",
    (0.0, 1.0),
    0.1,
    "Factor on the learning rate: of every step of `rate = step`, of the end of `rate = cosine`.",
);
const DECAY_EVERY: Setting = Setting::int(
    "decay_every",
    (1, u32::MAX as u64),
    1000,
    "Iterations from one step of `rate = step` to the next, counted after the warm-up.",
);
const CLIP_NORM: Setting = Setting::real(
    "clip_norm",
    (0.0, 1e12),
    7.0,
    "Largest norm of all gradients together; a longer gradient is scaled down to it; 0 turns it off (paper: 7.0).",
);
const BURN_IN: Setting = Setting::int(
    "burn_in",
    (0, u32::MAX as u64),
    0,
    "First iterations that compute gradients and do not apply them (published maze runs: 100).",
);
const CHECKPOINT_EVERY: Setting = Setting::int(
    "checkpoint_every",
    (0, u32::MAX as u64),
    1000,
    "Iterations between checkpoints; 0 writes only the last.",
);
const KEEP_CHECKPOINTS: Setting = Setting::int(
    "keep_checkpoints",
    (1, 1_000_000),
    3,
    "How many of the last checkpoints stay, beside the best one.",
);
const MEMORY: Setting = Setting::bytes(
    "memory",
    "Most memory the run may plan for: fewer lanes run at once where they need more, and a run that cannot fit is refused before it begins.",
);
const METRICS_EVERY: Setting = Setting::int(
    "metrics_every",
    (1, u32::MAX as u64),
    10,
    "Iterations between lines of the metrics.",
);

#[cfg(test)]
mod tests {
    use super::{find, optim, DEFAULT_OPTIMIZER, TRAINERS};
    use crate::lang::settings::{Setting, SettingKind, SettingValue, Settings};

    fn check(table: &[Setting]) {
        for (k, row) in table.iter().enumerate() {
            assert!(table[..k].iter().all(|other| other.name != row.name));
            assert!(row.doc.ends_with('.'), "{}", row.name);
            let fits = match (row.kind, row.default.clone()) {
                (SettingKind::Int { min, max }, SettingValue::Int(x)) => (min..=max).contains(&x),
                (SettingKind::Real { min, max }, SettingValue::Real(x)) => (min..=max).contains(&x),
                (SettingKind::Bool, SettingValue::Bool(_))
                | (SettingKind::Bytes, SettingValue::Bytes(_)) => true,
                (SettingKind::Choice(words), SettingValue::Word(word)) => words.contains(&word),
                _ => false,
            };
            assert!(fits, "{}", row.name);
        }
    }

    #[test]
    fn tables_are_sound() {
        for trainer in TRAINERS {
            assert!(find(trainer.name).is_some_and(|found| std::ptr::eq(found, trainer)));
            check(trainer.settings);
        }
        for row in optim::OPTIMIZERS {
            check(row.info.settings);
            let settings = Settings::defaults(row.info.settings);
            assert!((row.info.check)(&settings).is_ok());
            let built = (row.build)(&settings, &[3]).unwrap();
            assert_eq!(built.name(), row.info.name);
        }
        assert!(optim::find(DEFAULT_OPTIMIZER).is_some());
        assert!(find("a2d").is_none());
    }

    #[test]
    fn every_loss_word_is_a_loss() {
        let table = find("supervised").unwrap().settings;
        let loss = table.iter().find(|row| row.name == "loss").unwrap();
        let SettingKind::Choice(words) = loss.kind else {
            panic!("{:?}", loss.kind)
        };
        for word in words {
            assert!(super::supervised::SupervisedLoss::parse(word).is_some());
        }
        assert!(super::supervised::SupervisedLoss::parse("squares").is_none());
    }
}
