//! The cookbook: a page for each published system of the gallery, made from its spec.

use crate::lang::library::SYSTEMS;

/// Path within `docs` and text of each page of the cookbook, by path.
pub fn pages() -> Vec<(String, String)> {
    let page = |(name, text): &(&str, &str)| (format!("cookbook/{name}.md"), page(name, text));
    let mut all: Vec<(String, String)> = SYSTEMS.iter().map(page).collect();
    all.push(("cookbook.md".to_owned(), index()));
    all
}

/// The comment at the top of a spec, on one line, and the rest.
fn parts(text: &str) -> (String, &str) {
    let head: Vec<&str> = text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .collect();
    let length: usize = head.iter().map(|line| line.len() + 1).sum();
    let words = head
        .iter()
        .map(|line| line.trim_start_matches("//!").trim());
    (words.collect::<Vec<_>>().join(" "), text[length..].trim())
}

/// The name of a system and its source: what stands before the brackets, and what stands in them.
fn named(about: &str) -> (&str, &str) {
    let (name, rest) = about.split_once(" (").unwrap_or((about, ""));
    let end = ["): ", "), "].iter().filter_map(|end| rest.find(end)).min();
    (name, &rest[..end.unwrap_or(rest.len())])
}

/// Markdown has a meaning for some characters of equations.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '_' | '<' | '|' | '[' | ']' | '\\' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn page(name: &str, text: &str) -> String {
    let (about, spec) = parts(text);
    let (title, _) = named(&about);
    format!(
        "# {title}\n\n{}\n\n```bpm\n{spec}\n```\n\n\
         Write the spec to a file, look at its equations, and evaluate loss and gradients for values of your own:\n\n\
         ```sh\n\
         bpmc explain gallery {name} > {name}.bpm\n\
         bpmc compile {name}.bpm --emit latex\n\
         bpmc grad {name}.bpm --template -o values.json\n\
         bpmc grad {name}.bpm --values values.json\n\
         ```\n\n\
         The spec is small, so that its numbers can be checked: states and outputs agree with an independent NumPy program of the \
         published equations to 1e-11 in 64 bits. To train the system, copy its bundle into a network with a task \
         ([tutorial](../tutorial.md)) or with [your own data](../data.md).\n",
        escaped(&about),
    )
}

fn index() -> String {
    let mut text = "# Cookbook\n\n\
         Each page has one published system as a spec of some twenty lines. All of them are in the program: \
         `bpmc explain gallery` lists them, and `bpmc explain gallery NAME` prints one.\n\n\
         | system | source |\n|---|---|\n"
        .to_owned();
    for (name, spec) in SYSTEMS {
        let (about, _) = parts(spec);
        let (title, source) = named(&about);
        text.push_str(&format!(
            "| [{title}](cookbook/{name}.md) | {} |\n",
            escaped(source)
        ));
    }
    text.push_str(
        "\nExperiments that are trained to the end, with their results: \
         [cue-reward association](results/cue_reward.md), [language models](results/ptb_small.md), \
         [digits](results/digits.md), [pattern completion](results/pattern_completion.md), \
         [inferring a rule](results/infer_rule.md), [CartPole](results/cartpole.md), [Pendulum](results/pendulum.md), \
         [a bandit](results/bandit.md).\n",
    );
    text
}
