//! How fast logs are read: lines that do not matter, a usual mixture, and nothing but blocks.
//!
//! The logs are in memory, so no disk is measured, and the spans are dropped, so no exporter is.
//! `irrelevant` is what the goal of 200 MB/s is about; most of a real log is that. In `json` all is
//! wrapped as Docker does it, and in `gzip` the mixture is unpacked on the way.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Write as _};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_sdk::trace::SpanData;
use spanbridge::import::{Importer, Options, Problem, Receiver};

const BYTES: usize = 32 << 20;

/// Less where it is only seen whether the benchmark runs.
fn bytes() -> usize {
    if std::env::args().any(|argument| argument == "--test") { 1 << 16 } else { BYTES }
}

const LINES: [&str; 4] = [
    "I0310 11:12:14.000000       1 httplog.go:132] \"HTTP\" verb=\"GET\" URI=\"/api/v1/namespaces/\
     kube-system/pods?limit=500\" latency=\"1.482ms\" userAgent=\"kubelet/v1.27.6\" srcIP=\"[::1]\" resp=200",
    "W0310 11:12:14.000001       1 reflector.go:533] Tracing is not what this line is about",
    "E0310 11:12:14.000002       1 controller.go:113] loading OpenAPI spec failed with: failed to \
     retrieve openAPI spec, http error: ResponseCode: 503, Body: service unavailable",
    "2025-03-10 11:12:14.000003 W | etcdserver: read-only range request took too long to execute",
];

fn block(number: usize) -> [String; 5] {
    [
        format!(
            "I0310 11:12:15.421402  608045 trace.go:236] Trace[{number}]: \"Update\" \
             accept:application/json, */*,audit-id:1e1a3c43-309d-4753-99b4-040e62aac141,client:::1,\
             verb:PUT (10-Mar-2025 11:12:14.863) (total time: 557ms):"
        ),
        format!(
            "Trace[{number}]: [\"GuaranteedUpdate etcd3\" key:/leases/node-1 557ms (11:12:14.863)"
        ),
        format!("Trace[{number}]:  ---\"Txn call completed\" 557ms (11:12:15.420)]"),
        format!(
            "Trace[{number}]: ---\"Write to database call finished\" len:3885,err:<nil> 0ms (11:12:15.420)"
        ),
        format!("Trace[{number}]: [557.959949ms] [557.959949ms] END"),
    ]
}

/// A log with this many other lines for each block, or without blocks.
fn log(others: usize, has_blocks: bool, wrap: impl Fn(&str) -> String) -> Vec<u8> {
    let mut text = String::new();
    let mut number = 0;
    while text.len() < bytes() {
        for line in LINES.iter().cycle().take(others) {
            let _ = writeln!(text, "{}", wrap(line));
        }
        if has_blocks {
            for line in block(number) {
                let _ = writeln!(text, "{}", wrap(&line));
            }
            number += 1;
        }
    }
    text.into_bytes()
}

struct Drop;

impl Receiver for Drop {
    fn spans(&mut self, spans: Vec<SpanData>) -> io::Result<()> {
        black_box(spans);
        Ok(())
    }

    fn problem(&mut self, problem: &Problem) -> io::Result<()> {
        panic!("{problem}");
    }
}

fn import(mut log: &[u8]) -> u64 {
    let mut importer = Importer::new(Options::default());
    importer.read("log", &mut log, &mut Drop).expect("nothing fails");
    importer.finish(&mut Drop).expect("nothing fails").spans()
}

fn benches(c: &mut Criterion) {
    let plain = str::to_owned;
    let docker = |line: &str| {
        let log = serde_json::Value::from(format!("{line}\n"));
        format!("{{\"log\":{log},\"stream\":\"stderr\",\"time\":\"2025-03-10T10:12:15.4215Z\"}}")
    };
    let mixture = log(500, true, plain);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&mixture).expect("memory takes it");
    let packed = gzip.finish().expect("memory takes it");
    let size = mixture.len();

    let mut group = c.benchmark_group("import");
    group.sample_size(10);
    for (name, log, size) in [
        ("irrelevant", log(1_000, false, plain), None),
        ("one_line_in_a_hundred", mixture, None),
        ("one_line_in_a_hundred_gzip", packed, Some(size)),
        ("one_line_in_a_hundred_json", log(500, true, docker), None),
        ("only_blocks", log(0, true, plain), None),
    ] {
        group.throughput(Throughput::Bytes(size.unwrap_or(log.len()) as u64));
        group.bench_function(name, |b| b.iter(|| import(black_box(&log))));
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
