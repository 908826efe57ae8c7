//! Modulators and perceived reward over the steps of some episodes (Miconi et al. 2019, Fig. 3).

use super::frame::{range, Entry, Frame, Legend, BOTTOM, SMALL, TEXT, WIDTH};
use super::paint::{Anchor, Paint};
use super::palette::{series, INK, MUTED, SERIES};

/// The height of the modulator track.
const UPPER: f64 = 84.0;
/// The height of the reward track.
const LOWER: f64 = 34.0;
/// The margin above each episode.
const TITLE: f64 = 20.0;
/// The gap between the tracks.
const GAP: f64 = 8.0;

/// One episode, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// The values by modulator, in the order of their names.
    pub modulators: Vec<Vec<f64>>,
    /// The reward that the network sees in each step.
    pub perceived: Vec<f64>,
}

/// A figure of episodes below each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// The names of the modulators.
    pub names: Vec<String>,
    /// The episodes.
    pub episodes: Vec<Episode>,
}

impl Timeline {
    fn legend(&self) -> Legend {
        let modulators = self.names.iter().enumerate().map(|(k, name)| Entry {
            name: name.clone(),
            color: series(color(k)),
        });
        let reward = Entry {
            name: "perceived reward".to_owned(),
            color: SERIES[1],
        };
        Legend::new(modulators.chain([reward]).collect())
    }

    /// The width and height in pixels.
    pub fn size(&self) -> (f64, f64) {
        let each = TITLE + UPPER + GAP + LOWER + 6.0;
        let all = each * self.episodes.len() as f64;
        (WIDTH, 8.0 + self.legend().height() + all + BOTTOM)
    }

    /// Draws the episodes.
    pub fn draw(&self, paint: &mut dyn Paint) {
        let legend = self.legend();
        legend.draw(paint, 4.0);
        let modulators = self
            .episodes
            .iter()
            .flat_map(|one| one.modulators.iter().flatten());
        let upper = range(modulators.copied());
        let rewards = self.episodes.iter().flat_map(|one| &one.perceived);
        let most = rewards.fold(0.0f64, |most, x| most.max(x.abs()));
        let most = if most > 0.0 { most } else { 1.0 };
        let below = self
            .episodes
            .iter()
            .flat_map(|one| &one.perceived)
            .any(|x| *x < 0.0);
        let lower = (if below { -1.15 * most } else { 0.0 }, 1.15 * most);
        let left = Frame::new(0.0, UPPER, (0.0, 1.0), upper).left;
        let left = left.max(Frame::new(0.0, LOWER, (0.0, 1.0), lower).left);
        let mut top = 8.0 + legend.height();
        for (k, episode) in self.episodes.iter().enumerate() {
            let title = format!("Episode {}", k + 1);
            paint.text((8.0, top + 10.0), &title, SMALL, Anchor::Start, MUTED);
            let steps = episode.perceived.len().saturating_sub(1).max(1) as f64;
            let placed = |top: f64, height: f64, y: (f64, f64)| Frame {
                left,
                width: WIDTH - left - 16.0,
                ..Frame::new(top, height, (0.0, steps), y)
            };
            let track = placed(top + TITLE, UPPER, upper);
            track.draw_y(paint);
            for (number, values) in episode.modulators.iter().enumerate() {
                let points: Vec<(f64, f64)> = values
                    .iter()
                    .enumerate()
                    .map(|(step, value)| track.at(step as f64, *value))
                    .collect();
                paint.line(&points, series(color(number)), 1.5);
            }
            let track = placed(track.bottom() + GAP, LOWER, lower);
            let (_, zero) = track.at(0.0, 0.0);
            paint.line(&[(left, zero), (left + track.width, zero)], MUTED, 0.75);
            for (value, name) in [(most, "+"), (-most, "−")] {
                if value > 0.0 || below {
                    let (_, y) = track.at(0.0, value);
                    paint.text((left - 7.0, y), name, SMALL, Anchor::End, MUTED);
                }
            }
            for (step, value) in episode.perceived.iter().enumerate() {
                if *value != 0.0 {
                    let (x, y) = track.at(step as f64, *value);
                    paint.line(&[(x, zero), (x, y)], SERIES[1], 2.0);
                }
            }
            top = track.bottom() + 6.0;
            if k + 1 == self.episodes.len() {
                track.draw_x(paint, "step of the episode");
            }
        }
        if self.episodes.is_empty() {
            paint.text((8.0, top + 10.0), "no episodes", TEXT, Anchor::Start, INK);
        }
    }
}

/// The second colour of the palette is reserved for rewards.
fn color(modulator: usize) -> usize {
    if modulator == 0 {
        0
    } else {
        modulator + 1
    }
}
