use super::{find, Optimizer};
use crate::lang::settings::{SettingValue, Settings};

fn build(name: &str, changes: &[(&'static str, f64)]) -> Box<dyn Optimizer> {
    let entry = find(name).unwrap();
    let mut settings = Settings::defaults(entry.info.settings);
    for (name, value) in changes {
        settings.set(name, SettingValue::Real(*value));
    }
    (entry.build)(&settings, &[2, 1]).unwrap()
}

fn step(optimizer: &mut dyn Optimizer, (a, b): &mut ([f32; 2], [f32; 1]), n: usize) {
    let gradients = [
        [0.1, -0.2, 0.3],
        [-0.4, 0.05, 0.0],
        [0.2, 0.2, -1.0],
        [1.0, -0.1, 0.25],
    ][n];
    let gradients = [gradients[..2].to_vec(), gradients[2..].to_vec()];
    optimizer.step(&mut [a, b], &gradients, 1.0);
}

/// Runs four steps from (0.5, -1.5), (2).
fn run(optimizer: &mut dyn Optimizer) -> [f32; 3] {
    let mut parameters = ([0.5, -1.5], [2.0]);
    for n in 0..4 {
        step(optimizer, &mut parameters, n);
    }
    assert_eq!(optimizer.state().steps, 4);
    [parameters.0[0], parameters.0[1], parameters.1[0]]
}

fn assert_near(ours: [f32; 3], theirs: [f64; 3]) {
    for (a, b) in ours.iter().zip(theirs) {
        assert!((f64::from(*a) - b).abs() < 5e-7, "{ours:?} {theirs:?}");
    }
}

// The expected numbers come from the definitions evaluated with 40 decimal digits.

#[test]
fn adam() {
    assert_near(
        run(build("adam", &[("lr", 0.01), ("eps", 1e-6)]).as_mut()),
        [0.4917887016, -1.4866684403, 1.9902677142],
    );
    let coupled = &[
        ("lr", 0.05),
        ("beta1", 0.8),
        ("beta2", 0.99),
        ("eps", 1e-2),
        ("l2", 0.1),
    ];
    assert_near(
        run(build("adam", coupled).as_mut()),
        [0.4399998748, -1.3578296481, 1.91493434],
    );
}

#[test]
fn adamw() {
    assert_near(
        run(build("adamw", &[("lr", 0.05), ("weight_decay", 0.3)]).as_mut()),
        [0.4309121873, -1.3481234818, 1.836877959],
    );
}

#[test]
fn rmsprop() {
    assert_near(
        run(build("rmsprop", &[("lr", 0.01), ("decay", 0.9)]).as_mut()),
        [0.455517237, -1.4882011493, 1.9911099056],
    );
    let following = &[
        ("lr", 0.02),
        ("decay", 0.8),
        ("eps", 1e-2),
        ("momentum", 0.9),
        ("weight_decay", 0.2),
    ];
    assert_near(
        run(build("rmsprop", following).as_mut()),
        [0.3643668394, -1.2550628035, 1.8187432787],
    );
}

#[test]
fn sgd() {
    let decay = ("weight_decay", 0.2);
    assert_near(
        run(build("sgd", &[("lr", 0.1), decay]).as_mut()),
        [0.37058816, -1.3791304, 1.88950056],
    );
    assert_near(
        run(build("sgd", &[("lr", 0.1), ("momentum", 0.9), decay]).as_mut()),
        [0.34741856, -1.2123064, 1.71417696],
    );
    let entry = find("sgd").unwrap();
    let mut settings = Settings::defaults(entry.info.settings);
    settings.set("nesterov", SettingValue::Bool(true));
    let refused = (entry.build)(&settings, &[2, 1]).err().unwrap();
    assert_eq!(refused.setting, "nesterov");
    settings.set("lr", SettingValue::Real(0.1));
    settings.set("momentum", SettingValue::Real(0.9));
    assert_near(
        run((entry.build)(&settings, &[2, 1]).unwrap().as_mut()),
        [0.352409, -1.470493, 2.100647],
    );
}

#[test]
fn the_rate_scales_the_step() {
    for name in ["sgd", "adam"] {
        let mut whole = build(name, &[("lr", 0.25)]);
        let mut half = build(name, &[("lr", 0.5)]);
        let (mut a, mut b) = ([1.0, 2.0], [1.0, 2.0]);
        let gradients = [vec![0.3, -0.7], vec![]];
        whole.step(&mut [&mut a, &mut []], &gradients, 1.0);
        half.step(&mut [&mut b, &mut []], &gradients, 0.5);
        assert_eq!(a, b, "{name}");
        assert!(a != [1.0, 2.0]);
    }
}

#[test]
fn a_restored_state_goes_on_to_the_same_bits() {
    for (name, changes) in [
        ("adam", &[("lr", 0.05), ("l2", 0.1)][..]),
        ("adamw", &[("lr", 0.05)]),
        ("sgd", &[("lr", 0.1), ("momentum", 0.9)]),
    ] {
        let uninterrupted = run(build(name, changes).as_mut());
        let mut parameters = ([0.5, -1.5], [2.0]);
        let mut first = build(name, changes);
        step(first.as_mut(), &mut parameters, 0);
        step(first.as_mut(), &mut parameters, 1);
        let mut second = build(name, changes);
        *second.state_mut() = first.state().clone();
        step(second.as_mut(), &mut parameters, 2);
        step(second.as_mut(), &mut parameters, 3);
        let resumed = [parameters.0[0], parameters.0[1], parameters.1[0]];
        assert_eq!(resumed, uninterrupted, "{name}");
    }
}
