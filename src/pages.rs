//! The pages and pictures of the guide, so that `bpmc docs` needs no network. The pages of the cookbook are made from
//! the gallery.

macro_rules! pages {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../docs/", $path))),)*]
    };
}

/// Path within `docs` and text of each page and picture.
pub static PAGES: &[(&str, &str)] = pages![
    "SUMMARY.md",
    "cuda.md",
    "data.md",
    "editors.md",
    "editors/neovim.svg",
    "environments.md",
    "how_it_works.md",
    "how_it_works/adjoint.svg",
    "how_it_works/adjoint_optimized.svg",
    "how_it_works/step.svg",
    "index.md",
    "language.md",
    "language_models.md",
    "passes.md",
    "performance.md",
    "pipeline.svg",
    "python.md",
    "pytorch.md",
    "results/bandit.md",
    "results/cartpole.md",
    "results/cue_reward.md",
    "results/cue_reward/curve-reward.svg",
    "results/cue_reward/retroactive-aligned-dopamine.svg",
    "results/cue_reward/simple-aligned-dopamine.svg",
    "results/digits.md",
    "results/digits/accuracy.svg",
    "results/infer_rule.md",
    "results/infer_rule/rule.svg",
    "results/pattern_completion.md",
    "results/pattern_completion/wrong_bits.svg",
    "results/pendulum.md",
    "results/ptb_small.md",
    "results/ptb_small/validation.svg",
    "runs.md",
    "sweep.svg",
    "sweeps.md",
    "troubleshooting.md",
    "tutorial.md",
];
