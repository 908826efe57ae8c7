//! The choice of the device of a command.

use super::options::{Device, Devices};
use super::screen::Screen;
use super::Failure;
use crate::learn::trainer::{BackendKind, Trainer, TrainerOptions};
use crate::machine::device::{self, DeviceChoice, DeviceKind};
use crate::step::Compiled;
use std::time::Instant;

/// The number of iterations, of which the fastest counts and the first is ignored.
const ITERATIONS: usize = 4;

/// The device asked for, or with `auto` the faster one.
///
/// # Errors
/// Fails if there is no such device, or it does not fit the other options.
pub fn choose(
    devices: &Devices,
    program: &Compiled,
    options: TrainerOptions,
    screen: &Screen,
) -> Result<DeviceChoice, Failure> {
    let choice = |kind| DeviceChoice {
        kind,
        matmul: devices.matmul,
    };
    let chosen = match devices.device {
        Device::One(DeviceKind::Cpu) => DeviceChoice::CPU,
        Device::One(kind) => choice(kind),
        Device::Auto => faster(program, options, choice(DeviceKind::Cuda(0)), screen)?,
    };
    let on_gpu = chosen.kind != DeviceKind::Cpu;
    if devices.deterministic && on_gpu && options.backend == BackendKind::Candle {
        return Err(Failure::Usage(
            "`--deterministic`: Candle on a GPU may add in any order; use `--backend fused`, or `--device cpu`"
                .to_owned(),
        ));
    }
    Ok(chosen)
}

/// The faster of the CPU and a GPU; shows the reason.
fn faster(
    program: &Compiled,
    options: TrainerOptions,
    gpu: DeviceChoice,
    screen: &Screen,
) -> Result<DeviceChoice, Failure> {
    let on_gpu = match device::open(gpu) {
        Err(error) => Err(error.to_string()),
        Ok(_) => seconds(program, options, gpu),
    };
    let on_gpu = match on_gpu {
        Ok(seconds) => seconds,
        Err(reason) => {
            screen.say(&format!("device auto: cpu, because {reason}"));
            return Ok(DeviceChoice::CPU);
        }
    };
    let on_cpu = seconds(program, options, DeviceChoice::CPU);
    let on_cpu = on_cpu.map_err(|reason| Failure::Run(anyhow::anyhow!(reason)))?;
    let (chosen, word) = if on_gpu < on_cpu {
        (gpu, "the GPU")
    } else {
        (DeviceChoice::CPU, "the CPU")
    };
    screen.say(&format!(
        "device auto: {word}; an iteration took {:.2} ms on the GPU and {:.2} ms on {} threads",
        on_gpu * 1e3,
        on_cpu * 1e3,
        options.threads
    ));
    Ok(chosen)
}

/// The seconds per iteration on a device.
fn seconds(
    program: &Compiled,
    options: TrainerOptions,
    device: DeviceChoice,
) -> Result<f64, String> {
    let options = TrainerOptions { device, ..options };
    let mut trainer = Trainer::new(program, options).map_err(|error| error.to_string())?;
    let mut best = f64::INFINITY;
    for k in 0..=ITERATIONS {
        let start = Instant::now();
        trainer.step().map_err(|error| error.to_string())?;
        if k > 0 {
            best = best.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(best)
}

/// The command-line arguments that choose this device.
pub fn words(choice: DeviceChoice) -> Vec<String> {
    match choice.to_string().split_once(' ') {
        None if choice.kind == DeviceKind::Cpu => Vec::new(),
        None => vec![format!("--device {choice}")],
        Some((kind, matmul)) => vec![format!("--device {kind}"), format!("--matmul {matmul}")],
    }
}
