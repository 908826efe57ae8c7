//! Numbers that are not finite: found, named, and dealt with as asked.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use crate::runs_support::{metrics, run, shelf, Session, SPEC};
use crate::scratch::scratch;
use bpmc::lab::run::{find_checkpoint, Ending, Manifest, OnNan, RunError, Which};
use bpmc::lab::watchdog::Located;
use bpmc::lang::diag::Code;
use bpmc::learn::checkpoint::Checkpoint;
use bpmc::learn::trainer::BackendKind;
use std::path::Path;

fn with_value(expression: &str) -> String {
    let spec = SPEC.replace(
        "output value = linear(y, 1)",
        &format!("output value = {expression}"),
    );
    assert_ne!(spec, SPEC);
    spec
}

fn found(name: &str, spec: &str, backend: BackendKind) -> Located {
    let place = scratch(&format!("watchdog-{name}-{}", backend.name()));
    let session = Session {
        backend,
        ..Session::new(&place, spec)
    };
    match session.go().unwrap_err() {
        RunError::NotFinite(located) => *located,
        other => panic!("{other}"),
    }
}

fn place_in_spec(located: &Located) -> String {
    let finding = located.findings.iter().next().unwrap();
    assert_eq!(finding.code, Code::NotFinite);
    located.sources.text(finding.primary.span).to_owned()
}

#[test]
fn the_equation_is_named_on_every_backend() {
    // The state counts steps over episodes: twelve an iteration, so the logarithm is that of 0 in the fifth.
    let spec = with_value("linear(y, 1) + log(50 - count)\n  count <- count + 1").replace(
        "state slow",
        "state count: [1] = 0 reset never\n  state slow",
    );
    for backend in BackendKind::ALL {
        let located = found("count", &spec, backend);
        assert_eq!(
            (located.iteration, located.step, located.lane),
            (5, Some(2), Some(0)),
            "{}",
            located.sentence
        );
        assert_eq!(located.equation.as_deref(), Some("`value`"));
        assert_eq!(place_in_spec(&located), "log(50 - count)");
        let beginning =
            "iteration 5, step 2, lane 0: `value` is not finite: log of 0 at [0] is -inf (";
        assert!(
            located.sentence.starts_with(beginning),
            "{}",
            located.sentence
        );
    }
}

/// The trace of a recurrent bundle is divided by a sum that is 0 in the first step, where the division is not taken.
#[test]
fn a_rule_that_normalises_from_nothing_trains() {
    let spec = SPEC.replace(
        "using retroactive(m) {",
        "{\n    trained eta = 0.1\n    trace hebb = 0\n    transmit w + alpha * hebb\n    \
         grown = hebb + eta * m * pre * post\n    total = sum_pre(abs(grown))\n    \
         when total > 0 { hebb <- grown / total }",
    );
    for backend in BackendKind::ALL {
        let place = scratch(&format!("watchdog-normalises-{}", backend.name()));
        let session = Session {
            backend,
            ..Session::new(&place, &spec)
        };
        assert_eq!(
            session.go().unwrap(),
            Ending::Finished,
            "{}",
            backend.name()
        );
        let records = metrics(&place);
        assert_eq!(records.len(), 11);
        assert!(records
            .iter()
            .all(|r| r["gradient_norm"].as_f64().unwrap() > 0.0));
    }
}

/// A branch that is not taken is not named, although it divides by 0 at every step before the one that fails.
#[test]
fn a_branch_that_is_not_taken_is_not_blamed() {
    let spec = with_value(
        "linear(y, 1) + select(count > 99, 1 / (count - count), 0) + log(50 - count)\n  \
         count <- count + 1",
    )
    .replace(
        "state slow",
        "state count: [1] = 0 reset never\n  state slow",
    );
    let located = found("untaken", &spec, BackendKind::Fused);
    assert_eq!(located.iteration, 5, "{}", located.sentence);
    assert_eq!(place_in_spec(&located), "log(50 - count)");
    let finding = located.findings.iter().next().unwrap();
    let help = finding.help.clone().unwrap();
    assert!(help.contains("log(max(x, 1e-6))"), "{help}");
}

#[test]
fn a_trace_that_grows_is_named_with_its_rule() {
    let spec = SPEC
        .replace("using retroactive(m) {", "{\n    trace hebb = 0\n    transmit w + alpha * hebb\n    hebb <- 1e6 * hebb + 1e6 * m * pre * post")
        .replace("y = tanh(", "y = (");
    let located = found("trace", &spec, BackendKind::Fused);
    assert_eq!(located.iteration, 1, "{}", located.sentence);
    assert!(
        located.sentence.contains("too large for 32 bits"),
        "{}",
        located.sentence
    );
    let equation = located.equation.clone().unwrap();
    assert!(
        ["the update of `rec.hebb`", "`rec`", "`y`"].contains(&equation.as_str()),
        "{}",
        located.sentence
    );
}

#[test]
fn a_gradient_is_followed_back() {
    // The loss, in 64 bits, is fine; its derivatives in 32 are not.
    let located = found(
        "gradient",
        &with_value("1e25 * linear(y, 1)"),
        BackendKind::Fused,
    );
    assert_eq!(
        (located.iteration, located.step),
        (1, Some(11)),
        "{}",
        located.sentence
    );
    let equation = located.equation.clone().unwrap();
    assert!(equation.contains("derivative"), "{}", located.sentence);
    assert!(
        located.sentence.contains("too large for 32 bits"),
        "{}",
        located.sentence
    );
    assert!(
        place_in_spec(&located).contains("1e25 * linear(y, 1)"),
        "{}",
        place_in_spec(&located)
    );
}

