use super::{path_hash, scaled, Key, Place, Stream};
use rand_core::RngCore;

fn place() -> Place {
    Key::new(1, Stream::Task).at(2, 3, 4)
}

#[test]
fn every_part_of_the_address_matters() {
    let base = Key::new(7, Stream::Action).block(1, 2, 3, 4);
    let others = [
        Key::new(7 | 1 << 63, Stream::Action).block(1, 2, 3, 4),
        Key::new(7 | 1 << 33, Stream::Action).block(1, 2, 3, 4),
        Key::new(6, Stream::Action).block(1, 2, 3, 4),
        Key::new(7, Stream::Task).block(1, 2, 3, 4),
        Key::new(7, Stream::Noise(0)).block(1, 2, 3, 4),
        Key::new(7, Stream::Noise(1)).block(1, 2, 3, 4),
        Key::new(7, Stream::Dropout(0)).block(1, 2, 3, 4),
        Key::new(7, Stream::Init(0)).block(1, 2, 3, 4),
        Key::new(7, Stream::Init(1 << 40)).block(1, 2, 3, 4),
        Key::new(7, Stream::Action).block(2, 2, 3, 4),
        Key::new(7, Stream::Action).block(1, 3, 3, 4),
        Key::new(7, Stream::Action).block(1, 2, 4, 4),
        Key::new(7, Stream::Action).block(1, 2, 3, 5),
    ];
    for (k, other) in others.iter().enumerate() {
        assert_ne!(base, *other, "case {k}");
        assert!(!others[..k].contains(other), "case {k}");
    }
    assert_eq!(base, Key::new(7, Stream::Action).at(1, 2, 3).block(4));
}

#[test]
fn streams_have_different_words() {
    let streams = [
        Stream::Init(0),
        Stream::Init(1),
        Stream::Init(1 << 32),
        Stream::Task,
        Stream::Action,
        Stream::Noise(0),
        Stream::Noise(1),
        Stream::Shuffle,
        Stream::Dropout(0),
        Stream::Dropout(1),
    ];
    for (k, a) in streams.iter().enumerate() {
        for b in &streams[..k] {
            assert_ne!(a.words(), b.words());
        }
    }
}

#[test]
fn path_hash_is_fnv_1a() {
    assert_eq!(path_hash(""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(path_hash("foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn uniforms_lie_in_the_unit_interval_and_fill_it() {
    let mut bins = [0usize; 10];
    for k in 0..20_000 {
        let x = place().uniform(k);
        assert!((0.0..1.0).contains(&x));
        bins[(x * 10.0) as usize] += 1;
        assert!((0.0..1.0).contains(&place().uniform_f32(k)));
    }
    assert!(bins.iter().all(|n| (1800..2200).contains(n)), "{bins:?}");
}

#[test]
fn below_is_even_and_in_range() {
    let mut bins = [0usize; 7];
    for k in 0..14_000 {
        bins[place().below(k, 7)] += 1;
    }
    assert!(bins.iter().all(|n| (1800..2200).contains(n)), "{bins:?}");
    assert_eq!(place().below(0, 0), 0);
    assert_eq!(place().below(0, 1), 0);
}

#[test]
fn below_rejects_the_remainder() {
    // 2⁶⁴ = 3 k + 1: exactly one word must be rejected.
    assert_eq!(scaled(0, 3), None);
    assert_eq!(scaled(1, 3), Some(0));
    assert_eq!(scaled(u64::MAX, 3), Some(2));
    // A power of two divides evenly.
    assert_eq!(scaled(0, 4), Some(0));
    // Just over 2⁶³: nearly half of all words are rejected, and the draw still ends.
    let n = (1usize << 63) + 1;
    assert!((0..50).all(|k| place().below(k, n) < n));
}

#[test]
fn normals_come_in_independent_pairs() {
    let n = 20_000u32;
    let draws: Vec<f64> = (0..n).map(|k| place().normal(k)).collect();
    let mean = draws.iter().sum::<f64>() / f64::from(n);
    let variance = draws.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
    let pairs = draws.chunks(2).map(|p| p[0] * p[1]).sum::<f64>() / f64::from(n / 2);
    let tail = draws.iter().filter(|x| x.abs() > 1.96).count() as f64 / f64::from(n);
    assert!(mean.abs() < 0.03, "{mean}");
    assert!((variance - 1.0).abs() < 0.05, "{variance}");
    assert!(pairs.abs() < 0.04, "{pairs}");
    assert!((tail - 0.05).abs() < 0.008, "{tail}");
}

#[test]
fn draws_read_the_blocks_in_order() {
    let mut draws = place().draws();
    let words: Vec<u32> = (0..8).map(|_| draws.next_u32()).collect();
    assert_eq!(words[..4], place().block(0));
    assert_eq!(words[4..], place().block(1));

    let mut bytes = [0u8; 6];
    place().draws().fill_bytes(&mut bytes);
    assert_eq!(bytes[..4], place().block(0)[0].to_le_bytes());
}

#[test]
fn shuffle_reaches_every_order_evenly() {
    let mut counts = std::collections::BTreeMap::new();
    for lane in 0..6000 {
        let mut items = [0, 1, 2];
        Key::new(3, Stream::Shuffle)
            .at(0, 0, lane)
            .draws()
            .shuffle(&mut items);
        *counts.entry(items).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 6);
    assert!(
        counts.values().all(|n| (880..1120).contains(n)),
        "{counts:?}"
    );
}
