//! The command `bpmc explain`.

use super::screen::Screen;
use super::{Failure, Outcome};
use crate::lang::diag::{self, Code, Diagnostics};
use crate::lang::formula::Formula;
use crate::lang::library as rules;
use crate::lang::sema::functions::{FunctionInfo, FUNCTIONS};
use crate::lang::settings::{Setting, SettingKind};
use crate::learn::tasks::TASKS;
use crate::learn::{self as train, optim};
use crate::step::passes::{Pass, Run, PIPELINE};
use clap::Args;

const AFTER_HELP: &str = "\
Examples:
  bpmc explain                    everything that can be explained
  bpmc explain E0205              an error: what it means, an example, what to use instead
  bpmc explain task maze          a task and its settings
  bpmc explain rule               the rules of the library; `rule NAME` shows one
  bpmc explain cell               the cells of the library; `cell NAME` shows one
  bpmc explain gallery            published systems as specs; `gallery NAME` shows one
  bpmc explain passes             the optimization passes; `pass NAME` shows one";

/// Explain an error code, or a rule, cell, published system, task, trainer, optimizer, function or pass.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// A code, or a kind and a name: rule NAME, cell NAME, gallery NAME, task NAME, train NAME, optimizer NAME, function NAME,
    /// pass NAME
    #[arg(num_args = 0..=2, value_name = "TOPIC")]
    pub topic: Vec<String>,
}

/// A named topic that can be explained, other than an error code.
pub struct Topic {
    /// The kind before the name: `task`, `rule`, `cell`, `gallery`, `train`, `optimizer`, `function`, `pass`.
    pub kind: &'static str,
    /// The name.
    pub name: String,
    /// A summary in one sentence.
    pub summary: String,
    /// The whole page, with a newline at its end.
    pub page: String,
}

impl Topic {
    /// A topic with a settings table, such as a task or a trainer. `about` is its page in Markdown with its
    /// own title, or empty if the summary is enough.
    pub fn with_settings(
        kind: &'static str,
        name: &str,
        summary: &str,
        about: &str,
        settings: &[Setting],
    ) -> Topic {
        let about = if about.is_empty() {
            format!("# {kind} {name}\n\n{summary}\n")
        } else {
            format!("{}\n", about.trim_end())
        };
        Topic {
            kind,
            name: name.to_owned(),
            summary: summary.to_owned(),
            page: format!("{about}\n## Settings\n\n{}", table(settings)),
        }
    }
}

/// All topics, grouped by kind.
fn topics() -> Vec<Topic> {
    let mut all: Vec<Topic> = rules::names()
        .filter_map(|name| library("rule", name, rules::text(name)?))
        .collect();
    all.extend(
        rules::cell_names().filter_map(|name| library("cell", name, rules::cell_text(name)?)),
    );
    let systems = rules::SYSTEMS.iter();
    all.extend(systems.filter_map(|(name, text)| library("gallery", name, text)));
    for task in TASKS {
        let task = &task.info;
        let topic = Topic::with_settings("task", task.name, task.summary, task.page, task.settings);
        all.push(topic);
    }
    for trainer in train::TRAINERS {
        let (name, summary) = (trainer.name, trainer.summary);
        let losses: String = trainer.losses.iter().map(Formula::page).collect();
        let about = format!(
            "# train {name}\n\n{summary}\n\n## Loss\n\n{losses}{}\n",
            trainer.about_loss
        );
        let mut topic = Topic::with_settings("train", name, summary, &about, trainer.settings);
        topic.page.push_str("\n## Blocks\n\n");
        for block in trainer.blocks {
            let line = format!("  {} {{ }}\n      {}\n", block.name(), block.summary());
            topic.page.push_str(&line);
        }
        all.push(topic);
    }
    for optimizer in optim::OPTIMIZERS {
        let optimizer = &optimizer.info;
        let (name, summary) = (optimizer.name, optimizer.summary);
        all.push(Topic::with_settings(
            "optimizer",
            name,
            summary,
            "",
            optimizer.settings,
        ));
    }
    all.extend(FUNCTIONS.iter().map(function));
    all.extend(PIPELINE.iter().map(pass));
    all
}

/// A library rule or cell, or a spec of the gallery: its page is its text.
fn library(kind: &'static str, name: &str, text: &str) -> Option<Topic> {
    let comment: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .collect();
    let comment = comment.join(" ");
    // Of a published system: what it is called and where it comes from.
    let source = ["): ", "), "]
        .iter()
        .filter_map(|end| comment.find(end))
        .min();
    let summary = match source.filter(|_| kind == "gallery") {
        Some(end) => &comment[..=end],
        None => first_sentence(&comment),
    };
    Some(Topic {
        kind,
        name: name.to_owned(),
        summary: summary.trim_end_matches('.').to_owned(),
        page: text.to_owned(),
    })
}

