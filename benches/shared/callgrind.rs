//! Instructions and heap allocations, counted by valgrind's tool callgrind: within a hundredth the
//! same on every run and every machine, which times are not.

use std::collections::HashSet;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use super::sink;
use super::work::{Op, Work};

/// What a child that is counted starts with, before the names of stack and work.
pub(crate) const FLAG: &str = "--counted";

/// Until pools, tables and buffers have their size.
const WARM_UP: u64 = 2_000;

/// Spans, few and more, so far apart that what happens only now and then, as when a chunk is handed
/// over, happens as often as it should.
const ITERATIONS: (u64, u64) = (64, 2_112);

/// What the C library chooses by processor, chosen for all of them: no wide registers, and copies
/// by loops, of which each step counts.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX2_Usable,-AVX2,-AVX_Fast_Unaligned_Load,-AVX,-ERMS";

/// Of one iteration, on the thread that does the work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
}

/// Why nothing could be counted.
#[derive(Debug)]
pub(crate) enum CountError {
    /// There is no valgrind, or it could not be started.
    Valgrind(io::Error),
    /// valgrind or the child failed, and said so.
    Failed(String),
}

impl std::fmt::Display for CountError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Valgrind(error) => write!(f, "valgrind cannot be started: {error}"),
            Self::Failed(words) => write!(f, "counting failed: {words}"),
        }
    }
}

/// Runs this program again, as a child under valgrind, once for few iterations and once for more;
/// what is counted is the difference. `file` is where valgrind leaves what it finds, and is removed
/// again. `None` where the stack cannot do the work.
pub(crate) fn count(stack: &str, work: Work, file: &Path) -> Result<Option<Count>, CountError> {
    let (few, more) = ITERATIONS;
    count_by_name(stack, work.name(), (few * work.a_span(), more * work.a_span()), file)
}

/// The same for any work, with the numbers of iterations that suit it.
pub(crate) fn count_by_name(
    stack: &str,
    work: &str,
    (few, more): (u64, u64),
    file: &Path,
) -> Result<Option<Count>, CountError> {
    let Some(start) = total(stack, work, few, file)? else { return Ok(None) };
    let Some(end) = total(stack, work, more, file)? else { return Ok(None) };
    let each = |few_cost: u64, cost: u64| (cost as f64 - few_cost as f64) / (more - few) as f64;
    Ok(Some(Count {
        instructions: each(start.instructions, end.instructions),
        allocations: each(start.allocations, end.allocations),
    }))
}

/// What the work costs in one child.
struct Total {
    instructions: u64,
    allocations: u64,
}

