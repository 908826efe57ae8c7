//! Sparse bundles: the dense bundle with a mask is the oracle.

use crate::gradients::backends::compare;
use crate::gradients::run::{reference, run, Numbers};
use crate::gradients::spec::{check, compile, numbers};
use bpmc::ir::{Draw, Graph};

/// 1 where there is a connection. Some neurons have none.
fn mask(n: usize, p: usize, density: usize) -> Vec<Vec<f64>> {
    let exists = |i: usize, j: usize| (i * 7 + j * 5 + i * j) % 10 < density || (i, j) == (0, 0);
    let row = |i: usize| (0..p).map(|j| f64::from(u8::from(exists(i, j)))).collect();
    (0..n).map(row).collect()
}

/// A network with a recurrent and a forward bundle of all that bundles can have. The mask is a factor wherever it
/// matters, so `connect where mask` changes nothing but the work.
fn spec(n: usize, p: usize, density: usize, connect: bool) -> String {
    let connect = if connect { "connect where mask" } else { "" };
    let (rec, up) = (mask(n, n, density), mask(n, p, density));
    format!(
        "dim N = {n}
         dim P = {p}
         network net {{
           input x: [3]
           state h: [N] = 0, z: [P] = 0
           plastic rec: h -> y {{
             const mask = {rec:?} per connection
             {connect}
             weight w ~ uniform(-0.5, 0.5)
             coeff alpha ~ uniform(-0.5, 0.5)
             trained eta ~ uniform(0, 0.5) per post
             trained gain ~ uniform(0, 0.5) per pre
             noise xi ~ normal(0, 0.1)
             trace hebb = 0, e = 0
             transmit mask * (w + alpha * hebb)
             recall = sum_pre(mask * hebb * pre)
             load = sum_post(mask * w * post)
             length = norm_pre(mask * (w + hebb))
             hebb <- clip(hebb + mask * (eta * e * (post - recall) + 0.1 * xi), -0.9, 0.9)
             e <- 0.8 * e + mask * (gain * pre * post + 0.1 * load - 0.05 * length)
           }}
           plastic up: y -> o {{
             const mask = {up:?} per connection
             {connect}
             trained rate = 0.2
             trace f = 0.1
             transmit mask * f
             on post[0 .. 1] {{ f <- 0.9 * f + rate * mask * tanh(pre * post) }}
             when external trial_start {{ on post[1 .. P] {{ f <- 0.5 * f + rate * mask * post }} }}
           }}
           y = tanh(linear(x) + rec)
           o = tanh(up + 0.3 * linear(x))
           h <- y
           z <- o
           output out = linear(o, 2)
           output level = mean(y) + mean(rec.load) + mean(rec.recall)
         }}
         train supervised {{ loss = half_sum_squares, batch = 2, steps = 3 }}"
    )
}

const SIZES: [(usize, usize, usize); 6] = [
    (1, 2, 3),
    (3, 2, 5),
    (7, 13, 3),
    (13, 3, 9),
    (17, 33, 1),
    (33, 17, 2),
];

/// The elements of `dense` numbers that a sparse slot has, lane by lane.
fn picked(dense: &[f64], dims: [&[usize]; 2], masks: &[Vec<Vec<f64>>]) -> Vec<f64> {
    let [whole, part] = dims;
    if whole == part {
        return dense.to_vec();
    }
    let mask = masks
        .iter()
        .find(|mask| whole == [mask.len(), mask[0].len()])
        .unwrap();
    let (n, p) = (whole[0], whole[1]);
    let pairs = (0..p).flat_map(|j| (0..n).map(move |i| (i, j)));
    let places: Vec<usize> = pairs
        .filter(|(i, j)| mask[*i][*j] != 0.0)
        .map(|(i, j)| i * p + j)
        .collect();
    assert_eq!(part, [1, places.len()]);
    let lanes = dense.chunks_exact(n * p);
    lanes
        .flat_map(|lane| places.iter().map(|place| lane[*place]))
        .collect()
}

