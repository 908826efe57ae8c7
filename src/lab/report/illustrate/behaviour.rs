//! The figures of a network's behaviour.

use crate::lab::report::figures::heat::{reduced, Heat};
use crate::lab::report::figures::histogram::Histogram;
use crate::lab::report::figures::intervals::{Intervals, Row};
use crate::lab::report::figures::lines::{thinned, Line, Lines};
use crate::lab::report::figures::number::decimals;
use crate::lab::report::figures::palette::{series, SERIES};
use crate::lab::report::figures::timeline::Timeline;
use crate::lab::report::figures::{Drawing, Figure};
use crate::lab::report::gather::alignment::Average;
use crate::lab::report::gather::behaviour::{Behaviour, Modulator, Trace};

/// The largest number of rows or columns of a heat map.
const MOST_ROWS: usize = 200;
/// The largest number of points of the reward over the steps.
const MOST_STEPS: usize = 40;

/// The figures of a network.
pub struct BehaviourFigures {
    /// The reward within an episode.
    pub within: Option<Figure>,
    /// Modulators and rewards over time.
    pub timeline: Option<Figure>,
    /// Modulators around rewards.
    pub aligned: Vec<Figure>,
    /// Heat maps, sizes and distributions of traces.
    pub traces: Vec<Figure>,
    /// The effects of ablations.
    pub ablations: Option<Figure>,
}

impl BehaviourFigures {
    /// The figures of one network; `prefix` precedes their names.
    pub fn of(prefix: &str, behaviour: &Behaviour) -> BehaviourFigures {
        let traces = &behaviour.traces;
        let mut figures: Vec<Figure> = Vec::new();
        figures.extend(sizes(prefix, traces));
        for trace in traces {
            figures.push(heat(prefix, trace));
            figures.push(histogram(prefix, trace));
        }
        let modulators = behaviour.modulators.iter();
        BehaviourFigures {
            within: within(prefix, behaviour),
            timeline: timeline(prefix, behaviour),
            aligned: modulators.filter_map(|one| aligned(prefix, one)).collect(),
            traces: figures,
            ablations: ablations(prefix, behaviour),
        }
    }

    /// All figures, in the order of the page.
    pub fn into_figures(self) -> Vec<Figure> {
        let first = self.within.into_iter().chain(self.timeline);
        let rest = self.aligned.into_iter().chain(self.traces);
        first.chain(rest).chain(self.ablations).collect()
    }
}

fn within(prefix: &str, behaviour: &Behaviour) -> Option<Figure> {
    let curves = &behaviour.curves;
    let (x, y, points) = if curves.trials.is_empty() {
        let steps: Vec<(f64, f64)> = curves
            .steps
            .iter()
            .enumerate()
            .map(|(step, reward)| (step as f64, *reward))
            .collect();
        (
            "step of the episode",
            "reward a step",
            thinned(&steps, MOST_STEPS),
        )
    } else {
        let trials = curves.trials.iter();
        let points = trials.map(|one| (one.trial as f64, one.reward)).collect();
        ("trial of the episode", "reward of a trial", points)
    };
    (!points.is_empty()).then(|| {
        let line = Line {
            name: y.to_owned(),
            color: series(0),
            points,
            band: Vec::new(),
        };
        let caption = format!("Mean over {} fresh episodes.", behaviour.episodes);
        let drawing = Drawing::Lines(Lines {
            x: x.to_owned(),
            y: y.to_owned(),
            lines: vec![line],
            marks: Vec::new(),
            event: None,
            from_zero: false,
        });
        let name = format!("{prefix}within-episode");
        Figure::new(&name, "Reward within an episode", &caption, drawing)
    })
}

fn timeline(prefix: &str, behaviour: &Behaviour) -> Option<Figure> {
    if behaviour.modulators.is_empty() || behaviour.timeline.is_empty() {
        return None;
    }
    let names = behaviour.modulators.iter().map(|one| match one.elements {
        1 => one.name.clone(),
        n => format!("{}, mean of {n}", one.name),
    });
    let drawing = Drawing::Timeline(Timeline {
        names: names.collect(),
        episodes: behaviour.timeline.clone(),
    });
    let caption = "The first episodes of the evaluation, drawn at random. A reward is perceived in the step after the \
                   one that earned it (as Fig. 3 of the paper).";
    let name = format!("{prefix}modulator-over-time");
    Some(Figure::new(
        &name,
        "Modulator and perceived reward over time",
        caption,
        drawing,
    ))
}

