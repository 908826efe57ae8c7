//! Random specs on all backends: the fused kernels say what the reference says, adjoints too.

use crate::agreement::{check, Check, Fault, Verdict};
use crate::case::Case;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

/// What was seen over all cases.
#[derive(Default)]
struct Counts {
    excused: BTreeMap<Check, usize>,
    unsupported: BTreeMap<&'static str, usize>,
    saturated: usize,
    faults: Vec<(u64, Case, Fault)>,
}

impl Counts {
    fn add(&mut self, index: u64, case: Case, verdict: Result<Verdict, Fault>) {
        match verdict {
            Err(fault) => self.faults.push((index, case, fault)),
            Ok(verdict) => {
                for check in verdict.excused {
                    *self.excused.entry(check).or_default() += 1;
                }
                if let Some(reason) = verdict.unsupported {
                    *self.unsupported.entry(reason).or_default() += 1;
                }
                self.saturated += usize::from(verdict.saturated);
            }
        }
    }
}

#[test]
fn backends_agree_on_random_specs() {
    let cases = u64::from(crate::cases("BPMC_PROPERTY_CASES", 2_000));
    let seed = u64::from(crate::cases("BPMC_PROPERTY_SEED", 7));
    let counts = Mutex::new(Counts::default());
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= cases {
                    break;
                }
                let case = Case::draw(seed, index);
                let start = std::time::Instant::now();
                let verdict = check(&case);
                let took = start.elapsed().as_secs_f64();
                if took > 1.0 { println!("case {index} {took:.2} {:?}\n{}", verdict, case.text); }
                if let Err(f) = &verdict { println!("FAULT {index} {:?}", f); }
                counts.lock().unwrap().add(index, case, verdict);
            });
        }
    });
    let counts = counts.into_inner().unwrap();
    println!("excused {:?} unsupported {:?} saturated {} faults {}", counts.excused, counts.unsupported, counts.saturated, counts.faults.len());
    let mut kinds: BTreeMap<(Check, String), Vec<u64>> = BTreeMap::new();
    for (i, _, f) in &counts.faults { kinds.entry((f.check, f.detail.split(':').next().unwrap_or("").to_owned())).or_default().push(*i); }
    for ((c, d), v) in &kinds { println!("{c:?} {d}: {} e.g. {:?}", v.len(), &v[..v.len().min(5)]); }
    let mut seen = std::collections::BTreeSet::new();
    for (i, case, f) in counts.faults.iter().filter(|(_, _, f)| seen.insert((f.check, f.detail.split(':').next().unwrap_or("").to_owned()))) { println!("{i} {f:?}\n{}", case.text); }
    assert!(counts.faults.is_empty());
}