fn total(
    stack: &str,
    work: &str,
    iterations: u64,
    file: &Path,
) -> Result<Option<Total>, CountError> {
    let program = std::env::current_exe().map_err(CountError::Valgrind)?;
    let output = Command::new("valgrind")
        // Threads take turns, as they would with cores of their own; each is counted by itself.
        .args(["--tool=callgrind", "--quiet", "--fair-sched=yes", "--separate-threads=yes"])
        .args(["--collect-atstart=no", "--toggle-collect=*callgrind::measured*"])
        .args(["--dump-instr=yes", "--dump-line=no", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args([FLAG, stack, work, &iterations.to_string()])
        .env("GLIBC_TUNABLES", TUNABLES)
        .output()
        .map_err(CountError::Valgrind)?;
    let words = String::from_utf8_lossy(&output.stderr);
    let threads = threads_of(file);
    // The first thread is the one that works.
    let profile = threads.first().map(fs::read_to_string);
    for file in &threads {
        let _ = fs::remove_file(file);
    }
    if !output.status.success() {
        return Err(CountError::Failed(format!("{}: {words}", output.status)));
    }
    if output.stdout.starts_with(b"cannot") {
        return Ok(None);
    }
    match profile {
        Some(Ok(profile)) => read(&profile).map(Some),
        Some(Err(error)) => Err(CountError::Failed(format!("{}: {error}", file.display()))),
        None => Err(CountError::Failed(format!("valgrind left no {}-01: {words}", file.display()))),
    }
}

/// What valgrind wrote: a file for each thread, in their order, and one for all that has nothing.
fn threads_of(file: &Path) -> Vec<PathBuf> {
    let _ = fs::remove_file(file);
    (1..1_000)
        .map(|thread| PathBuf::from(format!("{}-{thread:02}", file.display())))
        .take_while(|file| file.exists())
        .collect()
}

/// The child's side, if this process is one.
#[allow(clippy::print_stdout, reason = "it answers on standard output")]
pub(crate) fn run_if_counted(stacks: &[super::stack::Stack]) -> bool {
    let Some((stack, work, iterations)) = asked() else { return false };
    let (running, work) = super::child::set_up(stacks, &stack, &work);
    match (running.op)(work) {
        Some(mut op) => {
            let finish = || {
                (running.finish)();
            };
            run(&mut op, (WARM_UP * work.a_span(), iterations), work.burst(), finish);
        }
        None => println!("cannot"),
    }
    true
}

/// The names of stack and work and how often to do it, if this process is a child.
pub(crate) fn asked() -> Option<(String, String, u64)> {
    let mut args = std::env::args().skip_while(|arg| arg != FLAG).skip(1);
    let (stack, work) = (args.next()?, args.next()?);
    let iterations = args.next().and_then(|number| number.parse().ok()).expect("is a number");
    Some((stack, work, iterations))
}

/// Does it so often to warm up, and then so often to be counted. In bursts, so that no queue is ever
/// full; what `finish` does in between, such as exporting, is not counted.
///
/// First comes a burst of which nothing is exported before its end, and which is twice as long, since
/// an exporter takes some spans in before it waits: as many as this in a queue there will not be
/// again, however late the exporter's thread gets its turn, so all memory for that is there.
pub(crate) fn run(op: &mut Op, (warm_up, iterations): (u64, u64), burst: u64, finish: impl Fn()) {
    sink::while_held(|| {
        op(warm_up.min(burst.saturating_mul(2)));
    });
    finish();
    in_bursts(warm_up, burst, &finish, |some| {
        op(some);
    });
    in_bursts(iterations, burst, &finish, |some| measured(op, some));
}

fn in_bursts(iterations: u64, burst: u64, finish: &impl Fn(), mut call: impl FnMut(u64)) {
    let mut left = iterations;
    while left > 0 {
        let some = left.min(burst);
        call(some);
        left -= some;
        finish();
    }
}

/// valgrind counts what this and all that it calls executes.
#[inline(never)]
fn measured(op: &mut Op, iterations: u64) {
    black_box(op(black_box(iterations)));
}

/// Of a profile in callgrind's format: `fn=` names a function, whose instructions follow by address,
/// each with how often it was executed, and among them calls: `cfn=` names who is called, `calls=` how
/// often and where, and the line after that what it cost.
///
/// An allocation is an execution of an allocator's first instruction. The numbers of calls will not
/// do: they are of the program's whole life, and left out where no call cost anything in `measured`.
fn read(profile: &str) -> Result<Total, CountError> {
    const ALLOCATORS: [&str; 5] =
        ["malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign"];
    let (mut is_allocator, mut calls_allocator, mut is_call) = (false, false, false);
    let (mut entries, mut executed) = (HashSet::new(), Vec::new());
    let mut instructions = None;
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            is_allocator = ALLOCATORS.contains(&name);
        } else if let Some(name) = line.strip_prefix("cfn=") {
            calls_allocator = ALLOCATORS.contains(&name);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            is_call = true;
            if calls_allocator {
                entries.extend(calls.split(' ').nth(1));
            }
        } else if let Some(total) = line.strip_prefix("totals: ") {
            instructions = total.trim().parse::<u64>().ok();
        } else if !std::mem::take(&mut is_call) && is_allocator {
            executed.extend(line.split_once(' '));
        }
    }
    let instructions = instructions.filter(|total| *total > 0).ok_or_else(|| {
        CountError::Failed("the profile has no total: `measured` was not found".to_owned())
    })?;
    let firsts = executed.into_iter().filter(|(address, _)| entries.contains(address));
    let allocations = firsts.filter_map(|(_, times)| times.parse::<u64>().ok()).sum();
    Ok(Total { instructions, allocations })
}
