//! Damaged files of arrays give a message or arrays, never a panic, and take little memory.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../src/learn/data/samples/format.rs"]
mod format;

use crate::scratch::scratch;
use bpmc::learn::data::Source;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::{Path, PathBuf};

thread_local! {
    /// The largest single allocation of this thread since it was last set to 0.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, watched.
struct Watched;

fn watch(size: usize) {
    // A thread that ends has none any more.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        watch(layout.size());
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as for the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        watch(layout.size());
        // SAFETY: as for the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        watch(size);
        // SAFETY: as for the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Most bytes that a file of a few hundred may ask for at once; readers and inflaters have buffers of fixed sizes.
const MOST: usize = 8 << 20;

/// An array in NumPy's format.
pub fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    format::npy(&format!("'{kind}'"), "False", shape, data)
}

fn floats(count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|k| (k as f32 * 0.5).to_le_bytes())
        .collect()
}

fn npz(deflated: bool) -> Vec<u8> {
    let labels: Vec<u8> = (0..6i64).flat_map(i64::to_le_bytes).collect();
    let members = [
        ("x", npy("<f4", "(3, 2, 4)", &floats(24))),
        ("label", npy("<i8", "(3, 2)", &labels)),
    ];
    archive(deflated, &members)
}

/// An archive of arrays, stored or deflated.
pub fn archive(deflated: bool, arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let named = arrays
        .iter()
        .map(|(name, bytes)| (format!("{name}.npy"), bytes.clone()));
    let named: Vec<(String, Vec<u8>)> = named.collect();
    let members: Vec<(&str, Vec<u8>)> = named
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone()))
        .collect();
    format::npz(deflated, &members)
}

fn tensors() -> Vec<u8> {
    let header = br#"{"x":{"dtype":"F32","shape":[3,2,4],"data_offsets":[0,96]}}     "#;
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header);
    out.extend(floats(24));
    out
}

const TABLE: &[u8] =
    b"sequence,x[0],x[1],label\na,1,2.5,0\na,3,-4,1\nb,5,1e3,2\nb,nan,,1\nc,0,0,0\n";

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }
}

/// Reads all there is; the sum keeps the reads from being taken away.
fn read(path: &Path) -> Result<f64, String> {
    let source = Source::open(path).map_err(|error| error.to_string())?;
    let names: Vec<String> = source.names().map(str::to_owned).collect();
    let mut sum = 0.0;
    for name in names {
        match source.array(&name) {
            Ok(array) => {
                let count: usize = array.header.dims.iter().product();
                let mut row = vec![0.0; count];
                array.fill(0, &mut row);
                sum += row.iter().map(|x| f64::from(*x)).sum::<f64>();
                for k in 0..count {
                    sum += array.real(k) + array.whole(k).unwrap_or(0) as f64;
                }
            }
            Err(error) => assert!(!error.message.is_empty()),
        }
    }
    Ok(sum)
}

/// A directory for thousands of files: in memory where there is such a place.
fn folder(name: &str) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if !memory.is_dir() {
        return scratch(name);
    }
    let path = memory.join(format!("bpmc-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Changes a few bytes, cuts the end off, or writes bytes of one place over another.
fn damaged(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut out = bytes.to_vec();
    match numbers.below(4) {
        0 => out.truncate(numbers.below(bytes.len())),
        1 => {
            let at = numbers.below(bytes.len());
            let end = (at + 1 + numbers.below(8)).min(bytes.len());
            out[at..end].fill([0, 0x7f, 0xff][numbers.below(3)]);
        }
        2 => {
            let (from, to) = (numbers.below(bytes.len()), numbers.below(bytes.len()));
            let length = numbers.below(16).min(bytes.len() - from.max(to));
            out.copy_within(from..from + length, to);
        }
        _ => {
            for _ in 0..=numbers.below(4) {
                let at = numbers.below(bytes.len());
                out[at] = numbers.below(256) as u8;
            }
        }
    }
    out
}

#[test]
fn damaged_files_give_messages() {
    let folder = folder("data_files_damaged");
    let seeds = [
        ("a.npz", npz(false)),
        ("b.npz", npz(true)),
        ("c.safetensors", tensors()),
        ("d.csv", TABLE.to_vec()),
        ("e/x.npy", npy("<f4", "(3, 2, 4)", &floats(24))),
    ];
    std::fs::create_dir(folder.join("e")).unwrap();
    let mut numbers = Numbers(1);
    for (name, sound) in seeds {
        let path = folder.join(name);
        let opened = if name == "e/x.npy" {
            folder.join("e")
        } else {
            path.clone()
        };
        std::fs::write(&path, &sound).unwrap();
        read(&opened).unwrap();
        let mut refused = 0;
        for k in 0..4000 {
            let bytes = damaged(&sound, &mut numbers);
            std::fs::write(&path, &bytes).unwrap();
            LARGEST.set(0);
            if let Err(message) = read(&opened) {
                refused += 1;
                assert!(!message.is_empty());
                assert!(message.len() < 2000, "{name} {k}: {message}");
            }
            let largest = LARGEST.get();
            assert!(
                largest < MOST,
                "{name} {k}: {largest} bytes at once for {}",
                bytes.len()
            );
        }
        assert!(refused > 0 || name == "e/x.npy", "{name}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn lies_about_sizes_take_no_memory() {
    let folder = folder("data_files_lies");
    let path = folder.join("a.npz");
    let shapes = [
        "(1000000000000,)",
        "(4294967296, 4294967296)",
        "(18446744073709551615,)",
        "(99999999999999999999999,)",
        "(0, 18446744073709551615, 18446744073709551615)",
        "(-1,)",
        "((((((((((",
    ];
    let names: Vec<String> = (0..shapes.len()).map(|k| format!("x{k}")).collect();
    let arrays: Vec<(&str, Vec<u8>)> = names
        .iter()
        .zip(shapes)
        .map(|(name, shape)| (name.as_str(), npy("<f4", shape, &[0; 4])))
        .collect();
    std::fs::write(&path, archive(true, &arrays)).unwrap();
    LARGEST.set(0);
    let source = Source::open(&path).unwrap();
    for name in &names {
        let error = source.array(name).unwrap_err();
        assert!(error.message.contains("header"), "{error}");
    }
    assert!(LARGEST.get() < MOST);

    let path = folder.join("wide.csv");
    let titles: String = (0..1_000_000).map(|k| format!(",x[{k}]")).collect();
    std::fs::write(&path, format!("sequence{titles}\n")).unwrap();
    drop(titles);
    LARGEST.set(0);
    let error = Source::open(&path).unwrap_err();
    assert!(
        error.message.contains("columns, and 4096 are the most"),
        "{error}"
    );
    assert!(LARGEST.get() < MOST);
    std::fs::remove_dir_all(folder).unwrap();
}
