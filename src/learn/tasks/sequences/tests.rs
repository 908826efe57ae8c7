use super::{described, Sequences};
use crate::lang::catalog::{Interface, TaskPorts};
use crate::lang::settings::{SettingConflict, SettingValue, Settings};
use crate::learn::data::samples::{floats, saved, wholes, Folder};
use crate::learn::tasks::{EpisodeKey, Part, Task};
use std::path::Path;

fn settings(files: &[(&'static str, &Path)]) -> Settings {
    let mut settings = Settings::defaults(super::SETTINGS);
    settings.set("order", SettingValue::Word("file"));
    for (part, path) in files {
        settings.set(part, SettingValue::File(Some((*path).into())));
    }
    settings
}

fn ports(
    settings: &Settings,
    inputs: &[&str],
    outputs: &[&str],
) -> Result<TaskPorts, SettingConflict> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    described(
        settings,
        &Interface {
            inputs: names(inputs),
            outputs: names(outputs),
        },
    )
}

fn task(settings: &Settings, inputs: &[&str], outputs: &[&str]) -> Sequences {
    let ports = ports(settings, inputs, outputs).unwrap();
    Sequences::new(settings, &ports).unwrap()
}

fn key(lane: u32) -> EpisodeKey {
    EpisodeKey {
        lane,
        batch: 2,
        ..EpisodeKey::default()
    }
}

/// A step: inputs, signals, whether a trial begins, targets and weights.
type Step = (Vec<f32>, Vec<f32>, bool, Vec<f32>, Vec<f32>);

fn play(task: &Sequences, key: EpisodeKey) -> (Vec<Step>, Option<String>) {
    let width =
        |ports: Vec<crate::lang::catalog::Port>| ports.iter().map(|port| port.size).sum::<usize>();
    let mut lane = task.lane();
    lane.reset(key);
    let steps = (0..task.steps()).map(|_| {
        let mut inputs = vec![f32::NAN; width(task.inputs())];
        let mut signals = vec![f32::NAN; task.signals().len()];
        let mut targets = vec![f32::NAN; width(task.targets())];
        let mut weights = vec![f32::NAN; task.targets().len()];
        lane.observe(&mut inputs);
        lane.signals(&mut signals);
        let trial = lane.trial_starts();
        lane.target(&mut targets, &mut weights);
        (inputs, signals, trial, targets, weights)
    });
    let steps = steps.collect();
    (steps, lane.fault().map(str::to_owned))
}

#[test]
fn arrays_are_matched_by_name_and_shape() {
    let folder = Folder::new("match");
    let train = folder.file(
        "train.npz",
        &saved(&[
            floats(
                "x",
                "(2, 3, 2)",
                &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0],
            ),
            wholes("word", "(2, 3)", &[1, 0, 3, 2, 1, 9]),
            wholes("label", "(2, 3)", &[0, 1, 2, 2, -1, 7]),
            floats("y", "(2, 3)", &[0.5, 1.5, 2.5, 3.5, 4.5, f32::NAN]),
            floats("last", "(2, 2)", &[0.1, 0.2, 0.3, 0.4]),
            floats("weight", "(2, 3)", &[1.0, 0.0, 2.0, 1.0, 0.0, 1.0]),
            floats("weight.y", "(2, 3)", &[0.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
            wholes("length", "(2,)", &[3, 2]),
            wholes("trial", "(2, 3)", &[1, 0, 1, 1, 0, 1]),
            floats("reward", "(2, 3)", &[0.0, -1.0, 1.0, 0.5, 0.25, f32::NAN]),
            floats("unused", "(7,)", &[0.0; 7]),
        ]),
    );
    let settings = settings(&[("train", &train)]);
    let ports = ports(&settings, &["x", "word"], &["label", "y", "last", "silent"]).unwrap();
    let sizes: Vec<(&str, usize)> = ports
        .sizes
        .iter()
        .map(|port| (port.name.as_str(), port.size))
        .collect();
    assert_eq!(
        sizes,
        [
            ("x", 2),
            ("word", 10),
            ("label", 8),
            ("y", 1),
            ("last", 2),
            ("steps", 3)
        ]
    );
    assert_eq!(ports.signals, ["reward"]);
    let task = Sequences::new(&settings, &ports).unwrap();
    assert_eq!(task.steps(), 3);
    let one = |at: usize, of: usize| {
        (0..of)
            .map(|k| f32::from(u8::from(k == at)))
            .collect::<Vec<_>>()
    };

    let (steps, fault) = play(&task, key(0));
    assert_eq!(fault, None);
    let (inputs, signals, trial, targets, weights) = &steps[0];
    assert_eq!(*inputs, [vec![0.0, 1.0], one(1, 10)].concat());
    assert_eq!((signals.as_slice(), *trial), ([0.0].as_slice(), true));
    assert_eq!(*targets, [one(0, 8), vec![0.0; 3]].concat());
    assert_eq!(*weights, [1.0, 0.0, 0.0]);
    assert_eq!((&steps[1].1, steps[1].2), (&vec![-1.0], false));
    assert_eq!(steps[1].4, [0.0, 1.0, 0.0]);
    assert_eq!(steps[2].3, [one(2, 8), vec![2.5, 0.1, 0.2]].concat());
    assert_eq!(steps[2].4, [2.0, 1.0, 2.0]);

    // Two steps: what is beyond them does not count, a NaN there neither; the last step is the second.
    let (steps, fault) = play(&task, key(1));
    assert_eq!(fault, None);
    assert_eq!(steps[1].3, [vec![0.0; 8], vec![4.5, 0.0, 0.0]].concat());
    assert_eq!(steps[1].4, [0.0, 1.0, 0.0]);
    assert_eq!(
        steps[2],
        (vec![0.0; 12], vec![0.0], false, vec![0.0; 11], vec![0.0; 3])
    );
}

#[test]
fn epochs_go_on_from_batch_to_batch_and_evaluation_has_its_own_file() {
    let folder = Folder::new("epochs");
    let train = folder.file(
        "train.npz",
        &saved(&[
            floats("x", "(3, 1)", &[0.0, 1.0, 2.0]),
            floats("y", "(3, 1)", &[0.0; 3]),
        ]),
    );
    let test = folder.file(
        "test.npz",
        &saved(&[
            floats("x", "(2, 1)", &[10.0, 11.0]),
            floats("y", "(2, 1)", &[0.0; 2]),
        ]),
    );
    let mut settings = settings(&[("train", &train), ("test", &test)]);
    let shown = |settings: &Settings, iterations: &[u32]| -> Vec<f32> {
        let task = task(settings, &["x"], &["y"]);
        let keys = iterations.iter().flat_map(|iteration| {
            (0..2).map(|lane| EpisodeKey {
                iteration: *iteration,
                ..key(lane)
            })
        });
        keys.map(|key| play(&task, key).0[0].0[0]).collect()
    };
    assert_eq!(
        shown(&settings, &[0, 1, 2, 3]),
        [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 1.0]
    );
    let tested = task(&settings, &["x"], &["y"]);
    let of = |part, iteration, lane| {
        let key = EpisodeKey {
            iteration,
            part,
            ..key(lane)
        };
        play(&tested, key).0[0].clone()
    };
    let test = |iteration, lane| of(Part::Test, iteration, lane).0[0];
    assert_eq!([test(u32::MAX, 0), test(u32::MAX, 1)], [10.0, 11.0]);
    // Lanes that are left over show nothing that counts.
    assert_eq!(of(Part::Test, u32::MAX - 1, 0).4, [0.0]);
    assert_eq!(of(Part::Valid, u32::MAX, 0).0, [0.0]);
    assert_eq!(tested.sequences(Part::Test), Some(2));
    assert_eq!(tested.sequences(Part::Valid), None);
    settings.set("order", SettingValue::Word("shuffled"));
    let mut all = shown(&settings, &[0, 1, 2]);
    let again = shown(&settings, &[0, 1, 2]);
    assert_eq!(all, again);
    for epoch in all.chunks_mut(3) {
        epoch.sort_by(f32::total_cmp);
        assert_eq!(epoch, [0.0, 1.0, 2.0]);
    }
}

#[test]
fn what_does_not_fit_names_file_array_and_remedy() {
    let folder = Folder::new("misfits");
    let x = || floats("x", "(2, 3, 2)", &[0.0; 12]);
    let y = || floats("y", "(2, 3)", &[0.0; 6]);
    let told = |name: &str, arrays: &[(String, Vec<u8>)]| {
        let file = folder.file(name, &saved(arrays));
        let conflict = ports(&settings(&[("train", &file)]), &["x"], &["y"]).unwrap_err();
        assert_eq!(conflict.setting, "train");
        (conflict.message, conflict.help)
    };
    for (name, arrays, message, help) in [
        (
            "a.npz",
            vec![y()],
            "the number of steps is not known",
            "it has `y` [2, 3] of float32",
        ),
        (
            "b.npz",
            vec![
                floats("z", "(2, 3, 1)", &[0.0; 6]),
                floats("y", "(2, 3, 1)", &[0.0; 6]),
            ],
            "b.npz has no array `x`",
            "`z` [2, 3, 1] of float32",
        ),
        (
            "c.npz",
            vec![x()],
            "c.npz has no array for an output of the network (`y`)",
            "`x` [2, 3, 2] of float32",
        ),
        (
            "d.npz",
            vec![x(), floats("y", "(3, 3)", &[0.0; 9])],
            "array `y`: it is [3, 3] of float32, and there are 2 sequences of 3 steps",
            "[sequences, steps, size]",
        ),
        (
            "e.npz",
            vec![x(), y(), floats("weight", "(2,)", &[0.0; 2])],
            "array `weight`: it is [2] of float32",
            "[sequences, steps]",
        ),
        (
            "f.npz",
            vec![x(), y(), wholes("length", "(3,)", &[1; 3])],
            "array `length`: it is [3] of int64",
            "[sequences]",
        ),
        (
            "g.npz",
            vec![floats("x", "(0, 3, 2)", &[]), y()],
            "array `x`: it is [0, 3, 2]",
            "",
        ),
        (
            "h.npz",
            vec![x(), wholes("y", "(2, 3)", &[-1; 6])],
            "the largest is -1",
            "y.astype(np.float32)",
        ),
        (
            "i.npz",
            vec![x(), wholes("y", "(2, 3)", &[1 << 40; 6])],
            "the largest is 1099511627776",
            "y.astype(np.float32)",
        ),
        (
            "j.npz",
            vec![x(), y(), floats("start.h", "(3, 4)", &[0.0; 12])],
            "array `start.h`: it is [3, 4], and there are 2 sequences",
            "first values have the shape [sequences, ...]",
        ),
        (
            "k.npz",
            vec![x(), ("y.npy".to_owned(), b"\x80\x04".to_vec())],
            "array `y`: this is a pickle",
            "np.asarray(y",
        ),
    ] {
        let (found, remedy) = told(name, &arrays);
        assert!(found.contains(message) && found.contains(name), "{found}");
        assert!(remedy.contains(help), "{found}: {remedy}");
    }
    let nothing = ports(&settings(&[]), &["x"], &["y"]).unwrap_err();
    assert!(nothing.message.contains("needs a file"));

    let train = folder.file("train.npz", &saved(&[x(), y()]));
    for (name, arrays, message) in [
        (
            "steps.npz",
            vec![
                floats("x", "(2, 4, 2)", &[0.0; 16]),
                floats("y", "(2, 4)", &[0.0; 8]),
            ],
            "steps.npz has 4 steps",
        ),
        (
            "size.npz",
            vec![floats("x", "(2, 3, 1)", &[0.0; 6]), y()],
            "size.npz, array `x`: it is [2, 3, 1] of float32, and in",
        ),
        (
            "none.npz",
            vec![x(), floats("z", "(2, 3)", &[0.0; 6])],
            "none.npz has no array for an output",
        ),
    ] {
        let valid = folder.file(name, &saved(&arrays));
        let conflict = ports(
            &settings(&[("train", &train), ("valid", &valid)]),
            &["x"],
            &["y"],
        )
        .unwrap_err();
        assert_eq!(conflict.setting, "valid");
        assert!(conflict.message.contains(message), "{}", conflict.message);
    }
}

#[test]
fn what_is_no_number_is_told_with_its_place() {
    let folder = Folder::new("numbers");
    let fault = |name: &str, arrays: &[(String, Vec<u8>)]| {
        let file = folder.file(name, &saved(arrays));
        let task = task(&settings(&[("train", &file)]), &["x"], &["y", "c"]);
        let (steps, fault) = play(&task, key(1));
        assert!(steps.iter().all(|step| step
            .0
            .iter()
            .chain(&step.3)
            .chain(&step.4)
            .all(|x| x.is_finite())));
        let fault = fault.unwrap();
        assert!(fault.contains(name), "{fault}");
        fault
    };
    let sound = |name: &str| match name {
        "x" => floats("x", "(2, 2, 1)", &[0.0; 4]),
        "y" => floats("y", "(2, 2)", &[0.0; 4]),
        _ => wholes("c", "(2, 2)", &[0, 1, 2, 0]),
    };
    let (x, y, c) = (|| sound("x"), || sound("y"), || sound("c"));
    let bad = floats("x", "(2, 2, 1)", &[0.0, 0.0, 0.0, f32::INFINITY]);
    assert!(fault("a.npz", &[bad, y(), c()])
        .contains("array `x`, sequence 1, step 1 (counted from 0): inf"));
    let bad = floats("y", "(2, 2)", &[0.0, 0.0, f32::NAN, 0.0]);
    assert!(fault("b.npz", &[x(), bad, c()])
        .contains("array `y`, sequence 1, step 0 (counted from 0): NaN"));
    let bad = wholes("c", "(2, 2)", &[0, 1, -1, 0]);
    assert!(fault("c.npz", &[x(), y(), bad]).contains(
        "array `c`, sequence 1, step 0 (counted from 0): -1 is none of the classes 0 to 1"
    ));
    let bad = floats("weight", "(2, 2)", &[1.0, 1.0, 1.0, -1.0]);
    assert!(fault("d.npz", &[x(), y(), c(), bad])
        .contains("array `weight`, sequence 1, step 1 (counted from 0): -1 is no weight"));
    let bad = wholes("length", "(2,)", &[1, 3]);
    assert!(fault("e.npz", &[x(), y(), c(), bad])
        .contains("array `length`, sequence 1 (counted from 0): 3 is no length from 1 to 2"));
}
