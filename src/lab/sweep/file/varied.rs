//! The `vary` section of a sweep file.

use super::read::Reading;
use super::yaml::Node;
use crate::lab::sweep::vary::{Random, Range, Vary};

/// The largest number of random combinations.
const MAX_RANDOM: u64 = 10_000;

impl Reading<'_> {
    /// Reads `vary`.
    pub(super) fn vary(&mut self, node: &Node) -> Vary {
        let mut vary = Vary::default();
        let Some(fields) = self.fields(node, "`vary`", &["grid", "list", "random"]) else {
            return vary;
        };
        if let Some(grid) = fields.get("grid") {
            for (path, at, values) in self.entries(grid, "`grid`") {
                if self.is_setting(&path, at) {
                    let values = self.values(values, &path);
                    vary.grid.push((path, values));
                }
            }
        }
        if let Some(list) = fields.get("list") {
            for item in self
                .list(list, "`list`", "mappings from settings to values")
                .unwrap_or_default()
            {
                let set = self.set(item);
                let combination: Vec<_> = set.into_iter().map(|a| (a.path, a.value)).collect();
                if vary.list.contains(&combination) {
                    self.report(
                        item.at,
                        "this combination is there already".to_owned(),
                        None,
                    );
                }
                vary.list.push(combination);
            }
        }
        if let Some(random) = fields.get("random") {
            vary.random = self.random(random);
        }
        let paths = vary.paths();
        let twice = paths
            .iter()
            .enumerate()
            .find(|(k, path)| paths[..*k].contains(path));
        if let Some((_, path)) = twice {
            self.report(
                node.at,
                format!("`{path}` is in more than one of `grid`, `list` and `random`"),
                Some("keep one of them"),
            );
        }
        vary
    }

    fn random(&mut self, node: &Node) -> Option<Random> {
        let fields = self.fields(node, "`random`", &["count", "seed", "ranges"])?;
        let count = match fields.get("count") {
            Some(count) => self.integer(count, "`count`", 1, MAX_RANDOM),
            None => self.missing(node, "`random` has no `count`", "add `count: 20`"),
        };
        let seed = match fields.get("seed") {
            Some(seed) => self.integer(seed, "`seed`", 0, u64::MAX),
            None => Some(0),
        };
        let Some(ranges) = fields.get("ranges") else {
            let help = "add `ranges: { train.optimizer.lr: { log_uniform: [1e-5, 1e-2] } }`";
            return self.missing(node, "`random` has no `ranges`", help);
        };
        let mut found = Vec::new();
        for (path, at, range) in self.entries(ranges, "`ranges`") {
            if self.is_setting(&path, at) {
                if let Some(range) = self.range(range, &path) {
                    found.push((path, range));
                }
            }
        }
        Some(Random {
            count: count? as usize,
            seed: seed?,
            ranges: found,
        })
    }

    fn range(&mut self, node: &Node, path: &str) -> Option<Range> {
        let kinds = ["uniform", "log_uniform", "integer", "choice"];
        let fields = self.fields(node, &format!("the range of `{path}`"), &kinds)?;
        let [(kind, value)] = fields.all() else {
            self.report(
                node.at,
                format!("the range of `{path}` needs one kind"),
                Some("one of `uniform: [0, 1]`, `log_uniform: [1e-5, 1e-2]`, `integer: [8, 64]`, `choice: [a, b]`"),
            );
            return None;
        };
        if *kind == "choice" {
            let values = self.values(value, path);
            return (!values.is_empty()).then_some(Range::Choice(values));
        }
        let bounds = self.list(value, &format!("`{kind}`"), "two numbers")?;
        let numbers: Vec<f64> = bounds
            .iter()
            .filter_map(|bound| self.number(bound, &format!("a bound of `{path}`")))
            .collect();
        let [low, high] = numbers[..] else {
            if numbers.len() == bounds.len() {
                let message = format!("`{kind}` needs two numbers, the lowest and the highest");
                self.report(value.at, message, None);
            }
            return None;
        };
        let mut wrong = |message: &str| {
            self.report(value.at, format!("{message} of `{path}`"), None);
        };
        if low > high {
            wrong("the lower bound is above the upper one in the range");
        } else if *kind == "log_uniform" && low <= 0.0 {
            wrong("the bounds must be above 0 in the logarithmic range");
        } else if *kind == "integer" && (low.fract() != 0.0 || high.fract() != 0.0) {
            wrong("the bounds must be whole numbers in the range");
        } else {
            return Some(match *kind {
                "uniform" => Range::Uniform(low, high),
                "log_uniform" => Range::LogUniform(low, high),
                _ => Range::Integer(low as i64, high as i64),
            });
        }
        None
    }
}
