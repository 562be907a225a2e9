//! What `ServerTracing` costs a request, and each of its options: instructions, counted by valgrind's
//! tool callgrind, and heap allocations. Run by `cargo bench --all-features --bench middleware`, which
//! needs valgrind; with `-- --test` every row is run a few times and nothing is counted.
//!
//! A request goes through an actix-web application in this process: no sockets, a route with one
//! parameter, a handler that answers with a text. All rows but `bare` have the middleware. What is
//! printed is what a row has over the row that it is compared with. Each row runs in a process of its
//! own, since a process has one global subscriber. What is counted is the thread of the request: not
//! the worker that exports, which here throws spans away.

mod count;
mod rows;

use std::fs;
use std::path::PathBuf;

use rows::{ROWS, Row};

fn main() {
    let args: Vec<_> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == count::FLAG) {
        count::run(&args[at + 1..]);
        return;
    }
    if args.iter().any(|arg| arg == "--test") {
        for row in ROWS {
            count::smoke(row);
        }
        return;
    }
    report();
}

#[allow(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn report() {
    let file = std::env::temp_dir().join(format!("middleware-{}", std::process::id()));
    let costs: Vec<_> = ROWS.iter().map(|row| (row, cost(row, &file))).collect();
    println!("{:<34} {:>12} {:>12}  over", "row", "instructions", "allocations");
    for (row, cost) in &costs {
        let base = costs.iter().find(|(other, _)| other.name == row.over);
        let (instructions, allocations) = match base {
            Some((_, base)) => (cost.0 - base.0, cost.1 - base.1),
            None => *cost,
        };
        println!("{:<34} {instructions:>12.0} {allocations:>12.1}  {}", row.name, row.over);
    }
}

/// Instructions and allocations of one request.
fn cost(row: &Row, file: &PathBuf) -> (f64, f64) {
    let instructions = count::instructions(row, file).unwrap_or_else(|problem| {
        panic!("{}: {problem}", row.name);
    });
    let _ = fs::remove_file(file);
    (instructions, count::allocations(row))
}
