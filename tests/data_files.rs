//! Damaged files of arrays give a message or arrays, never a panic, and take little memory.

use bpmc::learn::data::Source;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The largest single allocation so far.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

struct Measured;

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Measured {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as for the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Measured = Measured;

/// One test at a time: they share [`LARGEST`].
static TURN: Mutex<()> = Mutex::new(());

/// Most bytes that a file of a few hundred may ask for at once; readers and inflaters have buffers of fixed sizes.
const MOST: usize = 8 << 20;

fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.push_str(&" ".repeat(length - 1 - header.len()));
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((length as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

fn floats(count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|k| (k as f32 * 0.5).to_le_bytes())
        .collect()
}

fn npz(method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    let labels: Vec<u8> = (0..6i64).flat_map(i64::to_le_bytes).collect();
    for (name, bytes) in [
        ("x.npy", npy("<f4", "(3, 2, 4)", &floats(24))),
        ("label.npy", npy("<i8", "(3, 2)", &labels)),
    ] {
        archive.start_file(name, options).unwrap();
        archive.write_all(&bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
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

fn folder(name: &str) -> PathBuf {
    // Thousands of files are written: in memory where there is such a place.
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    let path = base.join(format!("bpmc-data-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
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
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder("fuzz");
    let seeds = [
        ("a.npz", npz(CompressionMethod::Stored)),
        ("b.npz", npz(CompressionMethod::Deflated)),
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
            LARGEST.store(0, Ordering::Relaxed);
            if let Err(message) = read(&opened) {
                refused += 1;
                assert!(!message.is_empty());
                assert!(message.len() < 2000, "{name} {k}: {message}");
            }
            let largest = LARGEST.load(Ordering::Relaxed);
            assert!(
                largest < MOST,
                "{name} {k}: {largest} bytes at once for {}",
                bytes.len()
            );
        }
        println!("{name}: {refused} of 4000 refused as a whole");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn lies_about_sizes_take_no_memory() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder("lies");
    let path = folder.join("a.npz");
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (k, shape) in [
        "(1000000000000,)",
        "(4294967296, 4294967296)",
        "(18446744073709551615,)",
        "(99999999999999999999999,)",
        "(0, 18446744073709551615, 18446744073709551615)",
        "(-1,)",
        "((((((((((",
    ]
    .iter()
    .enumerate()
    {
        archive.start_file(format!("x{k}.npy"), options).unwrap();
        archive.write_all(&npy("<f4", shape, &[0; 4])).unwrap();
    }
    std::fs::write(&path, archive.finish().unwrap().into_inner()).unwrap();
    LARGEST.store(0, Ordering::Relaxed);
    let source = Source::open(&path).unwrap();
    for k in 0..7 {
        let error = source.array(&format!("x{k}")).unwrap_err();
        assert!(error.message.contains("header"), "{error}");
    }
    assert!(LARGEST.load(Ordering::Relaxed) < MOST);

    let path = folder.join("wide.csv");
    let titles: String = (0..1_000_000).map(|k| format!(",x[{k}]")).collect();
    std::fs::write(&path, format!("sequence{titles}\n")).unwrap();
    drop(titles);
    LARGEST.store(0, Ordering::Relaxed);
    let error = Source::open(&path).unwrap_err();
    assert!(
        error.message.contains("columns, and 4096 are the most"),
        "{error}"
    );
    assert!(LARGEST.load(Ordering::Relaxed) < MOST);
    std::fs::remove_dir_all(folder).unwrap();
}
