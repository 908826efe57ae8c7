//! Modulators aligned to rewards: the average over all rewards, step by step.

use crate::lab::statistics::quantile;

/// The first step of the window, relative to the event.
pub const FIRST: i64 = -5;
/// The last step of the window, relative to the event.
pub const LAST: i64 = 20;

/// One episode: the modulator and the reward seen by the network, in each step.
#[derive(Clone, Copy, Debug)]
pub struct Course<'a> {
    /// The modulator, by step.
    pub modulator: &'a [f64],
    /// The reward seen, by step.
    pub perceived: &'a [f64],
}

/// The average at one offset from the events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The number of steps since the event.
    pub offset: i64,
    /// The number of events whose episode contains this step.
    pub count: usize,
    /// The mean.
    pub mean: f64,
    /// The lower quartile.
    pub lower_quartile: f64,
    /// The upper quartile.
    pub upper_quartile: f64,
}

/// The averages around events of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Average {
    /// The number of events.
    pub events: usize,
    /// The averages from [`FIRST`] to [`LAST`]; steps that no episode contains are left out.
    pub points: Vec<Point>,
}

/// Averages over all steps in which the network saw a reward that `counts` accepts.
pub fn around(courses: &[Course<'_>], counts: impl Fn(f64) -> bool) -> Average {
    let mut values: Vec<Vec<f64>> = vec![Vec::new(); (LAST - FIRST + 1) as usize];
    let mut events = 0;
    for course in courses {
        for (event, reward) in course.perceived.iter().enumerate() {
            if !counts(*reward) {
                continue;
            }
            events += 1;
            for (offset, values) in (FIRST..=LAST).zip(&mut values) {
                let step = usize::try_from(event as i64 + offset).ok();
                values.extend(step.and_then(|step| course.modulator.get(step)));
            }
        }
    }
    let points = (FIRST..=LAST)
        .zip(&mut values)
        .filter_map(|(offset, values)| {
            values.sort_by(f64::total_cmp);
            Some(Point {
                offset,
                count: values.len(),
                lower_quartile: quantile(values, 0.25)?,
                upper_quartile: quantile(values, 0.75)?,
                mean: values.iter().sum::<f64>() / values.len() as f64,
            })
        });
    Average {
        events,
        points: points.collect(),
    }
}

/// The reward seen in each step: the reward earned in the step before.
pub fn perceived(earned: &[f64]) -> Vec<f64> {
    let mut seen = vec![0.0];
    seen.extend(earned);
    seen.truncate(earned.len());
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_by_hand() {
        // The network sees rewards in steps 2 and 6 of the first episode, and in step 1 of the second.
        let first: Vec<f64> = (0..8).map(f64::from).collect();
        let second: Vec<f64> = vec![10.0, 20.0, 30.0];
        let earned = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, -1.0, 1.0];
        let seen = perceived(&earned);
        assert_eq!(seen, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, -1.0]);
        let courses = [
            Course {
                modulator: &first,
                perceived: &seen,
            },
            Course {
                modulator: &second,
                perceived: &perceived(&[1.0, 0.0, 0.0]),
            },
        ];
        let average = around(&courses, |reward| reward > 0.0);
        assert_eq!(average.events, 3);
        let at = |offset| {
            let found = average.points.iter().find(|p| p.offset == offset);
            *found.unwrap()
        };
        // The event itself: 2, 6 and 20.
        assert_eq!((at(0).count, at(0).mean), (3, 28.0 / 3.0));
        assert_eq!((at(0).lower_quartile, at(0).upper_quartile), (4.0, 13.0));
        // One step later: 3, 7 and 30; one before: 1, 5 and 10.
        assert_eq!(at(1).mean, 40.0 / 3.0);
        assert_eq!(at(-1).mean, 16.0 / 3.0);
        // Two steps later the second event and its episode are over: only 4 remains, since 8 and 40 do not
        // exist.
        assert_eq!((at(2).count, at(2).mean), (1, 4.0));
        // Five steps before: only step 1, before the event in step 6.
        assert_eq!((at(-5).count, at(-5).mean), (1, 1.0));
        assert_eq!(average.points.last().unwrap().offset, 5);

        let wrong = around(&courses, |reward| reward < 0.0);
        assert_eq!((wrong.events, wrong.points.len()), (1, 6));
        assert_eq!(around(&courses, |reward| reward > 5.0), Average::default());
    }
}
