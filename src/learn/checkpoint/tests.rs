use super::file::{decode, encode, Problem};
use super::{
    Averaging, BestSoFar, BestTracker, Checkpoint, CheckpointError, Header, Pending, Tensor,
};
use crate::engine::params::ParamStore;
use crate::ir::rng::{Key, Stream};
use crate::ir::{Draw, ParamSlot};
use crate::lang::settings::{SettingValue, Settings};
use crate::learn::optim::{self, Optimizer};
use std::path::{Path, PathBuf};

fn slot(path: &str, dims: &[usize], trained: bool) -> ParamSlot {
    ParamSlot {
        path: path.to_owned(),
        dims: dims.to_vec(),
        trained,
        init: Draw::Normal(0.0, 1.0),
        grad_scale: 1.0,
        span: None,
    }
}

fn slots() -> Vec<ParamSlot> {
    vec![
        slot("rec.w", &[2, 3], true),
        slot("rec.mask", &[3], false),
        slot("rec.eta", &[], true),
    ]
}

fn optimizer(name: &str, momentum: f64) -> Box<dyn Optimizer> {
    let entry = optim::find(name).unwrap();
    let mut settings = Settings::defaults(entry.info.settings);
    if name == "sgd" {
        settings.set("momentum", SettingValue::Real(momentum));
    }
    (entry.build)(&settings, &[6, 1]).unwrap()
}

fn header() -> Header {
    Header {
        spec: "agent \"ü\"".to_owned(),
        spec_hash: "00ff".to_owned(),
        seed: u64::MAX,
        iteration: 12,
        version: "0.1.0".to_owned(),
        optimizer: None,
        pending: Some(Pending {
            iterations: 2,
            sums: vec![0.1 + 0.2, -1e-300],
            counts: vec![7, 3],
        }),
        standing: Some(BestTracker {
            sum: 1.0 / 3.0,
            weight: 0.7,
            best: Some(BestSoFar {
                iteration: 9,
                value: -2.5e-9,
            }),
            lowest: Some(0.1),
            since: 3,
        }),
        averaging: Some(Averaging {
            begun: true,
            steps: 3,
            validations: vec![5.5, 1.0 / 3.0],
        }),
        rollbacks: 1,
    }
}

/// A run after one step, and its checkpoint.
fn sample() -> (ParamStore, Box<dyn Optimizer>, Checkpoint) {
    let mut store = ParamStore::init(&slots(), 1);
    let mut adam = optimizer("adam", 0.0);
    let gradients = [vec![0.5, -0.25, 0.0, 1.0, 2.0, -3.0], vec![0.125]];
    adam.step(&mut store.trained_values_mut(), &gradients, 1.0);
    let mut checkpoint = Checkpoint::capture(header(), &store, Some(adam.as_ref()));
    checkpoint.states.insert(
        "average".to_owned(),
        Tensor {
            dims: vec![2, 1],
            values: vec![0.5, f32::NEG_INFINITY],
        },
    );
    (store, adam, checkpoint)
}

/// A temporary directory, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("bpmc-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_written_is_read() {
    let directory = Directory::new("round-trip");
    let path = directory.0.join("a.safetensors");
    let (store, adam, checkpoint) = sample();
    std::fs::write(&path, "what was there before").unwrap();
    checkpoint.write(&path).unwrap();
    let read = Checkpoint::read(&path).unwrap();
    assert_eq!(read, checkpoint);
    assert_eq!(read.header.seed, u64::MAX);
    assert_eq!(read.moments.len(), 4);
    let left: Vec<_> = std::fs::read_dir(&directory.0).unwrap().collect();
    assert_eq!(left.len(), 1, "no temporary file stays");

    let mut other = ParamStore::init(&slots(), 2);
    let mut fresh = optimizer("adam", 0.0);
    read.restore_parameters(&mut other).unwrap();
    read.restore_optimizer(&other, fresh.as_mut()).unwrap();
    assert_eq!(other, store);
    assert_eq!(fresh.state(), adam.state());
}

#[test]
fn equal_checkpoints_are_equal_bytes() {
    let bytes = encode(&sample().2).unwrap();
    for _ in 0..20 {
        assert!(encode(&sample().2).unwrap() == bytes);
        assert!(encode(&decode(&bytes).unwrap()).unwrap() == bytes);
    }
    let mut other = sample().2;
    other.header.iteration += 1;
    assert!(encode(&other).unwrap() != bytes);
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = encode(&sample().2).unwrap();
    for length in 0..bytes.len() {
        match decode(&bytes[..length]) {
            Err(Problem::Corrupt(reason)) => assert!(!reason.is_empty()),
            other => panic!("{length}: {other:?}"),
        }
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(decode(&longer), Err(Problem::Corrupt(_))));
}