/// The text up to the first full stop that ends a sentence: none stands before a year, as in "et al. 2014".
fn first_sentence(text: &str) -> &str {
    let mut stops = text.match_indices(". ");
    let end = stops.find(|(at, _)| {
        let next = text[at + 2..].chars().next();
        !next.is_some_and(|c| c.is_ascii_digit())
    });
    end.map_or(text, |(at, _)| &text[..at])
}

fn pass(pass: &Pass) -> Topic {
    let (name, summary, equation) = (pass.name, pass.summary, pass.equation);
    let of = match pass.run {
        Run::Step(_) => "Rewrites the step before it is differentiated, where it is trained",
        Run::Graph(_) => "Rewrites the step and its adjoint",
        Run::Kernels(_) => "Rewrites the program of the kernels",
    };
    Topic {
        kind: "pass",
        name: name.to_owned(),
        summary: summary.to_owned(),
        page: format!(
            "# pass {name}\n\n{summary}\n\n  {equation}\n\n{of}; on from `--opt {}`, off with `--no-pass \
             {name}`.\n",
            pass.level
        ),
    }
}

fn function(info: &FunctionInfo) -> Topic {
    let usage = info.usage.replacen("f(", &format!("{}(", info.name), 1);
    Topic {
        kind: "function",
        name: info.name.to_owned(),
        summary: info.doc.to_owned(),
        page: format!("# function {}\n\n  {usage}\n\n{}\n", info.name, info.doc),
    }
}

/// Prints the page asked for, or the list of all.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let topic: Vec<&str> = arguments.topic.iter().map(String::as_str).collect();
    screen.print(&about(&topic)?)
}

/// The page of a topic, or the list of all.
///
/// # Errors
/// [`Failure::Usage`] where there is no such page.
pub fn about(topic: &[&str]) -> Result<String, Failure> {
    let mut topic = topic.to_vec();
    if let Some(kind @ &mut "trainer") = topic.first_mut() {
        // `trainer` is accepted, too; in a spec the word is `train`.
        *kind = "train";
    }
    if let Some(kind @ &mut "passes") = topic.first_mut() {
        *kind = "pass";
    }
    page(&topic, &topics())
}

fn page(topic: &[&str], topics: &[Topic]) -> Result<String, Failure> {
    match *topic {
        [] => Ok(list(topics)),
        [word] => {
            if let Some(code) = Code::parse(word) {
                return Ok(diag::explain(code));
            }
            let named: Vec<&Topic> = topics.iter().filter(|topic| topic.name == word).collect();
            match named[..] {
                [topic] => return Ok(topic.page.clone()),
                [] => {}
                [..] => {
                    let ways: Vec<String> = named
                        .iter()
                        .map(|topic| format!("`{} {}`", topic.kind, topic.name))
                        .collect();
                    let message = format!("`{word}` may be {}", ways.join(" or "));
                    return Err(Failure::Usage(message));
                }
            }
            if topics.iter().any(|topic| topic.kind == word) {
                let of_kind = topics.iter().filter(|topic| topic.kind == word);
                return Ok(of_kind.map(row).collect());
            }
            let known = Code::ALL
                .iter()
                .map(|code| code.text())
                .chain(topics.iter().map(|topic| topic.name.as_str()));
            Err(unknown(word, known))
        }
        [kind, name, ..] => {
            let of_kind = || topics.iter().filter(|topic| topic.kind == kind);
            if let Some(topic) = of_kind().find(|topic| topic.name == name) {
                return Ok(topic.page.clone());
            }
            Err(unknown(
                &format!("{kind} {name}"),
                of_kind().map(|topic| topic.name.as_str()),
            ))
        }
    }
}

fn unknown<'a>(what: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let last = what.rsplit(' ').next().unwrap_or(what);
    let guess = Diagnostics::nearest(last, known)
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default();
    Failure::Usage(format!(
        "there is no page for `{what}`{guess} (`bpmc explain` lists everything)"
    ))
}

fn row(topic: &Topic) -> String {
    let name = format!("{} {}", topic.kind, topic.name);
    format!("{name:<28}  {}\n", topic.summary)
}

