//! Counts the instructions and heap allocations of the hot path, and of the timings beside it, under
//! valgrind.
//!
//! `spanbridge-instructions check FILE` compares with the figures in FILE and fails where one grew;
//! `update FILE` writes them. Run by `.ci/instructions`, which sees to valgrind.

mod figures;
mod legacy;
#[path = "../../shared/mod.rs"]
mod shared;

use std::process::{Command, ExitCode};
use std::{env, fs};

use figures::{Change, Figures, Row, compare};
use shared::stack::Stack;
use shared::work::Work;
use shared::{callgrind, floor, ours};

const STACKS: &[Stack] =
    &[ours::REGISTRY, floor::FLOOR, ours::SAMPLED, ours::UNSAMPLED, ours::NO_LAYER, ours::OFF];

fn main() -> ExitCode {
    if legacy::run_if_counted() || callgrind::run_if_counted(STACKS) {
        return ExitCode::SUCCESS;
    }
    let args: Vec<_> = env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["check", file] => check(file),
        ["update", file] => update(file),
        _ => Err("usage: spanbridge-instructions check|update FILE".to_owned()),
    };
    match result {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("instructions: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn check(file: &str) -> Result<ExitCode, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let committed = Figures::parse(&text).map_err(|problem| format!("{file}: {problem}"))?;
    let counted = count()?;
    let is_same_compiler = committed.rustc == counted.rustc;
    println!(
        "{:<20} {:<22} {:>9} {:>9} {:>8}  allocations",
        "work", "stack", "committed", "now", "change"
    );
    let mut grown = 0;
    for (row, before, change) in compare(&committed.rows, &counted.rows) {
        print(row, before, &change);
        grown += usize::from(matches!(change, Change::Grown | Change::Gone));
    }
    if grown == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let advice = "either find out why, or, if it is worth it, commit what \
                  `.ci/instructions update` writes and say so";
    if is_same_compiler {
        eprintln!(
            "instructions: {grown} grew by more than 5 %, or allocate, or are gone; {advice}"
        );
        return Ok(ExitCode::FAILURE);
    }
    eprintln!(
        "instructions: {grown} grew, but the figures are of {}, and this is {}: not failed for it. \
         Commit what `.ci/instructions update` writes with this compiler",
        committed.rustc, counted.rustc
    );
    Ok(ExitCode::SUCCESS)
}

fn print(row: &Row, before: Option<&Row>, change: &Change) {
    let committed = before.map_or_else(|| "-".to_owned(), |row| format!("{:.0}", row.instructions));
    let ratio = before.map_or_else(String::new, |before| {
        format!("{:+.1} %", (row.instructions / before.instructions - 1.0) * 100.0)
    });
    let word = match change {
        Change::Same => "",
        Change::Less => "  less: commit what `update` writes",
        Change::Grown => "  GROWN",
        Change::New => "  new: commit what `update` writes",
        Change::Gone => "  GONE",
    };
    println!(
        "{:<20} {:<22} {committed:>9} {:>9.0} {ratio:>8}  {:.2}{word}",
        row.work, row.stack, row.instructions, row.allocations
    );
}

fn update(file: &str) -> Result<ExitCode, String> {
    let text = count()?.to_text();
    fs::write(file, &text).map_err(|error| format!("{file}: {error}"))?;
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

fn count() -> Result<Figures, String> {
    let file = env::temp_dir().join(format!("spanbridge-instructions-{}", std::process::id()));
    let mut rows = Vec::new();
    for work in Work::ALL {
        for stack in STACKS {
            let count = callgrind::count(stack.name, work, &file)
                .map_err(|error| format!("{}, {}: {error}", work.name(), stack.name))?;
            rows.extend(count.map(|count| Row::new(work.name(), stack.name, count)));
        }
    }
    for case in &legacy::CASES {
        let count = case.count(&file).map_err(|error| format!("{}: {error}", case.work))?;
        rows.extend(count.map(|count| Row::new(case.work, case.stack, count)));
    }
    Ok(Figures { rustc: rustc()?, rows })
}

fn rustc() -> Result<String, String> {
    let output = Command::new("rustc")
        .arg("--version")
        .output()
        .map_err(|error| format!("rustc cannot be asked for its version: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
