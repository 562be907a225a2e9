//! Instructions and heap allocations, counted by valgrind's tool callgrind: within a hundredth the
//! same on every run and every machine, which times are not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use super::work::{Op, Work};

/// What a child that is counted starts with, before the names of stack and work.
pub(crate) const FLAG: &str = "--counted";

/// Until pools, tables and buffers have their size.
const WARM_UP: u64 = 2_000;

/// Few and more, so far apart that what happens only now and then, as when a chunk is handed over,
/// happens as often as it should.
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
    count_by_name(stack, work.name(), ITERATIONS, file)
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

/// What a whole child costs; but for instructions, of which only those of the work are counted.
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
            run(&mut op, (WARM_UP, iterations), work.burst(), finish);
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
pub(crate) fn run(op: &mut Op, (warm_up, iterations): (u64, u64), burst: u64, finish: impl Fn()) {
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
    std::hint::black_box(op(std::hint::black_box(iterations)));
}

/// Of a profile in callgrind's format: `cfn=` names who is called (with its number, and where it
/// comes first its name), and the `calls=` that follows says how often.
fn read(profile: &str) -> Result<Total, CountError> {
    const ALLOCATORS: [&str; 5] =
        ["malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign"];
    let mut allocators = Vec::new();
    let mut is_allocator = false;
    let (mut instructions, mut allocations) = (None, 0);
    for line in profile.lines() {
        if let Some(callee) = line.strip_prefix("cfn=").or_else(|| line.strip_prefix("fn=")) {
            let (number, name) = callee.split_once(' ').unwrap_or((callee, ""));
            if ALLOCATORS.contains(&name) {
                allocators.push(number);
            }
            is_allocator = line.starts_with('c') && allocators.contains(&number);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let times = calls.split(' ').next().and_then(|times| times.parse::<u64>().ok());
            allocations += if is_allocator { times.unwrap_or(0) } else { 0 };
        } else if let Some(total) = line.strip_prefix("totals: ") {
            instructions = total.trim().parse::<u64>().ok();
        }
    }
    let instructions = instructions.filter(|total| *total > 0).ok_or_else(|| {
        CountError::Failed("the profile has no total: `measured` was not found".to_owned())
    })?;
    Ok(Total { instructions, allocations })
}