#[test]
fn every_damaged_bit_is_noticed_or_harmless() {
    let checkpoint = sample().2;
    let bytes = encode(&checkpoint).unwrap();
    let mut harmless = 0;
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(read) = decode(&damaged) {
            assert!(read == checkpoint, "bit {bit}");
            harmless += 1;
        }
    }
    // Only white space of the header can change without changing the meaning.
    assert!(harmless < 64, "{harmless}");
}

#[test]
fn random_damage_never_panics() {
    let bytes = encode(&sample().2).unwrap();
    for case in 0..3000 {
        let mut draws = Key::new(8, Stream::Shuffle).at(case, 0, 0).draws();
        let mut damaged = bytes.clone();
        for _ in 0..=draws.below(20) {
            let place = draws.below(damaged.len());
            damaged[place] = draws.below(256) as u8;
        }
        damaged.truncate(bytes.len() - draws.below(3));
        let _ = decode(&damaged);
    }
}

#[test]
fn other_files_are_told_apart() {
    let view = || {
        let data: &[u8] = &[0; 4];
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], data).unwrap()
    };
    let plain = safetensors::serialize([("w", view())], None).unwrap();
    assert!(matches!(decode(&plain), Err(Problem::NotOurs)));
    let with = |text: &str| {
        let metadata = [("bpmc".to_owned(), text.to_owned())].into();
        safetensors::serialize([("w", view())], Some(metadata)).unwrap()
    };
    assert!(matches!(
        decode(&with("{\"format\":2,\"news\":[]}")),
        Err(Problem::OtherFormat(2))
    ));
    assert!(matches!(decode(&with("{}")), Err(Problem::Corrupt(_))));
    assert!(matches!(
        decode(&with("{\"format\":1}")),
        Err(Problem::Corrupt(_))
    ));

    let missing = Checkpoint::read(Path::new("no/such/file")).unwrap_err();
    assert!(missing
        .to_string()
        .starts_with("cannot read the checkpoint no/such/file: "));
    let refused = sample().2.write(Path::new("no/such/file")).unwrap_err();
    assert!(matches!(refused, CheckpointError::Unwritable { .. }));
}

#[test]
fn a_spec_that_does_not_fit_is_told_why() {
    let (_, _, checkpoint) = sample();
    let message = |slots: &[ParamSlot]| {
        let mut store = ParamStore::init(slots, 2);
        let before = store.clone();
        let error = checkpoint.restore_parameters(&mut store).unwrap_err();
        assert_eq!(store, before, "all or nothing");
        error.to_string()
    };
    let mut more = slots();
    more.push(slot("rec.alpha", &[2], true));
    assert_eq!(
        message(&more),
        "the checkpoint has no parameter `rec.alpha`, which the spec declares"
    );
    assert_eq!(
        message(&slots()[..2]),
        "the checkpoint has a parameter `rec.eta`, which the spec does not declare"
    );
    let mut turned = slots();
    turned[0].dims = vec![3, 2];
    assert_eq!(
        message(&turned),
        "`rec.w` is [2, 3] in the checkpoint and [3, 2] in the spec"
    );

    let store = ParamStore::init(&slots(), 1);
    let message = |checkpoint: &Checkpoint, mut optimizer: Box<dyn Optimizer>| {
        let error = checkpoint.restore_optimizer(&store, optimizer.as_mut());
        assert_eq!(optimizer.state().steps, 0);
        error.unwrap_err().to_string()
    };
    assert_eq!(
        message(&checkpoint, optimizer("sgd", 0.0)),
        "the checkpoint was written with the optimizer `adam`, and the spec trains with `sgd`"
    );
    let without = Checkpoint::capture(header(), &store, None);
    assert_eq!(
        message(&without, optimizer("adam", 0.0)),
        "the checkpoint was written with no optimizer, and the spec trains with `adam`"
    );
    let plain = Checkpoint::capture(header(), &store, Some(optimizer("sgd", 0.0).as_ref()));
    assert_eq!(
        message(&plain, optimizer("sgd", 0.5)),
        "the checkpoint has no moment `velocity` of `rec.w`: the optimizer had other settings"
    );
}
