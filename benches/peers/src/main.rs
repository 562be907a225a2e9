//! spanbridge beside what else there is: times, instructions, scaling, export, timed operations, real
//! HTTP; all in one run, the stacks in turn, and a result file with tables and plots at the end.
//!
//! Each stack runs in processes of its own, which are this program with other arguments.

mod account;
mod export;
#[path = "../../export/stacks.rs"]
mod export_stacks;
mod fastrace_stack;
mod goals;
mod hot;
mod http;
mod http_stacks;
mod instructions;
mod legacy;
mod loss;
mod machine;
mod plan;
mod plot;
mod propagation;
mod receiver;
mod report;
mod samples;
mod scaling;
mod sdk;
#[path = "../../shared/mod.rs"]
mod shared;
mod stacks;
#[path = "../../shared/theirs.rs"]
mod theirs;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;
use plan::Plan;

fn main() -> ExitCode {
    let is_child = shared::child::run_if_child(&[stacks::ALL, legacy::STACKS].concat())
        || shared::callgrind::run_if_counted(stacks::ALL)
        || shared::export::run_if_exporting(&export::stacks())
        || http_stacks::run_if_server();
    if is_child {
        return ExitCode::SUCCESS;
    }
    match run(&Plan::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("peers: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(plan: &Plan) -> Result<(), String> {
    let start = Instant::now();
    if plan.wants_http() {
        http::find_wrk()?;
    }
    let machine = machine::Machine::here();
    let say = |what: &str| eprintln!("[{:>4} s] {what}", start.elapsed().as_secs());
    say(&format!("{}, {}", machine.processor, machine.rustc));
    let mut quickest = u64::MAX;
    let mut results = report::Results {
        hot: hot::measure(plan, &say, &mut quickest),
        propagation: propagation::measure(plan, &say),
        instructions: instructions::count(plan, &say),
        scaling: scaling::measure(plan, &say),
        export: export::measure(plan, &say),
        legacy: legacy::measure(plan, &say, &mut quickest),
        http: http::measure(plan, &say)?,
        quickest_probe: 0,
        seconds: 0,
    };
    results.seconds = start.elapsed().as_secs();
    results.judge(quickest);
    let written = report::write(plan, &machine, &results)?;
    for file in written {
        println!("{}", file.display());
    }
    Ok(())
}
