//! The `engine` section of a sweep file.

use super::read::{Fields, Reading};
use super::yaml::Node;
use super::{Engine, SlurmSettings};

impl Reading<'_> {
    /// Reads `engine`.
    pub(super) fn engine(&mut self, node: &Node) -> Engine {
        let mut engine = Engine::default();
        let Some(fields) = self.fields(node, "`engine`", &["workers", "threads", "slurm"]) else {
            return engine;
        };
        engine.workers = self.count(&fields, "workers");
        engine.threads = self.count(&fields, "threads");
        let Some(slurm) = fields.get("slurm") else {
            return engine;
        };
        let known = ["partition", "account", "time", "memory", "at_once", "extra"];
        let Some(fields) = self.fields(slurm, "`slurm`", &known) else {
            return engine;
        };
        let mut option = |name: &str| {
            let node = fields.get(name)?;
            let value = self.value(node, name)?;
            self.is_one_line(&value, node.at).then_some(value)
        };
        engine.slurm = SlurmSettings {
            partition: option("partition"),
            account: option("account"),
            time: option("time"),
            memory: option("memory"),
            at_once: None,
            extra: Vec::new(),
        };
        engine.slurm.at_once = self.count(&fields, "at_once");
        if let Some(extra) = fields.get("extra") {
            for item in self
                .list(extra, "`extra`", "options such as `--gres=gpu:1`")
                .unwrap_or_default()
            {
                let Some(option) = self.text_of(item, "an option of Slurm") else {
                    continue;
                };
                if !option.starts_with('-') {
                    self.report(
                        item.at,
                        format!("`{option}` is no option of `sbatch`"),
                        Some("options begin with `-`, as in `--qos=long`"),
                    );
                } else if self.is_one_line(&option, item.at) {
                    engine.slurm.extra.push(option);
                }
            }
        }
        engine
    }

    fn count(&mut self, fields: &Fields<'_>, name: &str) -> Option<usize> {
        let node = fields.get(name)?;
        let number = self.integer(node, &format!("`{name}`"), 1, 4096)?;
        Some(number as usize)
    }
}
