//! How fast records are scanned, over NDJSON in memory: `cargo bench --bench scan`.

use std::{
    hint::black_box,
    path::{Path, PathBuf},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stoker::fhir::Scanner;

#[path = "../support/data.rs"]
#[expect(dead_code, reason = "the tests use what the bench does not")]
mod data;

fn lines(folder: &Path) -> Vec<u8> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(folder.join("ndjson"))
        .into_iter()
        .filter_map(Result::ok)
        .map(walkdir::DirEntry::into_path)
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "ndjson")
        })
        .collect();
    files.sort();
    let mut text = Vec::new();
    for file in files {
        text.extend(fs_err::read(file).expect("the file can be read"));
        text.push(b'\n');
    }
    text
}

fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    for name in ["synthea-bulk-ndjson-10", "synthea-r4-2021-smoke"] {
        let Some(folder) = data::set(name) else {
            continue;
        };
        let text = lines(&folder);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            let mut scanner = Scanner::new();
            bencher.iter(|| {
                let mut references = 0;
                for line in text
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty())
                {
                    references += scanner
                        .scan(line)
                        .expect("the line is JSON")
                        .references
                        .len();
                }
                black_box(references)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);
