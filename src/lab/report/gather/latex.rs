//! The equations of a network as LaTeX.

use super::equations::Equations;
use super::formula::{Formula, Piece};

/// Letters that LaTeX has a command for.
const LETTERS: [&str; 22] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu",
    "nu", "xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega", "Delta",
];

/// Functions that LaTeX has a command for.
const FUNCTIONS: [&str; 8] = ["tanh", "exp", "log", "sin", "cos", "min", "max", "sqrt"];

/// Signs of formulas.
const SIGNS: [(char, &str); 19] = [
    ('·', "\\cdot "),
    ('∘', "\\circ "),
    ('←', "\\leftarrow "),
    ('∼', "\\sim "),
    ('−', "-"),
    ('≤', "\\le "),
    ('≥', "\\ge "),
    ('≠', "\\ne "),
    ('Σ', "\\sum "),
    ('∑', "\\sum "),
    ('∧', "\\land "),
    ('∨', "\\lor "),
    ('¬', "\\lnot "),
    ('√', "\\sqrt "),
    ('×', "\\times "),
    ('²', "^2"),
    ('ᵀ', "^\\top "),
    ('Δ', "\\Delta "),
    ('…', "\\dots "),
];

/// An environment `align` with all equations of a step.
pub fn equations(all: &Equations) -> String {
    let lines = all.equations.iter().map(|equation| {
        let mut sign = String::new();
        words(&equation.sign.to_string(), &mut sign);
        let sign = sign.trim();
        let (left, right) = (latex(&equation.left), latex(&equation.right));
        format!("  {left} &{sign} {right}")
    });
    let lines = lines.collect::<Vec<_>>().join(" \\\\\n");
    format!("\\begin{{align}}\n{lines}\n\\end{{align}}\n")
}

/// A formula in mathematical mode.
pub fn latex(formula: &Formula) -> String {
    let mut text = String::new();
    for piece in &formula.0 {
        match piece {
            Piece::Text(part) => words(part, &mut text),
            Piece::Sub(part) => {
                let mut inner = String::new();
                // Indices are letters in a row, not a word.
                if part.chars().all(|c| matches!(c, 'i' | 'j' | ',' | '0')) {
                    inner.push_str(part);
                } else {
                    words(part, &mut inner);
                }
                text.push_str(&format!("_{{{}}}", inner.trim()));
            }
        }
    }
    let text = text.replace(" _{", "_{").replace("  ", " ");
    let text = FUNCTIONS.iter().fold(text, |text, function| {
        text.replace(&format!("\\{function} ("), &format!("\\{function}("))
    });
    text.trim().to_owned()
}

fn words(mut part: &str, text: &mut String) {
    while let Some(first) = part.chars().next() {
        let length = if first.is_alphabetic() && !SIGNS.iter().any(|(sign, _)| *sign == first) {
            let end = part.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'));
            let end = end.unwrap_or(part.len());
            let end = part[..end].trim_end_matches('.').len();
            name(&part[..end], text);
            end
        } else if first.is_ascii_digit() {
            let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.'));
            let end = end.unwrap_or(part.len());
            number(&part[..end], text);
            end
        } else {
            match SIGNS.iter().find(|(sign, _)| *sign == first) {
                Some((_, command)) => text.push_str(command),
                None if matches!(first, '{' | '}' | '%' | '&' | '#' | '_' | '$') => {
                    text.push('\\');
                    text.push(first);
                }
                None => text.push(first),
            }
            first.len_utf8()
        };
        part = &part[length..];
    }
}

/// A name: a letter as it is, a Greek one or a function by its command, other words upright.
fn name(word: &str, text: &mut String) {
    // `rec.alpha` is the alpha of rec.
    let (owner, own) = match word.rsplit_once('.') {
        Some((owner, own)) => (Some(owner), own),
        None => (None, word),
    };
    let function = FUNCTIONS.contains(&own) && owner.is_none() && own != "sqrt";
    if function || LETTERS.contains(&own) {
        text.push_str(&format!("\\{own}"));
    } else if own.chars().count() == 1 {
        text.push_str(own);
    } else {
        text.push_str(&format!("\\mathrm{{{}}}", own.replace('_', "\\_")));
    }
    if let Some(owner) = owner {
        text.push_str(&format!("^{{\\mathrm{{{}}}}}", owner.replace('_', "\\_")));
    } else if text.ends_with(|c: char| c.is_alphabetic()) && own.chars().count() > 1 {
        text.push(' ');
    }
}

/// A number; `1e-4` as a power of ten.
fn number(word: &str, text: &mut String) {
    match word.split_once('e') {
        Some((digits, power)) if power.parse::<i32>().is_ok() => {
            text.push_str(&format!("{digits} \\cdot 10^{{{power}}}"));
        }
        _ => text.push_str(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[Piece]) -> String {
        latex(&Formula(pieces.to_vec()))
    }

    #[test]
    fn formulas_are_what_a_paper_has() {
        let text = |text: &str| Piece::Text(text.to_owned());
        let sub = |text: &str| Piece::Sub(text.to_owned());
        assert_eq!(
            of(&[text("clip(rec.hebb"), sub("ij"), text(" + dopamine · e"), sub("ij"), text(", −1, 1)")]),
            "\\mathrm{clip}(\\mathrm{hebb}^{\\mathrm{rec}}_{ij} + \\mathrm{dopamine} \\cdot e_{ij}, -1, 1)"
        );
        assert_eq!(of(&[text("tanh(alpha ∘ h)")]), "\\tanh(\\alpha \\circ h)");
        assert_eq!(of(&[text("y_linear + 0.5")]), "\\mathrm{y\\_linear} + 0.5");
    }
}