fn aligned(prefix: &str, modulator: &Modulator) -> Option<Figure> {
    let line = |name: &str, color: usize, average: &Average| {
        let points = average.points.iter();
        let band = points
            .clone()
            .map(|p| (p.offset as f64, p.lower_quartile, p.upper_quartile));
        (average.events > 0).then(|| Line {
            name: format!("{name} reward ({} events)", average.events),
            color: SERIES[color],
            points: points.map(|p| (p.offset as f64, p.mean)).collect(),
            band: band.collect(),
        })
    };
    let positive = line("positive", 0, &modulator.positive);
    let negative = line("negative", 1, &modulator.negative);
    let lines: Vec<Line> = positive.into_iter().chain(negative).collect();
    let what = match modulator.elements {
        1 => modulator.name.clone(),
        n => format!("{}, mean of {n} neurons", modulator.name),
    };
    let mut caption = "Mean (line) and inter-quartile range (band) over all rewards of the evaluation; 0 is the step \
                       in which the reward is perceived."
        .to_owned();
    for (average, kind) in [
        (&modulator.positive, "positive"),
        (&modulator.negative, "negative"),
    ] {
        if average.events == 0 {
            caption.push_str(&format!(" There was no {kind} reward."));
        }
    }
    (!lines.is_empty()).then(|| {
        let drawing = Drawing::Lines(Lines {
            x: "steps since the reward was perceived".to_owned(),
            y: what,
            lines,
            marks: Vec::new(),
            event: Some(0.0),
            from_zero: false,
        });
        let title = format!("{} around rewards", modulator.name);
        let name = format!("{prefix}aligned-{}", modulator.name);
        Figure::new(&name, &title, &caption, drawing)
    })
}

fn sizes(prefix: &str, traces: &[Trace]) -> Option<Figure> {
    let lines: Vec<Line> = traces
        .iter()
        .enumerate()
        .map(|(k, trace)| Line {
            name: trace.path.clone(),
            color: series(k),
            points: trace
                .sizes
                .iter()
                .enumerate()
                .map(|(step, size)| (step as f64, *size))
                .collect(),
            band: Vec::new(),
        })
        .collect();
    let episodes = traces.first().map_or(0, |trace| trace.episodes);
    let y = match traces {
        [only] => format!("mean |{}|", only.path),
        _ => "mean |trace|".to_owned(),
    };
    (!lines.is_empty()).then(|| {
        let drawing = Drawing::Lines(Lines {
            x: "step of the episode".to_owned(),
            y,
            lines,
            marks: Vec::new(),
            event: None,
            from_zero: false,
        });
        let caption = format!(
            "Mean absolute value over all connections of the bundle and {episodes} fresh episodes, after each step."
        );
        let name = format!("{prefix}trace-sizes");
        Figure::new(&name, "Size of the traces within an episode", &caption, drawing)
    })
}

fn heat(prefix: &str, trace: &Trace) -> Figure {
    let (pre, post) = trace.shape;
    let (values, shape) = reduced(&trace.end, pre, post, MOST_ROWS);
    let range = values.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    let mut caption = "At the end of the first episode; rows are presynaptic neurons.".to_owned();
    if shape != (pre, post) {
        caption.push_str(&format!(
            " Each spot is the mean of {} × {} connections.",
            pre.div_ceil(shape.0.max(1)),
            post.div_ceil(shape.1.max(1))
        ));
    }
    let drawing = Drawing::Heat(Heat {
        pre,
        post,
        shape,
        values,
        range: if range > 0.0 { range } else { 1.0 },
    });
    let title = format!("{} at the end of an episode", trace.path);
    Figure::new(
        &format!("{prefix}trace-{}", trace.path),
        &title,
        &caption,
        drawing,
    )
}

fn histogram(prefix: &str, trace: &Trace) -> Figure {
    let distribution = &trace.distribution;
    let mut caption = format!(
        "All connections at the end of {} fresh episodes.",
        trace.episodes
    );
    caption.push_str(&match distribution.saturated {
        Some(share) => format!(
            " {}\u{a0}% are at a bound of the clip.",
            decimals(100.0 * share, 2)
        ),
        None => " The update has no clip.".to_owned(),
    });
    let drawing = Drawing::Histogram(Histogram {
        x: trace.path.clone(),
        bounds: distribution.bounds,
        shares: distribution.shares.clone(),
    });
    let title = format!("Distribution of {}", trace.path);
    Figure::new(
        &format!("{prefix}spread-{}", trace.path),
        &title,
        &caption,
        drawing,
    )
}

fn ablations(prefix: &str, behaviour: &Behaviour) -> Option<Figure> {
    let all = behaviour.ablations.as_ref().filter(|all| !all.is_empty())?;
    let measure = behaviour.measure.as_deref()?;
    let row = |name: &str, color, statistics: Option<crate::lab::evaluation::Statistics>| {
        let s = statistics?;
        Some(Row {
            name: name.to_owned(),
            color,
            quartiles: [s.lower_quartile, s.median, s.upper_quartile],
        })
    };
    let intact = row("whole network", SERIES[0], behaviour.statistics);
    let rest = all
        .iter()
        .filter_map(|one| row(&one.ablation.to_string(), SERIES[1], one.statistics));
    let drawing = Drawing::Intervals(Intervals {
        x: match measure {
            "reward" => "reward of an episode".to_owned(),
            other => other.replace('_', " "),
        },
        rows: intact.into_iter().chain(rest).collect(),
    });
    let caption = format!(
        "Median (mark) and inter-quartile range (bar) over the same {} fresh episodes.",
        behaviour.episodes
    );
    let name = format!("{prefix}ablations");
    Some(Figure::new(
        &name,
        "Measure without a part of the network",
        &caption,
        drawing,
    ))
}
