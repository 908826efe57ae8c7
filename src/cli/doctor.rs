//! The command `bpmc doctor`.

use super::screen::Screen;
use super::Outcome;
use crate::machine::device::{self, DeviceKind, Nvrtc};
use crate::machine::vector_bits;
use anyhow::Context;
use candle_core::{utils, Device, Tensor};
use clap::Args;
use serde::Serialize;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  bpmc doctor                     a table to read, or to paste into a report
  bpmc doctor --json              the same as JSON";

/// Show what bpmc finds on this machine.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The findings. The field names are those of the JSON form.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    system: String,
    cpu_features: Vec<&'static str>,
    /// The bits of a vector in generated machine code; nothing if the interpreter runs every loop.
    machine_code_bits: Option<u32>,
    threads: Option<usize>,
    memory_bytes: Option<u64>,
    candle: Candle,
    gpu: Gpu,
    directory: Directory,
}

#[derive(Debug, Serialize)]
struct Candle {
    /// The check that a small product gave the correct result.
    works: bool,
    cuda: bool,
    metal: bool,
    mkl: bool,
    accelerate: bool,
}

/// The requirements of a GPU: each with its version, or the missing part and a remedy.
#[derive(Debug, Serialize)]
struct Gpu {
    /// The verdict: `true` if all requirements are met.
    works: bool,
    /// The GPU with cuBLAS, the driver and the free memory.
    device: String,
    /// NVIDIA's run-time compiler (NVRTC).
    nvrtc: String,
    /// The emulator of the kernels on the CPU (slow): its C compiler, or the reason why it cannot run.
    emulated: String,
}

impl Gpu {
    fn new() -> Gpu {
        let describe = |kind: DeviceKind| match device::open(kind.into()) {
            Ok(device) => {
                let free = device.free().map_or(String::new(), |bytes| {
                    format!(", {:.1} GiB free", bytes as f64 / f64::from(1 << 30))
                });
                Ok(format!("{}{free}", device.name()))
            }
            Err(error) => Err(error.to_string()),
        };
        let either = |found: Result<String, String>| found.unwrap_or_else(|missing| missing);
        let gpu = describe(DeviceKind::Cuda(0));
        let nvrtc = match Nvrtc::new() {
            Ok(nvrtc) => Ok(nvrtc.version()),
            Err(error) => Err(error.to_string()),
        };
        Gpu {
            works: gpu.is_ok() && nvrtc.is_ok(),
            device: either(gpu),
            nvrtc: either(nvrtc),
            emulated: either(describe(DeviceKind::Emulated)),
        }
    }
}

#[derive(Debug, Serialize)]
struct Directory {
    path: PathBuf,
    writable: bool,
}

/// Checks the machine and prints the findings.
pub fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    let report = Report::new();
    let text = if arguments.json {
        let json = serde_json::to_string(&report).context("cannot write the report as JSON")?;
        json + "\n"
    } else {
        report.table(screen.color())
    };
    screen.print(&text)
}

impl Report {
    fn new() -> Report {
        let path = std::env::current_dir().unwrap_or_default();
        Report {
            version: env!("CARGO_PKG_VERSION"),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpu_features: cpu_features(),
            machine_code_bits: vector_bits(),
            threads: std::thread::available_parallelism().ok().map(usize::from),
            memory_bytes: memory(),
            candle: Candle {
                works: candle_works().unwrap_or(false),
                cuda: utils::cuda_is_available(),
                metal: utils::metal_is_available(),
                mkl: utils::has_mkl(),
                accelerate: utils::has_accelerate(),
            },
            gpu: Gpu::new(),
            directory: Directory {
                writable: is_writable(&path),
                path,
            },
        }
    }

