//! Random specs on all backends: the fused kernels say what the reference says, adjoints too.

use crate::properties::agreement::{check, Check, Verdict};
use crate::properties::case::Case;
use crate::properties::cases::Cases;
use crate::properties::edits::tree;
use crate::properties::generate::{extent, Extent};
use bpmc::lang::sema::functions::FUNCTIONS;
use std::collections::{BTreeMap, BTreeSet};

#[test]
#[expect(
    clippy::print_stdout,
    reason = "`--nocapture` shows how many were excused"
)]
fn backends_agree_on_random_specs() {
    let cases = Cases::from_environment(1);
    let verdicts = cases.run(Case::draw, check);
    let count = verdicts.len();
    let excused = |check: Check| {
        verdicts
            .iter()
            .filter(|v| v.excused.contains(&check))
            .count()
    };
    let double = excused(Check::Double).max(excused(Check::Candle));
    let single = excused(Check::Single);
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in verdicts.iter().filter_map(|v: &Verdict| v.unsupported) {
        *reasons.entry(reason).or_default() += 1;
    }
    let unsupported: usize = reasons.values().sum();
    let saturated = verdicts.iter().filter(|v| v.saturated).count();
    let summary = format!(
        "{count} cases; rounding explains a difference in f64 in {double}, in f32 in {single}; {saturated} end on a \
         bound; not fused: {unsupported} {reasons:#?}"
    );
    println!("{summary}");
    // One more each, so that a run of few cases can pass.
    assert!(double * 200 <= count + 200, "{summary}");
    assert!(single * 20 <= count + 20, "{summary}");
    assert!(unsupported * 50 <= count + 50, "{summary}");
    assert!((saturated + 1) * 3 >= count, "{summary}");
}

#[test]
fn random_specs_say_all_that_can_be_said() {
    let texts: Vec<String> = (0..1_500).map(|k| Case::draw(7, k).text).collect();
    let mut words: Vec<String> = FUNCTIONS.iter().map(|f| format!("{}(", f.name)).collect();
    let others = [
        " + ",
        " - ",
        " * ",
        " / ",
        "^",
        " < ",
        " <= ",
        " > ",
        " >= ",
        " == ",
        " != ",
        " && ",
        " || ",
        "!(",
        "-(",
        "boundary = inclusive",
        "boundary = exclusive",
        "boundary = half",
        "boundary = straight_through",
        "per connection",
        "per post",
        "per pre",
        "per network",
        "reset trial",
        "reset never",
        "reset carry",
        "next t",
        "external reward",
        "on post[",
        "on pre[",
        "when ",
        "noise xi",
        "noise nu",
        "const mask",
        "plastic rec",
        "plastic up",
        "plastic twin",
        "plastic low",
        "plastic out_of",
        "modulator m2",
        "trace t2",
        "fanout(m",
        "state odd",
        "far = linear(",
        "grown",
    ];
    words.extend(others.map(str::to_owned));
    for word in words {
        let with = texts.iter().filter(|text| text.contains(&word)).count();
        assert!(
            with >= 5,
            "only {with} of {} specs have `{word}`",
            texts.len()
        );
    }
    for text in &texts {
        assert!(!tree(text).items.is_empty(), "{text}");
    }
}

#[test]
fn random_sizes_are_the_awkward_ones() {
    let extents: Vec<Extent> = (0..4_000)
        .map(|k| extent(&mut crate::properties::chance::Chance::new(k)))
        .collect();
    let all = |value: &dyn Fn(&Extent) -> usize| -> BTreeSet<usize> {
        extents.iter().map(value).collect()
    };
    let (n, p) = (all(&|e| e.n), all(&|e| e.p));
    for size in [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 64, 65, 67] {
        assert!(n.contains(&size) && p.contains(&size), "{size}");
    }
    assert_eq!((n.first(), n.last()), (Some(&1), Some(&67)));
    assert_eq!(all(&|e| e.lanes), (1..=9).collect());
    let steps = all(&|e| e.steps);
    assert_eq!((steps.first(), steps.last()), (Some(&1), Some(&40)));
    let differ = extents.iter().filter(|e| e.n != e.p).count();
    assert!(differ > extents.len() / 2);
}