#[test]
fn a_parameter_that_a_step_makes_infinite_is_named() {
    let spec = with_value("1e18 * linear(y, 1)").replace(
        "optimizer adam { lr = 1e-3 }",
        "clip_norm = 0\n  optimizer sgd { lr = 1e6 }",
    );
    let located = found("parameter", &spec, BackendKind::Fused);
    assert_eq!((located.iteration, located.step), (1, None));
    assert!(
        located
            .sentence
            .contains("the step of the optimizer makes it too large"),
        "{}",
        located.sentence
    );
    assert_eq!(located.findings.iter().count(), 1, "{}", located.sentence);
}

/// In some iterations the noise exceeds 3 somewhere.
fn now_and_then() -> String {
    with_value("linear(y, 1) + 0.001 * log(max(3.1 - xi, 0))")
        .replace("iterations = 11", "iterations = 40")
}

fn manifest(place: &Path) -> Manifest {
    Manifest::read(&place.join("run.yaml")).unwrap()
}

#[test]
fn skipped_iterations_change_nothing_and_a_resumed_run_is_the_same() {
    let root = scratch("watchdog-skip");
    let spec = now_and_then();
    let straight = root.join("straight");
    let session = Session {
        on_nan: OnNan::Skip,
        ..Session::new(&straight, &spec)
    };
    assert_eq!(session.go().unwrap(), Ending::Finished);
    let incidents = manifest(&straight).not_finite;
    assert!(
        !incidents.is_empty() && incidents.len() < 20,
        "{incidents:?}"
    );
    let skipped: Vec<u64> = incidents
        .iter()
        .map(|incident| incident.iteration)
        .collect();
    for incident in &incidents {
        assert_eq!(incident.done, OnNan::Skip);
        assert!(
            incident.found.contains("log of 0 is -inf"),
            "{}",
            incident.found
        );
    }
    // There is a record for every iteration but those.
    let recorded: Vec<u64> = metrics(&straight)
        .iter()
        .map(|record| record["iteration"].as_u64().unwrap())
        .collect();
    let wanted: Vec<u64> = (1..=40).filter(|k| !skipped.contains(k)).collect();
    assert_eq!(recorded, wanted);

    let broken = root.join("broken");
    for until in [skipped[0], 20, u64::MAX] {
        let session = Session {
            resume: broken.exists(),
            on_nan: OnNan::Skip,
            until,
            ..Session::new(&broken, &spec)
        };
        session.go().unwrap();
    }
    assert_eq!(metrics(&broken), metrics(&straight));
    let told: Vec<u64> = manifest(&broken)
        .not_finite
        .iter()
        .map(|incident| incident.iteration)
        .collect();
    assert_eq!(told, skipped);
    assert!(shelf(&broken) == shelf(&straight));
}

#[test]
fn a_rollback_goes_on_with_other_episodes() {
    let root = scratch("watchdog-rollback");
    let spec = now_and_then();
    let straight = root.join("straight");
    let session = Session {
        on_nan: OnNan::Rollback,
        ..Session::new(&straight, &spec)
    };
    assert_eq!(session.go().unwrap(), Ending::Finished);
    let incidents = manifest(&straight).not_finite;
    assert!(!incidents.is_empty());
    for incident in &incidents {
        assert_eq!(
            incident.back_to,
            (incident.iteration - 1) / 3 * 3,
            "{incident:?}"
        );
    }
    let last = find_checkpoint(&straight, Which::Last).unwrap();
    let last = Checkpoint::read(&last).unwrap();
    assert_eq!(last.header.rollbacks, incidents.len() as u64);
    assert_eq!(metrics(&straight).len(), 40);

    let broken = root.join("broken");
    for until in [incidents[0].iteration, 20, u64::MAX] {
        let session = Session {
            resume: broken.exists(),
            on_nan: OnNan::Rollback,
            until,
            ..Session::new(&broken, &spec)
        };
        session.go().unwrap();
    }
    assert_eq!(metrics(&broken), metrics(&straight));
    assert!(shelf(&broken) == shelf(&straight));
}

#[test]
fn what_never_gets_better_ends() {
    let root = scratch("watchdog-hopeless");
    let spec = with_value("linear(y, 1) + log(0 * linear(y, 1))")
        .replace("iterations = 11", "iterations = 60");
    for (on_nan, name) in [(OnNan::Skip, "skip"), (OnNan::Rollback, "rollback")] {
        let place = root.join(name);
        let session = Session {
            on_nan,
            ..Session::new(&place, &spec)
        };
        let error = session.go().unwrap_err();
        assert!(matches!(error, RunError::NotFinite(_)), "{error}");
        assert_eq!(manifest(&place).not_finite.len(), 10, "{name}");
    }
}

#[test]
fn the_command_shows_the_place() {
    let root = scratch("watchdog-command");
    std::fs::write(root.join("agent.bpm"), with_value("log(0 * linear(y, 1))")).unwrap();
    let (code, _, err) = run(&root, &["train", "agent.bpm", "--quiet", "--out", "a"]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("error[E0801]: iteration 1, step 0, lane 0: `value` is not finite"),
        "{err}"
    );
    assert!(
        err.contains("--> a/spec.bpm:") && err.contains("log(0 * linear(y, 1))"),
        "{err}"
    );
    assert!(
        err.contains("error: the run in a stopped: iteration 1, step 0, lane 0"),
        "{err}"
    );
    let (code, _, err) = run(&root, &["train", "agent.bpm", "--on-nan", "ignore"]);
    assert_eq!(code, Some(2));
    assert!(
        err.contains("[possible values: stop, skip, rollback]"),
        "{err}"
    );
}
