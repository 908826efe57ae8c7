//! Runs many cases on all cores; the first that fails is shrunk and written down.

use crate::properties::agreement::{Check, Fault};
use crate::properties::case::Case;
use crate::properties::shrink::shrink;
use crate::properties::{number, report};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

/// What fixes the cases of a run.
pub struct Cases {
    seed: u64,
    first: u64,
    pub count: u64,
}

impl Cases {
    /// `1 / share` of the cases that the environment asks for.
    pub fn from_environment(share: u64) -> Cases {
        Cases {
            seed: number("BPMC_PROPERTY_SEED", 7),
            first: number("BPMC_PROPERTY_FIRST", 0),
            count: number("BPMC_PROPERTY_CASES", 2_000).div_ceil(share),
        }
    }

    /// Checks each case that `draw` gives for the seed and a number. What `check` gives comes in no fixed order.
    ///
    /// # Panics
    /// Where a case fails, with all that is needed to see it again.
    pub fn run<T: Send>(
        &self,
        draw: impl Fn(u64, u64) -> Case + Sync,
        check: impl Fn(&Case) -> Result<T, Fault> + Sync,
    ) -> Vec<T> {
        let next = AtomicU64::new(self.first);
        let end = self.first + self.count;
        let passed = Mutex::new(Vec::new());
        let failed = Mutex::new(Vec::new());
        let worker = || loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= end {
                break;
            }
            let case = draw(self.seed, index);
            match check(&case) {
                Ok(seen) => passed.lock().unwrap().push(seen),
                Err(fault) => {
                    next.store(end, Ordering::Relaxed);
                    failed.lock().unwrap().push((index, case, fault));
                }
            }
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(worker);
            }
        });
        let failed = failed.into_inner().unwrap();
        if let Some((index, case, first)) = failed.into_iter().min_by_key(|(index, ..)| *index) {
            let seed = self.seed;
            let kind = signature(&first);
            let small = shrink(&case, |case| {
                check(case).is_err_and(|f| signature(&f) == kind)
            });
            let fault = check(&small).err().unwrap_or(first.clone());
            let stem = format!("bpmc-property-{seed}-{index}");
            panic!(
                "case {index} of seed {seed} fails; see it again with BPMC_PROPERTY_SEED={seed} \
                 BPMC_PROPERTY_FIRST={index} BPMC_PROPERTY_CASES=1\nas drawn, {:?}: {}\nshrunk, {}",
                first.check,
                first.detail,
                report::write(&small, &fault, &report::directory(), &stem)
            );
        }
        passed.into_inner().unwrap()
    }
}

/// What two faults have in common that may be the same one.
fn signature(fault: &Fault) -> (Check, String) {
    let text = match fault.check {
        // The message up to the first name in it.
        Check::Compiles | Check::Panics => fault.detail.split(['`', '\n']).next(),
        // What kind of tensor it is.
        Check::Candle | Check::Double | Check::Single => fault.detail.split(' ').next(),
        Check::Finite | Check::Differences => None,
    };
    (fault.check, text.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::Cases;
    use crate::properties::agreement::{Check, Fault};
    use crate::properties::case::Case;

    #[test]
    fn a_failure_is_told_with_all_that_shows_it() {
        let cases = Cases {
            seed: 4,
            first: 10,
            count: 30,
        };
        let check = |case: &Case| -> Result<(), Fault> {
            // As if nothing could take a softplus.
            if case.text.contains("softplus") && case.compile().is_ok() {
                let detail = "as if".to_owned();
                return Err(Fault {
                    check: Check::Single,
                    detail,
                });
            }
            Ok(())
        };
        let run = || cases.run(Case::draw, check);
        let failure = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
        let text = failure.downcast_ref::<String>().unwrap();
        assert!(text.contains("of seed 4 fails"), "{text}");
        assert!(text.contains("Single: as if"), "{text}");
        assert!(text.contains("--backend fused --dtype f32"), "{text}");
        assert_eq!(text.matches("softplus").count(), 1, "{text}");
        let path = text.lines().find(|line| line.ends_with(".bpm")).unwrap();
        let written = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&written), "{text}");
    }
}
