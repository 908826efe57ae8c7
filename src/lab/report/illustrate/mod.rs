//! The choice of figures for the gathered contents.

mod behaviour;
pub mod curves;

pub use behaviour::BehaviourFigures;

use super::figures::intervals::{Intervals, Row};
use super::figures::palette::series;
use super::figures::{Drawing, Figure};
use super::gather::run::RunReport;
use super::gather::sweep::SweepReport;

/// The figures of a run.
pub struct RunFigures {
    /// Metrics over iterations.
    pub curves: Vec<Figure>,
    /// The behaviour of its network.
    pub behaviour: Option<BehaviourFigures>,
}

/// The figures of a sweep.
pub struct SweepFigures {
    /// Metrics over iterations, by group.
    pub curves: Vec<Figure>,
    /// Final values by group.
    pub finals: Option<Figure>,
    /// The behaviour of one cell's network, by group.
    pub groups: Vec<Option<BehaviourFigures>>,
}

impl RunFigures {
    /// All figures, in the order of the page.
    pub fn into_figures(self) -> Vec<Figure> {
        let behaviour = self.behaviour.into_iter();
        let rest = behaviour.flat_map(BehaviourFigures::into_figures);
        self.curves.into_iter().chain(rest).collect()
    }
}

impl SweepFigures {
    /// All figures, in the order of the page.
    pub fn into_figures(self) -> Vec<Figure> {
        let groups = self.groups.into_iter().flatten();
        let rest = groups.flat_map(BehaviourFigures::into_figures);
        self.curves
            .into_iter()
            .chain(self.finals)
            .chain(rest)
            .collect()
    }
}

/// The figures of a run.
pub fn run(report: &RunReport) -> RunFigures {
    let found = report.behaviour.as_ref().ok();
    RunFigures {
        curves: curves::of_run(&report.series),
        behaviour: found.map(|behaviour| BehaviourFigures::of("", behaviour)),
    }
}

/// The figures of a sweep.
pub fn sweep(report: &SweepReport) -> SweepFigures {
    let of_group = |group: &super::gather::sweep::GroupReport| {
        let behaviour = group.example.as_ref()?.behaviour.as_ref().ok()?;
        Some(BehaviourFigures::of(
            &format!("{}-", group.group.name),
            behaviour,
        ))
    };
    SweepFigures {
        curves: curves::of_sweep(&report.collection, &report.baseline),
        finals: finals(report),
        groups: report.groups.iter().map(of_group).collect(),
    }
}

fn finals(report: &SweepReport) -> Option<Figure> {
    let collection = &report.collection;
    let metric = &collection.metric;
    let groups = collection.groups.iter().enumerate();
    let rows: Vec<Row> = groups
        .filter_map(|(k, group)| {
            let quartiles = group.finals.get(metric)?;
            Some(Row {
                name: group.group.name.clone(),
                color: series(k),
                quartiles: [
                    quartiles.lower_quartile,
                    quartiles.median,
                    quartiles.upper_quartile,
                ],
            })
        })
        .collect();
    let intervals = Intervals {
        x: curves::axis(metric, false),
        rows,
    };
    (!intervals.rows.is_empty()).then(|| {
        Figure::new(
            "final",
            "Final values by condition",
            "Median (mark) and inter-quartile range (bar) over seeds.",
            Drawing::Intervals(intervals),
        )
    })
}
