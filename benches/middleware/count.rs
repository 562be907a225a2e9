//! A child process for each row, under valgrind or by itself.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use crate::rows::{ROWS, Row, Service};

/// What a child is started with, before the name of its row, what to count and how often.
pub(crate) const FLAG: &str = "--row";

/// Until pools and tables have their size.
const WARM_UP: u32 = 500;

/// What is counted is the difference of the two, so that what happens once does not count.
const ITERATIONS: (u32, u32) = (64, 1_088);

/// What the C library chooses by processor, chosen for all of them.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX2_Usable,-AVX2,-AVX_Fast_Unaligned_Load,-AVX,-ERMS";

pub(crate) fn instructions(row: &Row, file: &Path) -> Result<f64, String> {
    let (few, more) = ITERATIONS;
    let total = |iterations| total(row, file, iterations);
    Ok((total(more)? - total(few)?) as f64 / f64::from(more - few))
}

fn total(row: &Row, file: &Path, iterations: u32) -> Result<i64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--fair-sched=yes", "--separate-threads=yes"])
        .args(["--collect-atstart=no", "--toggle-collect=*count::measured*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args([FLAG, row.name, "instructions", &iterations.to_string()])
        .env("GLIBC_TUNABLES", TUNABLES)
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    // One file for each thread; the first is the one that works.
    let profile = fs::read_to_string(format!("{}-01", file.display()));
    for thread in 1..100 {
        let _ = fs::remove_file(format!("{}-{thread:02}", file.display()));
    }
    let profile = profile.map_err(|error| format!("valgrind left nothing: {error}"))?;
    let line = profile
        .lines()
        .find_map(|line| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")));
    let total = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    total.ok_or_else(|| "valgrind's profile has no totals".to_owned())
}

pub(crate) fn allocations(row: &Row) -> f64 {
    let program = std::env::current_exe().expect("a running benchmark has a path");
    let iterations = ITERATIONS.1;
    let output = Command::new(program)
        .args([FLAG, row.name, "allocations", &iterations.to_string()])
        .output()
        .expect("the benchmark can start itself");
    let said = String::from_utf8_lossy(&output.stdout);
    let all: f64 = said.trim().parse().expect("the child answers with a number");
    all / f64::from(iterations)
}

/// The child's side.
#[allow(clippy::print_stdout, reason = "it answers on standard output")]
pub(crate) fn run(args: &[String]) {
    let [name, what, iterations] = args else { panic!("{FLAG} NAME WHAT ITERATIONS") };
    let row = ROWS.iter().find(|row| row.name == name).expect("there is such a row");
    let iterations = iterations.parse().expect("iterations are a number");
    with_service(row, |service| {
        service.requests(WARM_UP);
        if what == "instructions" {
            measured(service, iterations);
        } else {
            let counted = allocation_counter::measure(|| service.requests(iterations));
            println!("{}", counted.count_total);
        }
    });
}

/// Runs the row, and that is all.
pub(crate) fn smoke(row: &Row) {
    let program = std::env::current_exe().expect("a running benchmark has a path");
    let status = Command::new(program).args([FLAG, row.name, "instructions", "3"]).status();
    assert!(status.is_ok_and(|status| status.success()), "{} fails", row.name);
}

fn with_service(row: &Row, f: impl FnOnce(&Service)) {
    let guard = row.layer.install();
    f(&Service::new(row));
    drop(guard);
}

/// valgrind counts what this and all that it calls executes.
#[inline(never)]
fn measured(service: &Service, iterations: u32) {
    service.requests(black_box(iterations));
}
