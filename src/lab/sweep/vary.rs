//! The variation in a sweep: a grid, a list of combinations, random draws.

use crate::ir::rng::{Key, Place, Stream};

/// Settings with their values, which together make a variant of a spec.
pub type Combination = Vec<(String, String)>;

/// The varied settings. Grid, list and random draws are combined each with each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vary {
    /// The values of settings, combined each with each.
    pub grid: Vec<(String, Vec<String>)>,
    /// Fixed combinations.
    pub list: Vec<Combination>,
    /// Random combinations.
    pub random: Option<Random>,
}

/// Random combinations of settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Random {
    /// The number of combinations.
    pub count: usize,
    /// The seed of the draws.
    pub seed: u64,
    /// The range of each setting.
    pub ranges: Vec<(String, Range)>,
}

/// The range that a setting is drawn from.
#[derive(Clone, Debug, PartialEq)]
pub enum Range {
    /// A uniform distribution between the bounds.
    Uniform(f64, f64),
    /// A log-uniform distribution between the bounds, both above 0.
    LogUniform(f64, f64),
    /// A uniform distribution over whole numbers, bounds included.
    Integer(i64, i64),
    /// A uniform choice among these values.
    Choice(Vec<String>),
}

impl Vary {
    /// The varied settings, each once.
    pub fn paths(&self) -> Vec<&str> {
        let mut listed: Vec<&str> = Vec::new();
        for (path, _) in self.list.iter().flatten() {
            if !listed.contains(&path.as_str()) {
                listed.push(path);
            }
        }
        let random = self.random.iter().flat_map(|random| &random.ranges);
        let grid = self.grid.iter().map(|(path, _)| path.as_str());
        grid.chain(listed)
            .chain(random.map(|(path, _)| path.as_str()))
            .collect()
    }

    /// The number of combinations, before repeated draws are removed.
    pub fn count(&self) -> usize {
        let grid = self.grid.iter().fold(1usize, |count, (_, values)| {
            count.saturating_mul(values.len())
        });
        let random = self.random.as_ref().map_or(1, |random| random.count);
        grid.saturating_mul(self.list.len().max(1))
            .saturating_mul(random)
    }

    /// All combinations, in order; one empty combination if nothing is varied.
    pub fn combinations(&self) -> Vec<Combination> {
        let mut all: Vec<Combination> = vec![Vec::new()];
        for (path, values) in &self.grid {
            let choices = values
                .iter()
                .map(|value| vec![(path.clone(), value.clone())])
                .collect();
            all = product(&all, choices);
        }
        if !self.list.is_empty() {
            all = product(&all, self.list.clone());
        }
        if let Some(random) = &self.random {
            all = product(&all, random.draws());
        }
        all
    }
}

fn product(first: &[Combination], second: Vec<Combination>) -> Vec<Combination> {
    first
        .iter()
        .flat_map(|a| second.iter().map(|b| [a.as_slice(), b].concat()))
        .collect()
}

impl Random {
    /// The draws, without repetitions. A larger number of draws begins with the same ones.
    fn draws(&self) -> Vec<Combination> {
        let key = Key::new(self.seed, Stream::Shuffle);
        let mut all: Vec<Combination> = Vec::new();
        for draw in 0..self.count {
            let place = key.at(draw as u32, 0, 0);
            let ranges = self.ranges.iter().enumerate();
            let combination = ranges
                .map(|(k, (path, range))| (path.clone(), range.draw(place, k as u32)))
                .collect();
            if !all.contains(&combination) {
                all.push(combination);
            }
        }
        all
    }
}

impl Range {
    fn draw(&self, place: Place, index: u32) -> String {
        match self {
            Range::Uniform(low, high) => rounded(low + (high - low) * place.uniform(index)),
            Range::LogUniform(low, high) => {
                let (low, high) = (low.ln(), high.ln());
                rounded((low + (high - low) * place.uniform(index)).exp())
            }
            Range::Integer(low, high) => {
                let count = high.abs_diff(*low).saturating_add(1) as usize;
                low.wrapping_add(place.below(index, count) as i64)
                    .to_string()
            }
            Range::Choice(values) => values[place.below(index, values.len())].clone(),
        }
    }
}

/// Rounds to six digits: more than a setting needs, and still readable.
fn rounded(number: f64) -> String {
    let text = format!("{number:.5e}");
    text.parse::<f64>()
        .map_or(text, |number| format!("{number:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_grid_and_a_list_are_combined() {
        let one = |path: &str, value: &str| (path.to_owned(), value.to_owned());
        let vary = Vary {
            grid: vec![
                ("a".to_owned(), words(&["1", "2"])),
                ("b".to_owned(), words(&["3", "4", "5"])),
            ],
            list: vec![vec![one("c", "6"), one("d", "7")], vec![one("c", "8")]],
            random: None,
        };
        let all = vary.combinations();
        assert_eq!((all.len(), vary.count()), (12, 12));
        assert_eq!(all[1], [one("a", "1"), one("b", "3"), one("c", "8")]);
        assert_eq!(vary.paths(), ["a", "b", "c", "d"]);
        assert_eq!(Vary::default().combinations(), [Vec::new()]);
    }

    #[test]
    fn draws_are_within_bounds_and_stay_when_more_are_asked_for() {
        let random = |count, seed| Random {
            count,
            seed,
            ranges: vec![
                ("u".to_owned(), Range::Uniform(-1.0, 3.0)),
                ("l".to_owned(), Range::LogUniform(1e-5, 1e-1)),
                ("i".to_owned(), Range::Integer(-2, 2)),
                ("c".to_owned(), Range::Choice(words(&["x", "y"]))),
            ],
        };
        let all = random(400, 7).draws();
        assert_eq!(all.len(), 400);
        assert_eq!(random(30, 7).draws(), all[..30]);
        assert_ne!(random(30, 8).draws(), all[..30]);
        let numbers =
            |k: usize| -> Vec<f64> { all.iter().map(|c| c[k].1.parse().unwrap()).collect() };
        assert!(numbers(0).iter().all(|x| (-1.0..=3.0).contains(x)));
        // Half of the draws lie below the logarithmic middle, 1e-3.
        let low = numbers(1).iter().filter(|x| **x < 1e-3).count();
        assert!((150..250).contains(&low), "{low}");
        for whole in -2..=2 {
            assert!(numbers(2).contains(&f64::from(whole)), "{whole}");
        }
        assert!(all.iter().any(|c| c[3].1 == "x") && all.iter().any(|c| c[3].1 == "y"));
    }

    #[test]
    fn draws_that_repeat_are_taken_once() {
        let random = Random {
            count: 50,
            seed: 0,
            ranges: vec![("c".to_owned(), Range::Choice(words(&["x", "y", "z"])))],
        };
        assert_eq!(random.draws().len(), 3);
    }
}
