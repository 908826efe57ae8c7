//! The sections on the behaviour of a trained network: its modulators, traces and ablations.

use super::Html;
use crate::lab::report::figures::number::{decimals, short};
use crate::lab::report::figures::FigureError;
use crate::lab::report::gather::behaviour::Behaviour;
use crate::lab::report::illustrate::BehaviourFigures;

/// Writes the rewards of fresh episodes.
pub fn evaluation(
    behaviour: &Behaviour,
    figures: &BehaviourFigures,
    html: &mut Html,
) -> Result<(), FigureError> {
    let mut facts = vec![(
        "episodes",
        format!("{}, never seen in training", behaviour.episodes),
    )];
    if let (Some(measure), Some(s)) = (&behaviour.measure, &behaviour.statistics) {
        let measure = measure.replace('_', " ");
        facts.push((
            "measure",
            format!(
                "{measure}: mean {}, standard deviation {}",
                short(s.mean),
                short(s.standard_deviation)
            ),
        ));
        facts.push((
            "spread",
            format!(
                "median {}, quartiles {} and {}, from {} to {}",
                short(s.median),
                short(s.lower_quartile),
                short(s.upper_quartile),
                short(s.minimum),
                short(s.maximum)
            ),
        ));
    }
    facts.push(("loss of a batch", short(behaviour.loss)));
    html.facts(&facts);
    if let Some(figure) = &figures.within {
        html.figures(std::iter::once(figure))?;
    }
    Ok(())
}

/// Writes the section on modulators.
pub fn modulators(
    behaviour: &Behaviour,
    figures: &BehaviourFigures,
    html: &mut Html,
) -> Result<(), FigureError> {
    if behaviour.modulators.is_empty() {
        html.tag("p", "The network has no modulator.");
        return Ok(());
    }
    let happened = figures.aligned.len() == behaviour.modulators.len();
    if !behaviour.rewarded {
        html.note("The task gives no rewards to align a modulator with.");
    } else if !happened {
        html.note("These episodes had no reward to align a modulator with.");
    }
    html.figures(figures.aligned.iter().chain(&figures.timeline))
}

/// Writes the section on traces.
pub fn traces(
    behaviour: &Behaviour,
    figures: &BehaviourFigures,
    html: &mut Html,
) -> Result<(), FigureError> {
    if behaviour.traces.is_empty() {
        html.tag("p", "The network has no traces.");
        return Ok(());
    }
    let saturated: Vec<Vec<String>> = behaviour
        .traces
        .iter()
        .map(|trace| {
            let last = trace.sizes.last().copied().unwrap_or(0.0);
            let share = trace.distribution.saturated;
            vec![
                trace.path.clone(),
                format!("{:?}", [trace.shape.0, trace.shape.1]),
                short(last),
                share.map_or("no clip".to_owned(), |share| {
                    format!("{}\u{a0}%", decimals(100.0 * share, 2))
                }),
            ]
        })
        .collect();
    let header = [
        "trace",
        "[pre, post]",
        "mean absolute value at the end",
        "at a bound of the clip",
    ];
    html.table(&header, &saturated);
    html.figures(figures.traces.iter())
}

/// Writes the section on ablations.
pub fn ablations(
    behaviour: &Behaviour,
    figures: &BehaviourFigures,
    html: &mut Html,
) -> Result<(), FigureError> {
    let Some(all) = &behaviour.ablations else {
        html.tag("p", "They were omitted (`--no-ablations`).");
        return Ok(());
    };
    if all.is_empty() {
        html.tag(
            "p",
            "The network has no modulator, trace or alpha to ablate.",
        );
        return Ok(());
    }
    let number = |value: f64| decimals(value, 4);
    let optional = |value: Option<f64>| value.map_or("–".to_owned(), |x| decimals(x, 3));
    let mut rows = Vec::new();
    if let Some(s) = &behaviour.statistics {
        rows.push(vec![
            "whole network".to_owned(),
            number(s.mean),
            number(s.median),
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
    for one in all {
        if let Some(s) = &one.statistics {
            rows.push(vec![
                one.ablation.to_string(),
                number(s.mean),
                number(s.median),
                number(one.effect.mean_difference),
                optional(one.effect.cohens_d),
                optional(one.effect.rank_biserial),
            ]);
        }
    }
    let header = [
        "ablation",
        "mean",
        "median",
        "difference",
        "Cohen's d",
        "rank-biserial",
    ];
    html.table(&header, &rows);
    html.note(
        "freeze: the modulator is fixed at its mean. shuffle: the modulator gets its values of the same episode in random \
         order. reset: all traces return to their initial values before that step. alpha=0: the plastic part of the \
         connections is off. All ablations meet the same episodes. The difference is that of the means; Cohen's d is the \
         difference in pooled standard deviations. The rank-biserial correlation goes from −1 (lower in every episode \
         that changed) to 1 (higher).",
    );
    html.figures(figures.ablations.iter())
}
