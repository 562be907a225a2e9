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

use figures::{Change, Compared, Figures, Row, compare};
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
    if committed.rustc != counted.rustc {
        println!(
            "The figures are of {}, and this is {}: \"expected\" is what was committed, times what \
             has become of the registry alone",
            committed.rustc, counted.rustc
        );
    }
    println!(
        "{:<20} {:<22} {:>9} {:>9} {:>8}  allocations",
        "work", "stack", "expected", "now", "change"
    );
    let compared = compare(&committed, &counted);
    compared.iter().for_each(print);
    let failed = compared.iter().filter(|compared| compared.change.is_failure()).count();
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "instructions: {failed} grew by too much, or allocate, or are on one side only; either find \
         out why, or, if it is worth it, commit what `.ci/instructions update` writes and say so"
    );
    Ok(ExitCode::FAILURE)
}

fn print(compared: &Compared<'_>) {
    let Compared { row, expected, change } = compared;
    let ratio = expected.map_or_else(String::new, |expected| {
        format!("{:+.1} %", (row.instructions / expected - 1.0) * 100.0)
    });
    let expected = expected.map_or_else(|| "-".to_owned(), |expected| format!("{expected:.0}"));
    let word = match change {
        Change::Same => "",
        Change::Less => "  less: commit what `update` writes",
        Change::Grown => "  GROWN",
        Change::New => "  NEW",
        Change::Gone => "  GONE",
    };
    println!(
        "{:<20} {:<22} {expected:>9} {:>9.0} {ratio:>8}  {:.2}{word}",
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
