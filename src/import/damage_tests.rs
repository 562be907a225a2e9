//! A block in which one thing is damaged is told of, wherever that is.

use std::io;

use opentelemetry_sdk::trace::SpanData;

use super::{Importer, Options, Problem, Receiver};

const CLOCK: &str = "\
Trace[1234]: \"List\" url:/api (10-Mar-2025 11:12:14.000) (total time: 600ms):
Trace[1234]: [\"etcd\" key:/pods 500ms (11:12:14.050)
Trace[1234]:  ---\"read\" count:3 450ms (11:12:14.500)]
Trace[1234]: ---\"written\" 50ms (11:12:14.600)
Trace[1234]: [600ms] [600ms] END
";

const ELAPSED: &str = "\
Trace[1234]: \"List\" url:/api (started: 2019-10-14 02:45:02.189619028 +0000 UTC m=+1.5) (total time: 600ms):
Trace[1234]: [500ms] [500ms] read count:3
Trace[1234]: [600ms] [100ms] written
Trace[1234]: [600ms] [600ms] END
";

/// What an import came to, but for where things are.
#[derive(Debug, Default, PartialEq)]
struct Imported {
    trees: Vec<String>,
    problems: Vec<String>,
}

impl Receiver for Imported {
    fn spans(&mut self, spans: Vec<SpanData>) -> io::Result<()> {
        self.trees.push(super::tree(&spans));
        Ok(())
    }

    fn problem(&mut self, problem: &Problem) -> io::Result<()> {
        self.problems.push(problem.to_string());
        Ok(())
    }
}

fn import(log: &[u8]) -> Imported {
    let (mut importer, mut imported) = (Importer::new(Options::default()), Imported::default());
    importer.read("log", &mut &*log, &mut imported).unwrap();
    importer.finish(&mut imported).unwrap();
    imported
}

/// With lines around it that are of no block.
fn log(block: &[u8]) -> Vec<u8> {
    let other: &[u8] = b"I0310 11:12:15.000000       1 a.go:7] \"Something else\" took=\"5ms\"\n";
    [other, block, other].concat()
}

/// The place in the block of each line, and of its text.
fn lines(block: &str) -> Vec<(usize, usize)> {
    let mut at = 0;
    let lines = block.split_inclusive('\n').map(|line| {
        let start = at;
        at += line.len();
        (start, start + "Trace[1234]: ".len())
    });
    lines.collect()
}

/// All imports of these that tell of nothing, and what was done to each.
fn silent(blocks: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
    let is_silent = |block: &Vec<u8>| import(&log(block)).problems.is_empty();
    let silent = blocks.into_iter().filter(is_silent);
    silent.map(|block| String::from_utf8_lossy(&block).into_owned()).collect()
}

#[test]
fn nothing_is_wrong_with_the_blocks_themselves() {
    for block in [CLOCK, ELAPSED] {
        let imported = import(&log(block.as_bytes()));
        assert_eq!((imported.trees.len(), imported.problems.len()), (1, 0), "{imported:?}");
    }
}

#[test]
fn a_marker_in_which_a_byte_is_another_is_told_of() {
    for block in [CLOCK, ELAPSED] {
        let damaged = lines(block).into_iter().flat_map(|(start, text)| {
            // But for the blank at its end, which not all programs print.
            (start..text - 1).flat_map(|at| {
                b"x}\" [-\0\xff".iter().filter_map(move |byte| {
                    let mut bytes = block.as_bytes().to_vec();
                    let before = std::mem::replace(&mut bytes[at], *byte);
                    (before != *byte).then_some(bytes)
                })
            })
        });
        assert_eq!(silent(damaged), [""; 0]);
    }
}

#[test]
fn a_marker_in_which_a_byte_is_missing_is_told_of() {
    for block in [CLOCK, ELAPSED] {
        let damaged = lines(block).into_iter().flat_map(|(start, text)| {
            (start..text - 1).map(|at| {
                let mut bytes = block.as_bytes().to_vec();
                bytes.remove(at);
                bytes
            })
        });
        assert_eq!(silent(damaged), [""; 0]);
    }
}

#[test]
fn a_line_that_is_cut_off_or_missing_its_break_is_told_of() {
    for block in [CLOCK, ELAPSED] {
        let ends: Vec<_> = block.match_indices('\n').map(|(at, _)| at).collect();
        let damaged = lines(block).into_iter().zip(ends).flat_map(|((start, text), end)| {
            // A message without quotes may be shorter, and the text is all that there is of one.
            let is_message = block == ELAPSED && !block[text..end].contains(['"', 'E']);
            let cuts = start + 1..if is_message { text } else { end };
            cuts.flat_map(move |cut| {
                let bytes = block.as_bytes();
                // A letter or two alone may be of any text.
                let with_break = (cut - start > 2).then(|| [&bytes[..cut], &bytes[end..]].concat());
                let without = [&bytes[..cut], &bytes[end + 1..]].concat();
                with_break.into_iter().chain([without])
            })
        });
        assert_eq!(silent(damaged), [""; 0]);
        let joined = lines(block).into_iter().skip(1).map(|(start, _)| {
            let mut bytes = block.as_bytes().to_vec();
            bytes.remove(start - 1);
            bytes
        });
        assert_eq!(silent(joined), [""; 0]);
    }
}

#[test]
fn where_a_line_break_is_missing_nothing_is_lost() {
    let other = CLOCK.replace("1234", "99").replace("List", "Get");
    for (log, expected) in [
        (format!("{}{other}", CLOCK.trim_end()), format!("{CLOCK}{other}")),
        (CLOCK.replace("]\nTrace", "]Trace"), CLOCK.to_owned()),
    ] {
        let (have, want) = (import(log.as_bytes()), import(expected.as_bytes()));
        assert_eq!(have.problems.len(), 1, "{have:?}");
        assert!(have.problems[0].contains("two lines are one"), "{have:?}");
        let names = |imported: &Imported| -> Vec<_> {
            let lines = imported.trees.iter().flat_map(|tree| tree.lines());
            lines.map(|line| line.split(" {").next().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(names(&have), names(&want));
    }
}

#[test]
fn the_block_around_a_damaged_line_is_incomplete() {
    for damaged in
        ["Trxce[1234]: ---\"", "Trace[12a4]: ---\"", "Trace[1234} ---\"", "Trace[12\0: ---\""]
    {
        let imported = import(&log(CLOCK.replacen("Trace[1234]: ---\"", damaged, 1).as_bytes()));
        assert_eq!(imported.problems.len(), 1, "{imported:?}");
        assert!(imported.problems[0].starts_with("log:5: "), "{imported:?}");
        assert!(imported.trees[0].contains("spanbridge.incomplete=true"), "{imported:?}");
    }
}
