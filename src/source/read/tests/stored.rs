//! Compressed and damaged files.

use super::*;

#[test]
fn compressed_sources_read_as_plain_ones() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(folder.path().join("spool"), 1 << 20).unwrap();
    let lines = "{\"id\":\"1\"}\n{\"id\":\"2\"}\n";
    let zstd = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    let cases = [
        ("a.ndjson.gz", gzip(lines.as_bytes()), None),
        ("a.ndjson.zst", zstd.clone(), None),
        ("b.ndjson.gz", lines.as_bytes().to_vec(), Some("is not")),
        ("c.ndjson.gz", zstd, Some("another way")),
        ("b.ndjson", gzip(lines.as_bytes()), Some("another way")),
    ];
    for (name, bytes, note) in cases {
        let source = file(folder.path(), name, &bytes);
        for spool in [None, Some(&spool)] {
            let (seen, reading) = read_all(&source, spool);
            assert_eq!(seen.items, ["0 1 line 1", "1 2 line 2"], "{name}");
            let reading = reading.unwrap();
            assert_eq!((reading.records, reading.bytes), (2, lines.len() as u64));
            assert_eq!(reading.fingerprint.unwrap().stamp.size, bytes.len() as u64);
            assert_eq!(reading.note.is_some(), note.is_some());
            if let Some(path) = reading.plain {
                let mut plain = Vec::new();
                fs_err::File::open(path)
                    .unwrap()
                    .read_to_end(&mut plain)
                    .unwrap();
                assert_eq!(plain, lines.as_bytes());
            }
        }
    }
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(spool.folder()), mode(&spool.path(SourceId(7)))),
        (0o700, 0o600)
    );
    let bundle = file(folder.path(), "b.json.gz", &gzip(BUNDLE.as_bytes()));
    assert_eq!(read_all(&bundle, None).0, read_all(&bundle, Some(&spool)).0);
}

#[test]
fn cut_compressed_sources_keep_what_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(folder.path().join("spool"), 1 << 30).unwrap();
    let lines: Vec<String> = (0..50_000_u64)
        .map(|n| format!("{{\"id\":\"{}\"}}\n", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
        .collect();
    let lines = lines.concat();
    let whole = gzip(lines.as_bytes());
    let cut = &whole[..whole.len() / 2];
    let source = file(folder.path(), "a.ndjson.gz", cut);
    let mut told = Vec::new();
    for spool in [None, Some(&spool)] {
        let (mut seen, reading) = read_all(&source, spool);
        let reading = reading.unwrap();
        // The cut file stays the same file.
        assert_eq!(reading.fingerprint.unwrap().stamp.size, cut.len() as u64);
        assert_eq!(reading.malformed, 1);
        assert!(reading.records > 10_000);
        let last = seen.items.pop().unwrap();
        assert_eq!(seen.items.len() as u64, reading.records);
        let line = format!(
            "{0} the gzip data is cut here at {1}:",
            reading.records,
            reading.records + 1
        );
        assert!(
            last.starts_with(&line) && last.contains("fetch the file again"),
            "{last}"
        );
        assert!(lines.starts_with(std::str::from_utf8(&seen.spans[0].1).unwrap()));
        told.push((seen.items, last));
    }
    assert_eq!(told[0], told[1]);
    let small = Spool::new(folder.path().join("small"), 100).unwrap();
    let source = file(folder.path(), "a.ndjson.gz", &whole);
    assert!(matches!(
        read_all(&source, Some(&small)).1.unwrap_err().kind,
        ErrorKind::SpoolFull { cap: 100 }
    ));
}

#[test]
fn a_damaged_file_is_told_and_nothing_of_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(folder.path().join("spool"), 1 << 20).unwrap();
    let lines = "{\"id\":\"1\"}\n".repeat(1000);
    let mut spoilt = gzip(lines.as_bytes());
    let length = spoilt.len();
    spoilt[length - 6] ^= 1;
    let mut gone = file(folder.path(), "gone.ndjson", b"{}");
    let Origin::File(path) = &gone.origin else {
        panic!("{gone:?}");
    };
    fs_err::remove_file(path).unwrap();
    gone.id = SourceId(8);
    let cases = [
        (
            file(folder.path(), "a.json.gz", &gzip(BUNDLE.as_bytes())[..60]),
            "0 the gzip data is cut here at 1:1",
        ),
        (
            file(folder.path(), "b.ndjson.gz", b""),
            "0 the file is empty, and is to be compressed data at 1:1",
        ),
        (
            file(folder.path(), "b.json.zst", b""),
            "0 the file is empty, and is to be compressed data at 1:1",
        ),
        (
            file(folder.path(), "c.ndjson.gz", &spoilt),
            "0 the gzip data is spoilt at 1:1",
        ),
        (gone, "0 the file is not there any more at 1:1"),
        (
            SourceFile {
                id: SourceId(9),
                origin: Origin::File(folder.path().to_owned()),
                form: Form::Ndjson,
            },
            "0 the file cannot be read",
        ),
    ];
    for (source, expected) in cases {
        for spool in [None, Some(&spool)] {
            let (seen, reading) = read_all(&source, spool);
            assert_eq!(seen.items.len(), 1, "{seen:?}");
            assert!(seen.items[0].starts_with(expected), "{seen:?}");
            assert!(seen.items[0].contains(" ("), "no hint: {seen:?}");
            assert_eq!(reading.unwrap().malformed, 1);
        }
    }
}
