//! Runs every target, or one, on random variations of its inputs: for machines without cargo-fuzz.
//!
//! ```text
//! cargo run --release --manifest-path fuzz/Cargo.toml --bin random -- [RUNS] [SEED] [TARGET]
//! ```
//!
//! You should see a line for each target. What makes one fail is printed as bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use spanbridge_fuzz::TARGETS;

/// Pieces that the formats are made of.
const PIECES: [&str; 24] = [
    ",", ";", "=", "-", "\"", "\\", "%", "%2", "%20", "%ff", " ", "\t", "\n", "@", ":", "[", "]",
    "&", "?", "/", "00", "for=", "sig=", "\u{fc}",
];

/// Pieces that logs are made of.
const PIECES_OF_LOGS: [&str; 12] = [
    "Trace[1]: ",
    "Trace[2]: \"x\" (10-Mar-2025 11:12:14.863) (total time: 5ms):\n",
    "Trace[1]: [5ms] [5ms] END\n",
    "Trace \"x\" (started 2016-03-31 10:42:39.1 +0200 CEST):\n",
    "---\"x\" 5ms (11:12:14.868)\n",
    "[\"x\" 5ms (11:12:14.863)\n",
    "[5ms] [5ms] x\n",
    "2025-03-10T10:12:15Z stderr P ",
    "2025-03-10T10:12:15Z stderr F ",
    "Mar 10 10:12:15 node k3s[7]: ",
    "{\"log\":\"",
    "\",\"stream\":\"stderr\",\"logtag\":\"P\"}\n",
];

/// Xorshift: good enough to vary input, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn vary(&mut self, data: &mut Vec<u8>) {
        let at = self.below(data.len() + 1);
        match self.below(7) {
            0 => data.insert(at, self.below(256) as u8),
            1 => drop(data.drain(at..(at + self.below(8)).min(data.len()))),
            2 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            3 => {
                let end = (at + self.below(64)).min(data.len());
                let copy = data[at..end].to_vec();
                let to = self.below(data.len() + 1);
                data.splice(to..to, copy);
            }
            4 => {
                let piece = PIECES_OF_LOGS[self.below(PIECES_OF_LOGS.len())];
                data.splice(at..at, piece.bytes());
            }
            _ => {
                let piece = PIECES[self.below(PIECES.len())];
                data.splice(at..at, piece.bytes());
            }
        }
        // Beyond every limit that there is.
        data.truncate(20_000);
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<u64>());
    let (Ok(runs), Ok(seed)) = (number(100_000), number(1)) else {
        eprintln!("random: RUNS and SEED have to be whole numbers");
        return ExitCode::FAILURE;
    };
    let only = arguments.next();
    if let Some(only) = &only
        && !TARGETS.iter().any(|(name, ..)| name == only)
    {
        let names: Vec<_> = TARGETS.iter().map(|(name, ..)| *name).collect();
        eprintln!("random: no target {only}; there are {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    for (name, target, inputs) in TARGETS {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let mut random = Random(seed.max(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut data = Vec::new();
        for run in 0..runs {
            // Variations add up for a while.
            if run % 32 == 0 {
                data = inputs[random.below(inputs.len())].into();
            }
            random.vary(&mut data);
            if catch_unwind(AssertUnwindSafe(|| target(&data))).is_err() {
                eprintln!("{name} failed in run {run}: {:?}", data.escape_ascii().to_string());
                return ExitCode::FAILURE;
            }
        }
        println!("{name}: {runs} runs");
    }
    ExitCode::SUCCESS
}