#[test]
fn a_sparse_bundle_is_the_dense_one_with_its_mask() {
    for (n, p, density) in SIZES.into_iter().filter(|(n, p, _)| n != p) {
        let [dense, sparse] = [false, true].map(|connect| {
            let graph = compile(&spec(n, p, density, connect)).step;
            assert!(graph.states.iter().any(|slot| slot.trace));
            graph
        });
        let masks = [mask(n, n, density), mask(n, p, density)];
        let lanes = 3;
        let mut whole = numbers(&dense, 7, (lanes, 4), 0.6, 0.4);
        for (slot, values) in dense.params.iter().zip(&mut whole.params) {
            if let (true, Draw::Given(given)) = (slot.path.ends_with(".mask"), &slot.init) {
                values.clone_from(&given.values);
            }
        }
        let pick = |values: &[Vec<f64>], dims: &dyn Fn(usize) -> [Vec<usize>; 2]| {
            let all = values.iter().enumerate();
            all.map(|(k, values)| {
                let [a, b] = dims(k);
                picked(values, [&a, &b], &masks)
            })
            .collect::<Vec<Vec<f64>>>()
        };
        let params = |k: usize| [dense.params[k].dims.clone(), sparse.params[k].dims.clone()];
        let states = |k: usize| [dense.states[k].dims.clone(), sparse.states[k].dims.clone()];
        let noises = |k: usize| [dense.noises[k].dims.clone(), sparse.noises[k].dims.clone()];
        let part = Numbers {
            params: pick(&whole.params, &params),
            states: pick(&whole.states, &states),
            noises: whole.noises.iter().map(|all| pick(all, &noises)).collect(),
            last: pick(&whole.last, &states),
            ..whole.clone()
        };
        // What does not exist has no adjoint in the sparse bundle, so it gets none in the dense one.
        for (k, values) in whole.last.iter_mut().enumerate() {
            let [a, b] = states(k);
            if a != b {
                let mask = masks.iter().find(|m| a == [m.len(), m[0].len()]).unwrap();
                let flat: Vec<f64> = mask.iter().flatten().copied().collect();
                for lane in values.chunks_exact_mut(flat.len()) {
                    lane.iter_mut().zip(&flat).for_each(|(x, m)| *x *= m);
                }
            }
        }
        let expected = run(&mut reference(&dense, lanes), &whole, 2);
        let found = run(&mut reference(&sparse, lanes), &part, 2);
        let near = |found: &[f64], expected: &[f64], what: &str| {
            assert_eq!(found.len(), expected.len(), "{what}");
            for (a, b) in found.iter().zip(expected) {
                let close = (a - b).abs() <= 1e-11 * (1.0 + b.abs());
                assert!(close, "{n} x {p}, {what}: {a} and {b}");
            }
        };
        for (a, b) in found.outputs.iter().zip(&expected.outputs) {
            for (a, b) in a.iter().zip(b) {
                near(a, b, "an output");
            }
        }
        for (k, slot) in dense.states.iter().enumerate() {
            let [a, b] = states(k);
            let of = |values: &[f64]| picked(values, [&a, &b], &masks);
            near(&found.states[k], &of(&expected.states[k]), &slot.path);
            near(
                &found.last_states[k],
                &of(&expected.last_states[k]),
                &slot.path,
            );
        }
        for (k, slot) in dense.params.iter().enumerate() {
            let ([a, b], Some(expected)) = (params(k), &expected.params[k]) else {
                continue;
            };
            if slot.trained {
                let expected = picked(expected, [&a, &b], &masks);
                near(found.params[k].as_ref().unwrap(), &expected, &slot.path);
            }
        }
    }
}

fn sparse(n: usize, p: usize, density: usize) -> Graph {
    compile(&spec(n, p, density, true)).step
}

#[test]
fn finite_differences_agree() {
    for (n, p, density) in [(1, 2, 3), (3, 2, 5), (4, 5, 3)] {
        let graph = sparse(n, p, density);
        for lanes in [1, 3] {
            let numbers = numbers(&graph, 11, (lanes, 3), 0.5, 0.3);
            check(&graph, &numbers, lanes, &format!("{n} x {p}"));
        }
    }
}

