//! Losses as formulas, as `bpmc explain train NAME` and `bpmc grad` print them. A test reads the printed terms and
//! compares what they give with the loss and its gradients.

/// The loss of a trainer: the sum of its parts.
#[derive(Clone, Copy, Debug)]
pub struct Formula {
    /// The word of the setting `loss` that chooses it; empty where there is no choice.
    pub choice: &'static str,
    /// The summands.
    pub parts: &'static [Part],
    /// Names in the terms that are no outputs, and what they are.
    pub names: &'static [(&'static str, &'static str)],
}

/// One part of a loss.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The reduction over the steps of all lanes.
    pub over: Over,
    /// The term of a step and lane, as an expression of the language; each line is printed as one.
    pub term: &'static str,
}

/// The reduction over the steps of all lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// `Σ_b Σ_t term / (lanes · steps)`
    LanesAndSteps,
    /// `Σ_b Σ_t weight term`
    Sum,
    /// `Σ_b (Σ_t weight term / Σ_t weight) / lanes`
    Lanes,
    /// `Σ_b Σ_t weight term / Σ_b Σ_t weight`
    Words,
    /// As [`Over::LanesAndSteps`], without the first step.
    LaterSteps,
}

impl Over {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Over::LanesAndSteps => "the mean over lanes and steps of",
            Over::Sum => "the sum over lanes and steps, by weight, of",
            Over::Lanes => "the mean over lanes of the mean over steps, by weight, of",
            Over::Words => "the mean over all words of all lanes, by weight, of",
            Over::LaterSteps => "the mean over lanes and all steps but the first of",
        }
    }
}

impl Formula {
    /// In one line.
    pub fn in_a_line(&self) -> String {
        let parts = self.parts.iter();
        let parts: Vec<String> = parts
            .map(|part| {
                let term: Vec<&str> = part.term.split_whitespace().collect();
                format!("{} {}", part.over.words(), term.join(" "))
            })
            .collect();
        let names = self.names.iter();
        let names: String = names
            .map(|(name, meaning)| format!("; {name} is {meaning}"))
            .collect();
        parts.join(", plus ") + &names
    }

    /// As a paragraph of a page.
    pub fn page(&self) -> String {
        let mut text = match self.choice {
            "" => "The loss is ".to_owned(),
            choice => format!("`loss = {choice}` is "),
        };
        for (k, part) in self.parts.iter().enumerate() {
            let plus = if k == 0 { "" } else { "plus " };
            let lines: Vec<&str> = part.term.lines().map(str::trim).collect();
            let term = lines.join("\n    ");
            text.push_str(&format!("{plus}{}\n\n  {term}\n\n", part.over.words()));
        }
        for (name, meaning) in self.names {
            text.push_str(&format!("  {name} is {meaning}\n"));
        }
        if !self.names.is_empty() {
            text.push('\n');
        }
        text
    }
}
