use super::samples::{npy, npz, Folder};
use super::{Array, Source};
use std::path::Path;

fn values(array: &Array) -> Vec<f64> {
    (0..array.header.dims.iter().product())
        .map(|k| array.real(k))
        .collect()
}

fn opened(path: &Path) -> String {
    Source::open(path).unwrap_err().to_string()
}

#[test]
fn every_kind_of_element_in_both_kinds_of_archive() {
    let folder = Folder::new("elements");
    let mut members: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut add = |name, kind: &str, data: Vec<u8>| {
        members.push((name, npy(&format!("'{kind}'"), "False", "(3,)", &data)));
    };
    let bytes = |x: &[u8]| x.to_vec();
    add(
        "f2.npy",
        "<f2",
        bytes(&[0x00, 0x3e, 0x00, 0xc0, 0x00, 0x7c]),
    );
    add(
        "f4.npy",
        "<f4",
        [1.5f32, -2.0, f32::INFINITY]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect(),
    );
    add(
        "f8.npy",
        "<f8",
        [1.5f64, -2.0, f64::INFINITY]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect(),
    );
    add("i1.npy", "|i1", bytes(&[1, 0xff, 0x80]));
    add(
        "i2.npy",
        "<i2",
        [1i16, -1, -128]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect(),
    );
    add(
        "i4.npy",
        "<i4",
        [1i32, -1, -128]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect(),
    );
    add(
        "i8.npy",
        "<i8",
        [1i64, -1, -128]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect(),
    );
    add("u1.npy", "|u1", bytes(&[0, 7, 255]));
    add(
        "u2.npy",
        "<u2",
        [0u16, 7, 255]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect(),
    );
    add(
        "u4.npy",
        "<u4",
        [0u32, 7, 255]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect(),
    );
    add(
        "u8.npy",
        "<u8",
        [0u64, 7, 255]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect(),
    );
    add("b1.npy", "|b1", bytes(&[0, 1, 1]));
    for (file, method) in [("a.npz", false), ("b.npz", true)] {
        let source = Source::open(&folder.file(file, &npz(method, &members))).unwrap();
        assert_eq!(source.names().count(), 12);
        for name in source.names() {
            let array = source.array(name).unwrap();
            let expected = match &name[..1] {
                "f" => [1.5, -2.0, f64::INFINITY],
                "i" => [1.0, -1.0, -128.0],
                "u" => [0.0, 7.0, 255.0],
                _ => [0.0, 1.0, 1.0],
            };
            assert_eq!(values(&array), expected, "{name}");
            let mut row = [f32::NAN; 2];
            array.fill(1, &mut row);
            assert_eq!(row, [expected[1] as f32, expected[2] as f32], "{name}");
            let whole = (!name.starts_with('f')).then_some(expected[1] as i64);
            assert_eq!(array.whole(1), whole, "{name}");
        }
    }
}