#[test]
fn backends_agree_at_odd_sizes() {
    for (n, p, density) in SIZES {
        compare(
            &sparse(n, p, density),
            41,
            0.5,
            &format!("sparse {n} x {p}"),
        );
    }
}

/// Means are over the connections that exist.
#[test]
fn means_count_connections() {
    let text = "network net {
        input x: [3]
        plastic up: x -> y {
          const mask = [[1, 0], [1, 0], [0, 0]] per connection
          connect where mask
          transmit 1
          got = mean_pre(2 * pre)
          sent = sum_post(1)
        }
        y: [2] = tanh(linear(x))
        output out = up.got
        output fan = up.sent
      }
      train supervised { loss = half_sum_squares, batch = 1, steps = 1 }";
    let graph = compile(text).step;
    let mut numbers = numbers(&graph, 3, (1, 1), 0.5, 0.5);
    numbers.inputs[0][0] = vec![1.0, 2.0, 5.0];
    let outcome = run(&mut reference(&graph, 1), &numbers, 1);
    assert_eq!(outcome.outputs[0][0], [3.0, 0.0]);
    assert_eq!(outcome.outputs[0][1], [1.0, 1.0, 0.0]);
}

/// The pattern of `bernoulli` depends on its seed alone, and is the mask that a run with this seed draws.
#[test]
fn a_drawn_pattern_is_that_of_its_seed() {
    let text = |draw: &str| {
        format!(
            "network net {{ input x: [40]
               plastic up: x -> y {{
                 const mask ~ {draw} per connection
                 connect where mask
                 weight w ~ uniform(0, 1)
                 transmit w * mask
               }}
               y: [30] = tanh(up)
               output out = y
             }}
             train supervised {{ loss = half_sum_squares, batch = 1, steps = 1 }}"
        )
    };
    let connections = |draw: &str| {
        let model = compile(&text(draw)).model;
        let found = model.bundles[0].connections.clone().unwrap();
        (found.pre, found.post)
    };
    let first = connections("bernoulli(0.1, seed = 4)");
    assert_eq!(first, connections("bernoulli(0.1, seed = 4)"));
    assert_ne!(first, connections("bernoulli(0.1, seed = 5)"));
    assert_ne!(first, connections("bernoulli(0.1)"));
    let count = first.0.at().len();
    assert!((60..190).contains(&count), "{count}");
    let dense = compile(&text("bernoulli(0.1)").replace("connect where mask", "")).step;
    let drawn = bpmc::engine::params::draw(&dense.params[0], 4);
    let mut pairs = first.0.at().iter().zip(first.1.at());
    let ones: f64 = drawn.iter().sum();
    assert_eq!(count as f64, ones);
    assert!(pairs.all(|(i, j)| drawn[*i as usize * 30 + *j as usize] == 1.0));
}

/// `--set` draws another pattern, and the model says which.
#[test]
fn the_command_line_gives_another_pattern() {
    let folder = crate::scratch::scratch("sparse_set");
    let spec = folder.join("net.bpm");
    let text = "network net {
      input x: [4]
      plastic up: x -> y {
        const mask ~ bernoulli(0.5, seed = 3) per connection
        connect where mask
        weight w ~ uniform(-0.1, 0.1)
        transmit w
      }
      y: [30] = tanh(up)
      output out = linear(y, 2)
    }
    train supervised { loss = half_sum_squares, batch = 2, steps = 3 }";
    std::fs::write(&spec, text).unwrap();
    let model = |seed: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_bpmc"))
            .args(["compile", spec.to_str().unwrap(), "--emit", "model"])
            .args(["--set", &format!("up.mask~bernoulli(0.5, seed = {seed})")])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.contains("connections, "));
        line.unwrap().to_owned()
    };
    assert_eq!(model("3"), model("3"));
    assert_ne!(model("3"), model("9"));
}