fn list(topics: &[Topic]) -> String {
    let mut text = "Codes: bpmc explain CODE\n\n".to_owned();
    text.push_str(&diag::list_codes());
    let mut kind = "";
    for topic in topics {
        if topic.kind != kind {
            kind = topic.kind;
            text.push_str(&format!("\nbpmc explain {kind} NAME\n\n"));
        }
        text.push_str(&row(topic));
    }
    text
}

/// The settings, one per paragraph: name, accepted values, default, effect.
fn table(settings: &[Setting]) -> String {
    if settings.is_empty() {
        return "None.\n".to_owned();
    }
    settings
        .iter()
        .map(|setting| {
            format!(
                "  {} = {}    ({})\n      {}\n",
                setting.name,
                setting.default,
                range(setting.kind),
                setting.doc
            )
        })
        .collect()
}

/// The values that a setting takes, in words.
pub(super) fn range(kind: SettingKind) -> String {
    match kind {
        SettingKind::Int { min, max } => format!("whole number, {min} to {max}"),
        SettingKind::Real { min, max } => format!("number, {min} to {max}"),
        SettingKind::Bool => "true or false".to_owned(),
        SettingKind::Choice(words) => words.join(", "),
        SettingKind::Bytes => "size such as \"200MB\"".to_owned(),
        SettingKind::File => "path such as \"train.npz\"".to_owned(),
        SettingKind::Folder => "path of a folder".to_owned(),
        SettingKind::Text => "text in quotes".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::settings::SettingValue;

    fn sample() -> Vec<Topic> {
        let settings = [
            Setting {
                name: "steps",
                kind: SettingKind::Int { min: 1, max: 9 },
                default: SettingValue::Int(4),
                doc: "Steps of an episode.",
            },
            Setting {
                name: "cost",
                kind: SettingKind::Choice(&["low", "high"]),
                default: SettingValue::Word("low"),
                doc: "What a move costs.",
            },
        ];
        vec![
            Topic::with_settings("task", "walk", "Walk about.", "", &settings),
            Topic::with_settings(
                "task",
                "idle",
                "Do nothing.",
                "# idle: a rest\n\nNothing happens.\n",
                &[],
            ),
            Topic::with_settings("rule", "idle", "Change nothing.", "", &[]),
        ]
    }

    fn wrong(topic: &[&str]) -> String {
        match page(topic, &sample()) {
            Err(Failure::Usage(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_task_with_its_settings() {
        let text = page(&["task", "walk"], &sample()).unwrap();
        assert_eq!(page(&["walk"], &sample()).unwrap(), text);
        let idle = page(&["task", "idle"], &sample()).unwrap();
        assert_eq!(
            idle,
            "# idle: a rest\n\nNothing happens.\n\n## Settings\n\nNone.\n"
        );
        insta::assert_snapshot!(text, @r"
        # task walk

        Walk about.

        ## Settings

          steps = 4    (whole number, 1 to 9)
              Steps of an episode.
          cost = low    (low, high)
              What a move costs.
        ");
    }

    #[test]
    fn a_sentence_does_not_end_before_a_year() {
        let text = "A unit (Cho et al. 2014), with gates. Another sentence.";
        assert_eq!(first_sentence(text), "A unit (Cho et al. 2014), with gates");
        assert_eq!(first_sentence("One alone."), "One alone.");
        let cells: Vec<Topic> = topics().into_iter().filter(|t| t.kind == "cell").collect();
        let gru = cells.iter().find(|t| t.name == "gru").unwrap();
        assert_eq!(
            gru.summary,
            "Gated recurrent unit (Cho et al. 2014), with the reset gate after the recurrent product"
        );
    }

    #[test]
    fn codes_in_either_case_and_the_list() {
        let text = page(&["e0205"], &sample()).unwrap();
        assert!(text.starts_with("# error E0205"));
        let list = page(&[], &sample()).unwrap();
        for &code in Code::ALL {
            assert!(list.contains(code.text()));
        }
        assert!(
            list.contains("rule idle                     Change nothing.\n"),
            "{list}"
        );
        let rules = page(&["rule"], &sample()).unwrap();
        assert_eq!(rules, "rule idle                     Change nothing.\n");
    }

    #[test]
    fn what_is_not_there_gets_a_suggestion() {
        assert!(wrong(&["task", "wlak"]).contains("did you mean `walk`?"));
        assert!(wrong(&["E0204x"]).contains("did you mean `E0204`?"));
        assert!(wrong(&["idle"]).contains("`task idle` or `rule idle`"));
        assert!(wrong(&["zzzzzz"]).contains("lists everything"));
    }
}