#[test]
fn a_folder_of_arrays_and_a_file_of_tensors() {
    let folder = Folder::new("others");
    let data: Vec<u8> = [1f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    folder.file("x.npy", &npy("'<f4'", "False", "(2, 2)", &data));
    // With one axis longer than 1 there is one order.
    folder.file("y.npy", &npy("'<f4'", "True", "(1, 4)", &data));
    folder.file("notes.txt", b"not an array");
    let source = Source::open(&folder.0).unwrap();
    assert_eq!(
        source.describe(),
        "`x` [2, 2] of float32, `y` [1, 4] of float32"
    );
    assert_eq!(values(&source.array("y").unwrap()), [1.0, 2.0, 3.0, 4.0]);

    let header = br#"{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"f":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[4,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend([0x80, 0x3f, 0x00, 0xc0, 0, 0, 0, 0]);
    let source = Source::open(&folder.file("t.safetensors", &bytes)).unwrap();
    assert_eq!(values(&source.array("w").unwrap()), [1.0, -2.0]);
    let error = source.array("f").unwrap_err();
    assert!(
        error
            .message
            .contains("array `f`: its elements are of type F8_E4M3"),
        "{error}"
    );
    bytes.truncate(bytes.len() - 5);
    let error = opened(&folder.file("cut.safetensors", &bytes));
    assert!(
        error.contains("cut.safetensors is no sound .safetensors file"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_read_is_told_with_the_call_that_mends_it() {
    let folder = Folder::new("faults");
    let of = |kind: &str, order: &str, shape: &str| npy(kind, order, shape, &[0; 96]);
    let members = [
        ("o.npy", of("'|O'", "False", "(12,)")),
        ("s.npy", of("'<U2'", "False", "(12,)")),
        (
            "rec.npy",
            of("[('a', '<f4'), ('b', '<i4', (2,))]", "False", "(8,)"),
        ),
        ("be.npy", of("'>f8'", "False", "(12,)")),
        ("f.npy", of("'<f8'", "True", "(4, 3)")),
        ("c.npy", of("'<c8'", "False", "(12,)")),
        ("t.npy", of("'<M8[D]'", "False", "(12,)")),
        ("ld.npy", of("'<f16'", "False", "(6,)")),
        ("size.npy", of("'<f8'", "False", "(13,)")),
        ("pickle.npy", b"\x80\x04K\x01.".to_vec()),
        ("none.npy", b"hello".to_vec()),
        ("cut.npy", of("'<f8'", "False", "(12,)")[..20].to_vec()),
        (
            "over.npy",
            of("'<f8'", "False", "(1099511627776, 1099511627776)"),
        ),
        ("good.npy", of("'<f8'", "False", "(12,)")),
    ];
    let faults = [
        (
            "o",
            "Python objects",
            "np.array(o.tolist(), dtype=np.float32)",
        ),
        ("s", "texts", "np.unique(s, return_inverse=True)"),
        ("rec", "records with fields", "x=rec[\"x\"]"),
        ("be", "big-endian", "be.astype(np.float64)"),
        ("f", "Fortran order", "np.ascontiguousarray(f)"),
        (
            "c",
            "complex numbers",
            "np.stack([c.real, c.imag], axis=-1)",
        ),
        ("t", "times", "t.astype(np.int64)"),
        ("ld", "floats of 16 bytes", "ld.astype(np.float64)"),
        (
            "size",
            "its header says [13] of float64, which is 104 bytes, and 96 are there",
            "again",
        ),
        ("pickle", "pickle", "np.asarray(pickle, dtype=np.float32)"),
        ("none", "no array in NumPy's format", "np.save"),
        ("cut", "ends within its header", "np.save"),
        ("over", "more than any memory holds", "np.save"),
    ];
    for method in [false, true] {
        let source = Source::open(&folder.file("a.npz", &npz(method, &members))).unwrap();
        // One bad array does not spoil the others.
        assert_eq!(values(&source.array("good").unwrap()), [0.0; 12]);
        for (name, what, help) in faults {
            let error = source.array(name).unwrap_err();
            let place = format!("a.npz, array `{name}`: ");
            assert!(error.message.contains(&place), "{error}");
            assert!(error.message.contains(what), "{error}");
            assert!(error.help.contains(help), "{error}");
        }
        let error = source.array("label").unwrap_err();
        assert!(
            error.message.contains("a.npz has no array `label`"),
            "{error}"
        );
        assert!(error.help.contains("`be`, `c`, `cut`"), "{error}");
    }
}

#[test]
fn archives_that_are_cut_off_encrypted_or_something_else() {
    let folder = Folder::new("archives");
    let member = npy("'<f4'", "False", "(3,)", &[0; 12]);
    let sound = npz(false, &[("x.npy", member.clone())]);
    let error = opened(&folder.file("cut.npz", &sound[..100]));
    assert!(
        error.contains("cut.npz is only the beginning of a zip archive")
            && error.contains("(100 bytes)"),
        "{error}"
    );

    // Flags and method stand at 6 and 8 of the member, at 8 and 10 of its row in the list at the end.
    let list = sound.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let patched = |name: &str, at: usize, value: u8| {
        let mut bytes = sound.clone();
        bytes[6 + at] |= value;
        bytes[list + 8 + at] |= value;
        let source = Source::open(&folder.file(name, &bytes)).unwrap();
        source.array("x").unwrap_err().to_string()
    };
    let error = patched("secret.npz", 0, 1);
    assert!(
        error.contains("secret.npz, array `x`: it is encrypted"),
        "{error}"
    );
    let error = patched("bzip.npz", 2, 12);
    assert!(
        error.contains("bzip.npz, array `x`: it is compressed by"),
        "{error}"
    );

    let error = opened(&folder.file("p.npz", b"\x80\x04K\x01."));
    assert!(
        error.contains("p.npz is no .npz archive, but a pickle"),
        "{error}"
    );
    let error = opened(&folder.file("one.npy", &member));
    assert!(
        error.contains("it is one array; name the folder"),
        "{error}"
    );
    let error = opened(&folder.file("h.h5", b"\x89HDF\r\n"));
    assert!(error.contains("it is an HDF5 file"), "{error}");
    let error = opened(&folder.file("empty.npz", &npz(false, &[("a.txt", Vec::new())])));
    assert!(error.contains("empty.npz has no arrays in it"), "{error}");
    std::fs::create_dir(folder.0.join("nothing")).unwrap();
    assert!(opened(&folder.0.join("nothing")).contains("is a folder without .npy files"));
    assert!(opened(Path::new("no/such.npz")).contains("cannot read no/such.npz"));
}

#[test]
fn damage_within_a_compressed_array_is_told_where_it_is_read() {
    let folder = Folder::new("inflate");
    let data: Vec<u8> = (0..40_000u32)
        .flat_map(|k| (k.wrapping_mul(2_654_435_761)).to_le_bytes())
        .collect();
    let mut bytes = npz(true, &[("x.npy", npy("'<u4'", "False", "(40000,)", &data))]);
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    let source = Source::open(&folder.file("a.npz", &bytes)).unwrap();
    let error = source.array("x").unwrap_err();
    assert!(
        error
            .message
            .contains("a.npz, array `x`: inflated it is not what was written"),
        "{error}"
    );
}

#[test]
fn tables_are_padded_to_the_longest_sequence() {
    let folder = Folder::new("tables");
    let table = "sequence, x[1], x[0], label, cue\n7,1,2,0,0.5\n7,3,4,1,\n9,5,6,2,nan\n";
    let source = Source::open(&folder.file("a.csv", table.as_bytes())).unwrap();
    assert_eq!(
        source.describe(),
        "`cue` [2, 2] of float64, `label` [2, 2] of int64, `length` [2] of int64, `x` [2, 2, 2] of int64"
    );
    assert_eq!(
        values(&source.array("x").unwrap()),
        [2.0, 1.0, 4.0, 3.0, 6.0, 5.0, 0.0, 0.0]
    );
    assert_eq!(values(&source.array("length").unwrap()), [2.0, 1.0]);
    let cue = values(&source.array("cue").unwrap());
    assert!(cue[0] == 0.5 && cue[1].is_nan() && cue[2].is_nan() && cue[3] == 0.0);
    // With sequences of one length there is no array of lengths.
    let even = Source::open(&folder.file("b.csv", b"sequence,x\na,1\nb,2\n")).unwrap();
    assert_eq!(even.names().collect::<Vec<_>>(), ["x"]);

    for (name, table, expected) in [
        ("none.csv", "x,label\n1,2\n", "has no column `sequence`"),
        (
            "ragged.csv",
            "sequence,x\n1,2\n1,2,3\n",
            "has 3 cells in line 3, and its titles are 2",
        ),
        (
            "word.csv",
            "sequence,x\n1,two\n",
            "has `two` in line 2, column `x`, which is no number",
        ),
        (
            "again.csv",
            "sequence,x\n1,2\n2,3\n1,4\n",
            "has sequence `1` again in line 4",
        ),
        (
            "gap.csv",
            "sequence,x[0],x[2]\n1,2,3\n",
            "has a column `x[2]` that is there, and `x[1]` is not",
        ),
        (
            "twice.csv",
            "sequence,x,x\n1,2,3\n",
            "has a column `x` that is there twice",
        ),
        (
            "both.csv",
            "sequence,x,x[0]\n1,2,3\n",
            "has a column `x` that stands beside a title of the same name",
        ),
        ("rows.csv", "sequence,x\n", "has no rows"),
        ("empty.csv", "", "has no column `sequence`"),
        (
            "bytes.csv",
            "sequence,x\n1,\u{fffd}\n",
            "has `\u{fffd}` in line 2",
        ),
    ] {
        let error = opened(&folder.file(name, table.as_bytes()));
        assert!(error.contains(&format!("{name} {expected}")), "{error}");
    }
    let titles: String = (0..5000).map(|k| format!(",x[{k}]")).collect();
    let error = opened(&folder.file("wide.csv", format!("sequence{titles}\n").as_bytes()));
    assert!(
        error.contains("wide.csv has 5001 columns, and 4096 are the most"),
        "{error}"
    );
}