    fn table(&self, color: bool) -> String {
        let unknown = || "unknown".to_owned();
        let features = if self.cpu_features.is_empty() {
            "none of those bpmc looks for".to_owned()
        } else {
            self.cpu_features.join(" ")
        };
        let machine_code = self.machine_code_bits.map_or_else(
            || {
                "none: the CPU lacks AVX2 or FMA, so loops over connections are interpreted"
                    .to_owned()
            },
            |bits| format!("{bits}-bit vectors"),
        );
        let threads = self.threads.map_or_else(unknown, |n| n.to_string());
        let memory = self.memory_bytes.map_or_else(unknown, |bytes| {
            format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
        });
        let works = if self.candle.works {
            "works"
        } else {
            "FAILS: a small matrix product came out wrong"
        };
        let compiled = |yes: bool| if yes { "yes" } else { "not compiled in" };
        let directory = format!(
            "{} ({})",
            self.directory.path.display(),
            if self.directory.writable {
                "writable"
            } else {
                "NOT writable: give `--out` another place"
            }
        );
        let rows = [
            ("bpmc", self.version),
            ("system", self.system.as_str()),
            ("cpu features", features.as_str()),
            ("machine code", machine_code.as_str()),
            ("threads", threads.as_str()),
            ("memory", memory.as_str()),
            ("candle", works),
            ("  cuda", compiled(self.candle.cuda)),
            ("  metal", compiled(self.candle.metal)),
            ("  mkl", compiled(self.candle.mkl)),
            ("  accelerate", compiled(self.candle.accelerate)),
            ("gpu", self.gpu.device.as_str()),
            ("  nvrtc", self.gpu.nvrtc.as_str()),
            ("  emulated", self.gpu.emulated.as_str()),
            ("directory", directory.as_str()),
        ];
        let (bold, plain) = if color {
            ("\u{1b}[1m", "\u{1b}[0m")
        } else {
            ("", "")
        };
        rows.iter()
            .map(|(name, value)| format!("{bold}{name:<14}{plain}{value}\n"))
            .collect()
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<&'static str> {
    let all = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    all.iter()
        .filter(|(_, on)| *on)
        .map(|(name, _)| *name)
        .collect()
}

#[cfg(target_arch = "aarch64")]
fn cpu_features() -> Vec<&'static str> {
    let all = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
        (
            "dotprod",
            std::arch::is_aarch64_feature_detected!("dotprod"),
        ),
        ("sve", std::arch::is_aarch64_feature_detected!("sve")),
    ];
    all.iter()
        .filter(|(_, on)| *on)
        .map(|(name, _)| *name)
        .collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_features() -> Vec<&'static str> {
    Vec::new()
}

/// The bytes this process may use: the memory of the machine, or less if a control group limits it; `None`
/// outside Linux.
fn memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_memory(&text));
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min()
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn candle_works() -> candle_core::Result<bool> {
    let a = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    let product = a.matmul(&a)?.to_vec2::<f32>()?;
    Ok(product == [[7.0, 10.0], [15.0, 22.0]])
}

/// The test of a directory: creates a file in it and removes the file again.
fn is_writable(directory: &Path) -> bool {
    let path = directory.join(format!(".bpmc-doctor-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&path);
    made.is_ok() && std::fs::remove_file(&path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_kibibytes() {
        let text = "MemFree:  1 kB\nMemTotal:       16384000 kB\n";
        assert_eq!(total_memory(text), Some(16_384_000 * 1024));
        assert_eq!(total_memory("MemTotal: many\n"), None);
        assert_eq!(total_memory(""), None);
    }

    #[test]
    fn candle_multiplies() {
        assert!(candle_works().unwrap());
    }

    #[test]
    fn a_directory_that_is_not_there_is_not_writable_and_nothing_is_left_behind() {
        let directory = std::env::temp_dir().join(format!("bpmc-doctor-{}", std::process::id()));
        assert!(!is_writable(&directory));
        std::fs::create_dir(&directory).unwrap();
        assert!(is_writable(&directory));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        std::fs::remove_dir(&directory).unwrap();
    }

    #[test]
    fn the_table_has_a_line_for_each_thing_and_no_colour_unless_asked() {
        let report = Report::new();
        let plain = report.table(false);
        assert_eq!(plain.lines().count(), 15);
        assert!(plain.starts_with("bpmc          0."), "{plain}");
        assert!(!plain.contains('\u{1b}'));
        assert!(report.table(true).contains("\u{1b}[1mthreads"));
    }
}
