//! The command `bpmc cite`.

use super::screen::Screen;
use super::{Failure, Outcome};
use crate::driver::Compilation;
use crate::lab::report::gather::equations::Equations;
use crate::lab::report::gather::latex;
use crate::lab::run::{self, Manifest};
use crate::lang::sema::Model;
use clap::Args;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  bpmc cite runs/agent-0
  bpmc cite runs/agent-0 > methods.tex

Read the paragraph before you print it: it says what was run, not why.";

/// Print a paragraph for the methods section of a paper, with equations, and the sources as BibTeX.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The directory of the run
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
}

/// A source: a word that names it in a rule or a cell, and its entry.
const SOURCES: [(&str, &str); 7] = [
    (
        "Miconi et al. 2019",
        "@inproceedings{miconi2019backpropamine,\n  title = {Backpropamine: training self-modifying neural networks with differentiable neuromodulated plasticity},\n  author = {Miconi, Thomas and Rawal, Aditya and Clune, Jeff and Stanley, Kenneth O.},\n  booktitle = {International Conference on Learning Representations},\n  year = {2019}\n}",
    ),
    (
        "Miconi et al. 2018",
        "@inproceedings{miconi2018differentiable,\n  title = {Differentiable plasticity: training plastic neural networks with backpropagation},\n  author = {Miconi, Thomas and Stanley, Kenneth O. and Clune, Jeff},\n  booktitle = {International Conference on Machine Learning},\n  year = {2018}\n}",
    ),
    (
        "Oja",
        "@article{oja1982simplified,\n  title = {A simplified neuron model as a principal component analyzer},\n  author = {Oja, Erkki},\n  journal = {Journal of Mathematical Biology},\n  volume = {15},\n  pages = {267--273},\n  year = {1982}\n}",
    ),
    (
        "Hochreiter and Schmidhuber 1997",
        "@article{hochreiter1997long,\n  title = {Long short-term memory},\n  author = {Hochreiter, Sepp and Schmidhuber, J{\\\"u}rgen},\n  journal = {Neural Computation},\n  volume = {9},\n  number = {8},\n  pages = {1735--1780},\n  year = {1997}\n}",
    ),
    (
        "Gers et al. 2000",
        "@article{gers2000learning,\n  title = {Learning to forget: continual prediction with {LSTM}},\n  author = {Gers, Felix A. and Schmidhuber, J{\\\"u}rgen and Cummins, Fred},\n  journal = {Neural Computation},\n  volume = {12},\n  number = {10},\n  pages = {2451--2471},\n  year = {2000}\n}",
    ),
    (
        "Cho et al. 2014",
        "@inproceedings{cho2014learning,\n  title = {Learning phrase representations using {RNN} encoder--decoder for statistical machine translation},\n  author = {Cho, Kyunghyun and van Merri{\\\"e}nboer, Bart and Gulcehre, Caglar and Bahdanau, Dzmitry and Bougares, Fethi and Schwenk, Holger and Bengio, Yoshua},\n  booktitle = {Conference on Empirical Methods in Natural Language Processing},\n  year = {2014}\n}",
    ),
    (
        "adam",
        "@inproceedings{kingma2015adam,\n  title = {Adam: a method for stochastic optimization},\n  author = {Kingma, Diederik P. and Ba, Jimmy},\n  booktitle = {International Conference on Learning Representations},\n  year = {2015}\n}",
    ),
];

/// Prints the paragraph.
///
/// # Errors
/// A directory without a run, and a spec with errors.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let opened = run::open_apart(&arguments.run).map_err(anyhow::Error::new)?;
    let program = opened
        .program()
        .map_err(|error| Failure::Run(anyhow::Error::new(error)))?;
    let model = &program.model;
    let equations = Equations::of(model);
    let mut text = methods(&opened.manifest, model, &equations);
    text.push_str(&latex::equations(&equations));
    text.push('\n');
    text.push_str(&sources(&opened.compilation, model));
    screen.print(&text)
}

fn methods(manifest: &Manifest, model: &Model, equations: &Equations) -> String {
    let mut text = format!(
        "The network {} has {} trained parameters",
        escaped(&model.name),
        equations.trained()
    );
    if !equations.bundles.is_empty() {
        let bundles = equations.bundles.join("; ").replace('×', "$\\times$");
        text.push_str(&format!(" and plastic connections: {}", escaped(&bundles)));
    }
    text.push_str(". Its step is given below.\n");
    if let Some(task) = &model.task {
        let settings = listed(task.settings.iter());
        text.push_str(&format!(
            "The task is {} ({settings}).\n",
            escaped(task.info.name)
        ));
    }
    if let Some(train) = &model.train {
        let settings = listed(train.settings.iter().filter(|(name, _)| *name != "seed"));
        let optimizer = listed(train.optimizer_settings.iter());
        text.push_str(&format!(
            "It was trained for {} iterations with {} ({settings}) and the optimizer {} ({optimizer}), with seed {}.\n",
            manifest.iterations,
            escaped(train.trainer.name),
            escaped(train.optimizer.name),
            manifest.seed,
        ));
    }
    let device = format!("{} backend on {}", manifest.backend, manifest.device);
    text.push_str(&format!(
        "Training ran in bpmc {} ({}), with gradients by backpropagation through whole episodes.\n\n",
        manifest.version,
        escaped(&device)
    ));
    text
}

fn listed<'a>(
    settings: impl Iterator<Item = (&'static str, &'a crate::lang::settings::SettingValue)>,
) -> String {
    let all = settings.map(|(name, value)| escaped(&format!("{name} {value}")));
    all.collect::<Vec<_>>().join(", ")
}

fn escaped(text: &str) -> String {
    text.replace('_', "\\_")
        .replace('%', "\\%")
        .replace('&', "\\&")
}

/// The sources that rules and cells of the network name, and that of the optimizer.
fn sources(compilation: &Compilation, model: &Model) -> String {
    let library = compilation.files.iter().skip(compilation.own_files);
    let texts = library.map(|file| compilation.sources.file(file.source).text.as_str());
    let said: String = texts.collect();
    // The library says "paper" of the one that it is named after.
    let paper = said.contains("paper");
    let optimizer = model
        .train
        .as_ref()
        .map_or("", |train| train.optimizer.name);
    let named = SOURCES.iter().filter(|(word, _)| {
        said.contains(word)
            || (paper && *word == "Miconi et al. 2019")
            || (!model.bundles.is_empty() && *word == "Miconi et al. 2018")
            || optimizer.starts_with(word)
    });
    named.map(|(_, entry)| format!("{entry}\n")).collect()
}
