//! Damage and mixtures as they are found in the wild, each told of where it is; and what only looks
//! like them, which is not.

use serde_json::Value;

use crate::command::{Ran, import_from};
use crate::problems::reported;

const FIRST: &str = "Trace[77]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 600ms):";
const STEP: &str = "Trace[77]: ---\"step\" 500ms (11:12:14.500)";
const END: &str = "Trace[77]: [600ms] [600ms] END";
const HEADER: &str = "I0310 11:12:14.600000 60 trace.go:236] ";

fn tree(text: &str) -> Ran {
    import_from(&["-t", "tree", "--strict", "-"], text.as_bytes())
}

fn is_whole(text: &str) -> Ran {
    let ran = tree(text);
    assert_eq!(ran.code, 0, "{text}{}", ran.stderr);
    assert!(ran.stdout.contains("x 600ms"), "{text}{}", ran.stdout);
    assert!(ran.stdout.contains("* +500ms step"), "{text}{}", ran.stdout);
    ran
}

fn is_incomplete(text: &str, lines: &[u64]) -> Ran {
    let ran = tree(text);
    assert_eq!((ran.code, reported(&ran).as_slice()), (3, lines), "{text}{}", ran.stderr);
    assert_eq!(ran.stdout.matches("spanbridge.incomplete=true").count(), 1, "{}", ran.stdout);
    ran
}

/// As Docker writes it.
fn docker(text: &str) -> String {
    let text = Value::from(format!("{text}\n"));
    format!("{{\"log\":{text},\"stream\":\"stderr\",\"time\":\"2025-03-10T11:12:14.6Z\"}}")
}

fn cri(text: &str) -> String {
    format!("2025-03-10T11:12:14.6Z stderr F {text}")
}

#[test]
fn a_line_that_got_into_a_value_is_told_of() {
    let cut =
        "Trace[77]: ---\"step\" len:I0310 11:12:14.500000 1 y.go:1] other\n4 5ms (11:12:14.005)";
    let ran = is_incomplete(&format!("{FIRST}\n{cut}\n{END}\n"), &[2, 3]);
    assert!(!ran.stdout.contains("other"), "{}", ran.stdout);
}

#[test]
fn a_letter_alone_is_no_damage() {
    for letters in ["T", "Tr"] {
        is_whole(&format!("{FIRST}\n{letters}\n{STEP}\n{END}\n"));
    }
}

#[test]
fn the_first_line_of_2015_is_known_without_a_whole_name() {
    let damaged = "Trace \"List (started 2016-03-31 10:42:16.7 +0200 CEST):";
    let text = format!("{HEADER}{damaged}\n[10ms] [10ms] About to convert\n[107ms] [1ms] END\n");
    let ran = tree(&text);
    assert_eq!((ran.code, reported(&ran)), (3, vec![1]), "{}", ran.stderr);
}

#[test]
fn records_that_run_into_each_other_are_all_read() {
    // 1. A step and the end are records on one line.
    // 2. What comes before a block is one, and what comes after is cut off.
    let text = format!("{}\n{}{}\n", docker(FIRST), docker(STEP), docker(END));
    let ran = tree(&text);
    assert_eq!((ran.code, reported(&ran)), (3, vec![2]), "{}", ran.stderr);
    assert!(ran.stdout.contains("* +500ms step"), "{}", ran.stdout);

    let block = docker(&format!("{FIRST}\n{STEP}\n{END}"));
    let ran = tree(&format!("{}{block}{{\"log\":\"T\n", docker("hello")));
    assert_eq!((ran.code, reported(&ran)), (3, vec![1]), "{}", ran.stderr);
    assert!(ran.stdout.contains("* +500ms step"), "{}", ran.stdout);
}

#[test]
fn what_is_left_of_a_record_within_a_block_is_told_of() {
    let record = docker(STEP);
    for cut in [3, 10, "{\"log\":\"Trac".len(), "{\"log\":\"Trace[77]: ---".len()] {
        let text = format!("{}\n{}\n{}\n", docker(FIRST), &record[cut..], docker(END));
        is_incomplete(&text, &[2]);
    }
    let line = cri(STEP);
    for cut in [5, 11, 20, 23, 26, 29, 30] {
        let text = format!("{}\n{}\n{}\n", cri(FIRST), &line[..cut], cri(END));
        is_incomplete(&text, &[2]);
    }
    // In logs of other kinds such lines are none's rest.
    is_whole(&format!("{FIRST}\n2025-03-10\n{STEP}\nsee \"a\":\"b\",\"c\":\"d\"}}\n{END}\n"));
    is_whole(&format!("{}\n{}\n{}\n", cri(FIRST), cri(STEP), cri(END)));
}

#[test]
fn a_list_of_bytes_that_is_cut_off_is_told_of() {
    let bytes: Vec<_> = FIRST.bytes().map(|byte| byte.to_string()).collect();
    for separator in [",", ", "] {
        let text = format!("{{\"MESSAGE\":[{}\n", bytes.join(separator));
        let ran = tree(&text);
        assert_eq!((ran.code, reported(&ran)), (3, vec![1]), "{}", ran.stderr);
    }
}

#[test]
fn all_values_under_a_key_that_comes_again_are_read() {
    let block = |name: &str, number: &str| {
        let text = format!("{FIRST}\n{STEP}\n{END}").replace('x', name).replace("77", number);
        Value::from(text)
    };
    for text in [
        format!("{{\"msg\":{},\"msg\":\"hi\"}}", block("x", "77")),
        format!("{{\"msg\":{},\"msg\":{}}}", block("x", "77"), block("y", "78")),
        format!("{{\"a\":{{\"b\":{},\"b\":1}}}}", block("x", "77")),
    ] {
        let ran = is_whole(&format!("{text}\n"));
        let count = text.matches("END").count();
        assert_eq!(ran.stdout.matches("* +500ms step").count(), count, "{text}{}", ran.stdout);
    }
}

#[test]
fn json_after_what_names_its_writer_is_read() {
    for prefix in ["[pod/web-0/app] ", "2025-03-10T11:12:15+00:00\tkube.api\t", " ", "\t"] {
        let lines = [format!("{HEADER}{FIRST}"), STEP.to_owned(), END.to_owned()];
        is_whole(&lines.map(|line| format!("{prefix}{}\n", docker(&line))).concat());
    }
    // Two pods that use one number.
    let line = |pod: usize, text: &str| format!("[pod/web-{pod}/app] {}\n", docker(text));
    let text: String = [FIRST, STEP, END]
        .into_iter()
        .flat_map(|text| [line(0, text), line(1, &text.replace("\"x\"", "\"y\""))])
        .collect();
    let ran = is_whole(&text);
    assert_eq!(ran.stdout.matches("* +500ms step").count(), 2, "{}", ran.stdout);
}

#[test]
fn labels_in_braces_are_no_json() {
    for prefix in ["2025-03-10T11:12:15Z {app=\"x\", pod=\"a\"} ", "{app=\"x\"} "] {
        let lines = [format!("{HEADER}{FIRST}"), STEP.to_owned(), END.to_owned()];
        is_whole(&lines.map(|line| format!("{prefix}{line}\n")).concat());
    }
}

#[test]
fn json_in_a_value_stays_as_it_is() {
    for value in ["{\"a\":1}", "{\"msg\":\"hi\"}", "2025-03-10T10:12:15Z stdout F b"] {
        let first = FIRST.replace("(10", &format!("body:\n{value}\nc (10"));
        let text = format!("{first}\n{STEP}\n{END}");
        let wrapped: [fn(&str) -> String; 3] = [str::to_owned, cri, docker];
        for wrap in wrapped {
            let lines: Vec<_> = text.lines().map(wrap).collect();
            let args = ["-t", "json", "--strict", "-"];
            let ran = import_from(&args, (lines.join("\n") + "\n").as_bytes());
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            let root: Value = serde_json::from_str(&ran.stdout).expect(&ran.stdout);
            assert_eq!(root["attributes"]["body"], format!("\n{value}\nc"), "{lines:?}");
        }
    }
}

#[test]
fn a_start_that_cannot_be_read_is_damage() {
    for start in [
        "10-Mar-2025 11:12:1\0.000",
        "10-Mxr-2025 11:12:14.000",
        "10-Mar-2025 1\u{fffd}:12:14.000",
        "started: 2019-10-14 02:45:0\0 +0000 UTC",
        "stxrted: 2019-10-14 02:45:02 +0000 UTC",
    ] {
        let first = FIRST.replace("10-Mar-2025 11:12:14.000", start);
        let text = format!("{}\n{}\n{}\n", cri(&format!("{HEADER}{first}")), cri(STEP), cri(END));
        let ran = is_incomplete(&text, &[1]);
        assert!(!ran.stdout.contains("url=\"/x ("), "{}", ran.stdout);
        assert!(ran.stdout.contains("spanbridge.estimated=true"), "{}", ran.stdout);
    }
    // Where nothing else says when it was, it is left out, and told of once.
    let first = FIRST.replace("10-Mar-2025", "10-Mxr-2025");
    let ran = tree(&format!("{first}\n{STEP}\n{END}\n"));
    assert_eq!((ran.code, reported(&ran)), (3, vec![1]), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[test]
fn steps_are_placed_by_a_zone_whose_clocks_change() {
    for (start, step, at) in [
        ("30-Mar-2025 01:59:52.721", "03:00:07.221", "2025-03-30T00:59:52.721Z"),
        ("26-Oct-2025 02:59:52.721", "02:00:07.221", "2025-10-26T00:59:52.721Z"),
        ("30-Mar-2025 01:59:46.000", "03:00:00.500", "2025-03-30T00:59:46.000Z"),
        ("26-Oct-2025 02:59:46.000", "02:00:00.500", "2025-10-26T00:59:46.000Z"),
        ("26-Oct-2025 03:10:00.000", "03:10:14.500", "2025-10-26T02:10:00.000Z"),
    ] {
        let text = format!(
            "Trace[77]: \"x\" ({start}) (total time: 15000ms):\n\
             Trace[77]: ---\"step\" 14500ms ({step})\n\
             Trace[77]: [15s] [15s] END\n"
        );
        let zone = ["-t", "tree", "--strict", "--time-zone", "Europe/Berlin", "-"];
        let ran = import_from(&zone, text.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.starts_with(&format!("{at} x 15.000s")), "{}", ran.stdout);
        assert!(ran.stdout.contains("* +14.500s step"), "{}", ran.stdout);
    }
}

#[test]
fn colours_at_a_lines_end_are_taken_off() {
    let line = |text: &str| format!("\x1b[36mweb_1 |\x1b[0m {text}\x1b[0m\x1b[K\n");
    is_whole(&[FIRST, STEP, END].map(line).concat());
}

#[test]
fn rsyslogs_line_breaks_are_ones() {
    let text = format!("Mar 10 11:12:15 h k[1]: {HEADER}{FIRST}#012{STEP}#012{END}\n");
    is_whole(&text);
    is_whole(&format!("{FIRST}\n{}\n{END}\n", STEP.replace(" 500", " pin:#012 500")));
}

#[test]
fn a_step_without_its_message_is_damage() {
    let first = "Trace[7]: \"x\" (started: 2019-10-14 02:45:02 +0000 UTC) (total time: 600ms):";
    let text = |step: &str| format!("{first}\nTrace[7]: {step}\nTrace[7]: [600ms] [600ms] END\n");
    is_incomplete(&text("[500ms] [500ms]"), &[2]);
    let ran = tree(&text("[500ms] [500ms] "));
    assert_eq!(ran.code, 0, "a message may be empty: {}", ran.stderr);
}

/// The texts as files, given in this order.
fn in_files(name: &str, texts: &[(&str, String)]) -> Ran {
    let dir = std::env::temp_dir().join(format!("spanbridge-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut args = ["-t", "tree", "--strict"].map(str::to_owned).to_vec();
    for (file, text) in texts {
        let path = dir.join(file);
        std::fs::write(&path, text).unwrap();
        args.push(path.to_str().unwrap().to_owned());
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let ran = crate::command::import(&args);
    std::fs::remove_dir_all(&dir).unwrap();
    ran
}

#[test]
fn parts_that_are_joined_are_not_for_that_mixed_with_others() {
    let files = [("2", END), ("1", STEP), ("0", FIRST)].map(|(at, text)| (at, text.to_owned()));
    let ran = in_files("joined", &files);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("* +500ms step"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("interleaved"), "{}", ran.stdout);
}

#[test]
fn parts_that_come_in_no_order_are_not_taken_for_the_whole() {
    let whole = format!("{FIRST}\n{STEP}\n");
    let middle = "Trace[77]: ---\"more\" 50ms (11:12:14.550)\n".to_owned();
    let (first, middle, end) = (("0", whole), ("1", middle), ("2", END.to_owned()));
    for files in [[&middle, &first, &end], [&first, &end, &middle]] {
        let ran = in_files("unordered", &files.map(Clone::clone));
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("/1:1: the first line of Trace[77] is missing"),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stdout.matches("spanbridge.incomplete=true").count(), 1, "{}", ran.stdout);
    }
    // A part in the file where the block begins is of another one.
    let before = ("0", format!("{STEP}\n{FIRST}\n{STEP}\n"));
    let ran = in_files("before", &[before, end]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(!ran.stdout.contains("incomplete"), "{}", ran.stdout);
}

#[test]
fn where_others_stood_between_a_blocks_lines_is_told() {
    let other = "Trace[78]: \"y\" (10-Mar-2025 11:12:14.000) (total time: 600ms):";
    let text = format!("{FIRST}\n{other}\n{STEP}\n{END}\nTrace[78]: [600ms] [600ms] END\n");
    let ran = is_whole(&text);
    for (line, number) in [(1, 77), (2, 78)] {
        let expected = format!(
            "-:{line}: Trace[{number}] was mixed with lines of others, and is put together\n"
        );
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
    }
    let quiet = import_from(&["-t", "tree", "-qq", "-"], text.as_bytes());
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_line_whose_beginning_is_lost_leaves_its_block_incomplete() {
    let with_zeros = format!("{}{}", "\0".repeat(80), docker(STEP));
    let fused = format!("2025-03-10T11:12:14.6Z stderr F unrelated{}", cri(STEP));
    for (wrap, damaged) in [(docker as fn(&str) -> String, with_zeros), (cri, fused)] {
        let text = format!("{}\n{damaged}\n{}\n", wrap(&format!("{HEADER}{FIRST}")), wrap(END));
        is_incomplete(&text, &[2]);
    }
}

#[test]
fn counters_and_times_in_pairs_do_not_tell_lines_apart() {
    let logfmt = |n: usize, text: &str| {
        let text = Value::from(text);
        format!("time=\"2025-03-10T11:12:1{n}Z\" level=info seq={n} msg={text}\n")
    };
    let counted = |n: usize, text: &str| format!("seq={n} {text}\n");
    let timed = |n: usize, text: &str| format!("ts=174160153{n}.5 pod=web-1 {text}\n");
    let syslog = |n: usize, text: &str| {
        let id = n + 9;
        format!("<30>1 2025-03-10T11:12:15Z node k3s 123 - [meta sequenceId=\"{id}\"] {text}\n")
    };
    let first = format!("{HEADER}{FIRST}");
    type Wrap<'a> = &'a dyn Fn(usize, &str) -> String;
    for wrap in [&logfmt as Wrap<'_>, &counted, &timed, &syslog] {
        let lines = [first.as_str(), STEP, END];
        let lines = lines.iter().enumerate().map(|(n, text)| wrap(n, text));
        is_whole(&lines.collect::<String>());
    }
}

#[test]
fn a_start_that_the_header_contradicts_is_told_of() {
    let text = |header: &str, start: &str| {
        let first = FIRST.replace("10-Mar-2025 11:12:14.000", start);
        // Its only step is timed from the start.
        format!("{header}{first}\n{END}\n")
    };
    for start in [
        "10-Mar-2025 11:12:44.000",
        "10-Mar-2025 11:17:14.000",
        "10-Mar-2025 19:12:14.000",
        "11-Mar-2025 11:12:14.000",
        "10-May-2025 11:12:14.000",
        "started: 2025-03-10 11:17:14.0 +0000 UTC",
        "started: 2025-03-13 11:12:14.0 +0000 UTC",
    ] {
        let ran = is_incomplete(&text(HEADER, start), &[1]);
        assert!(ran.stderr.contains("the log's time"), "{}", ran.stderr);
    }
    for start in [
        // Clocks that were set meanwhile, or that show another zone's time.
        "10-Mar-2025 12:12:14.000",
        "10-Mar-2025 10:12:14.000",
        "started: 2025-03-10 11:12:14.0 +0000 UTC",
        "started: 2025-03-10 16:42:14.0 +0530 IST",
        "started: 2025-03-11 01:12:14.0 +1400 +14",
        // A year is not in the header, and some seconds may pass.
        "10-Mar-2024 11:12:14.000",
        "10-Mar-2025 11:12:08.000",
    ] {
        let ran = tree(&text(HEADER, start));
        assert_eq!(ran.code, 0, "{start} {}", ran.stderr);
    }
}

#[test]
fn what_is_packed_within_a_text_is_told_of() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, FIRST.as_bytes()).unwrap();
    let whole = format!("{FIRST}\n{STEP}\n{END}\n");
    let packed = packed.finish().unwrap();
    for (text, line) in [(whole.as_bytes(), 4), (b"no line break", 1)] {
        let ran = import_from(&["-t", "tree", "-"], &[text, &packed].concat());
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        let expected = format!("-:{line}: what begins here is packed by gzip");
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
        assert_eq!(ran.stdout.contains("x 600ms"), line == 4, "{}", ran.stdout);
    }
    // The other way round.
    let ran = import_from(&["-t", "tree", "-"], &[&packed, b"text\n".as_slice()].concat());
    assert_eq!(ran.code, 1, "{}", ran.stderr);
}

#[test]
fn what_the_edge_of_a_file_leaves_of_a_line_is_told_of() {
    let step = |n: u32| format!("Trace[77]: ---\"step {n}\" 100ms (11:12:14.{n}00)\n");
    let whole = format!("{FIRST}\n{}{}{}{END}\n", step(1), step(2), step(3));
    // A line is cut in two anywhere, or its beginning is lost.
    let second = whole.find("Trace[77]: ---\"step 2").unwrap();
    for (cut, from) in [(1, 1), (2, 2), (0, 3), (4, 4), (9, 9), (30, 30)] {
        let (before, after) = (whole[..second + cut].to_owned(), whole[second + from..].to_owned());
        for files in [[("0", &before), ("1", &after)], [("1", &after), ("0", &before)]] {
            let ran = in_files("edge", &files.map(|(name, text)| (name, text.clone())));
            assert_eq!(ran.code, 3, "{cut} {files:?} {}", ran.stderr);
            assert!(ran.stderr.contains("/1:1: ") || cut > 8, "{}", ran.stderr);
            let marked = ran.stdout.matches("spanbridge.incomplete=true").count();
            assert_eq!(marked, 1, "{cut} {files:?} {} {}", ran.stdout, ran.stderr);
        }
    }
}

#[test]
fn damage_in_a_files_second_part_is_of_the_block_that_goes_on_there() {
    let step = "Trace[77]: ---\"more\" 50ms (11:12:14.550)\n";
    let (first, second) = (format!("{FIRST}\n{STEP}\n"), format!("{step}Trace[\n{END}\n"));
    for damaged in
        ["Trace[7x]: ---\"y\" 5ms (11:12:14.555)", "Trace[", "[7]: ---\"y\" 5ms (11:12:14.555)"]
    {
        let second = second.replace("Trace[\n", &format!("{damaged}\n"));
        for files in [[("0", &first), ("1", &second)], [("1", &second), ("0", &first)]] {
            let ran = in_files("second", &files.map(|(name, text)| (name, text.clone())));
            assert_eq!(ran.code, 3, "{}", ran.stderr);
            assert!(ran.stderr.contains("/1:2: "), "{}", ran.stderr);
            assert!(ran.stdout.contains("spanbridge.incomplete=true"), "{damaged} {}", ran.stdout);
        }
    }
    // What is damaged after its end is of another one.
    let later = format!("{step}{END}\n{}Trace[\n", "noise\n".repeat(45));
    for files in [[("0", &first), ("1", &later)], [("1", &later), ("0", &first)]] {
        let ran = in_files("later", &files.map(|(name, text)| (name, text.clone())));
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(!ran.stdout.contains("incomplete"), "{}", ran.stdout);
    }
}

#[test]
fn blocks_whose_last_line_is_optional_are_complete_whatever_waits_before_them() {
    let block = |n: u32| {
        format!(
            "Trace[{n}]: \"x\" (started: 2019-10-14 02:45:02 +0000 UTC) (total time: 600ms):\n\
             Trace[{n}]: [500ms] [500ms] step\n"
        )
    };
    let all = |from: u32| (from..from + 1_500).map(block).collect::<String>();
    let (old, new) = (all(1), all(2_000));
    // Both begin or end within a block, whose last step is in the newer file.
    let cut = old.trim_end().rfind('\n').unwrap() + 1;
    let (old, rest) = old.split_at(cut);
    let new = format!("{rest}{new}");
    let (old, new) = (("0", old.to_owned()), ("1", new));
    for files in [[old.clone(), new.clone()], [new, old]] {
        let ran = in_files("optional", &files);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(ran.stdout.matches("+500ms step").count(), 3_000);
    }
}

#[test]
fn zeros_for_seconds_do_not_excuse_everything() {
    let text = "Trace[77]: \"x\" (26-Oct-2025 02:50:00.100) (total time: 1800000ms):\n\
                Trace[77]: ---\"step\" 900000ms (02:05:00.100)\n\
                Trace[77]: [30m0s] [30m0s] END\n";
    is_incomplete(text, &[1]);
}

#[test]
fn where_clocks_show_a_time_twice_the_log_tells_which_it_is() {
    let first = |start: &str| format!("Trace[77]: \"x\" ({start}) (total time: 2000ms):");
    let cri = |at: &str, text: &str| format!("{at} stderr F {text}\n");
    let end = "Trace[77]: [2s] [2s] END";
    for (written, start) in [
        ("2025-10-26T00:30:02.2Z", "2025-10-26T00:30:00.100Z"),
        ("2025-10-26T01:30:02.2Z", "2025-10-26T01:30:00.100Z"),
    ] {
        let text = cri(written, &first("26-Oct-2025 02:30:00.100")) + &cri(written, end);
        let args = ["-t", "tree", "--strict", "--time-zone", "Europe/Berlin", "-"];
        let ran = import_from(&args, text.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.starts_with(start), "{}", ran.stdout);
    }
    // klog's header tells as well, where the clocks are set in between.
    for (header, start) in [
        ("I1026 02:15:00.100000 1 trace.go:236] ", "2025-10-26T00:30:00.100Z"),
        ("I1026 03:15:00.100000 1 trace.go:236] ", "2025-10-26T01:30:00.100Z"),
    ] {
        let text = format!("{header}{}\n{end}\n", first("26-Oct-2025 02:30:00.100"))
            .replace("2000ms", "2700000ms")
            .replace("2s", "45m0s");
        let args = ["-t", "tree", "--strict", "--time-zone", "Europe/Berlin", "-"];
        let ran = import_from(&args, text.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.starts_with(start), "{}", ran.stdout);
    }
    // Half an hour, in Australia.
    let text = format!(
        "I1005 02:45:00.100000 1 trace.go:236] {}\n{end}\n",
        first("05-Oct-2025 01:45:00.100")
    );
    let text = text.replace("2000ms", "1800000ms").replace("2s", "30m0s");
    let args = ["-t", "tree", "--strict", "--time-zone", "Australia/Lord_Howe", "-"];
    let ran = import_from(&args, text.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn what_a_healthy_file_begins_with_is_not_told_of() {
    let whole = format!("{FIRST}\n{STEP}\n{END}\n");
    for first in [
        "Trace",
        "Tra",
        "Trace[0] = 1",
        "Trace[9] hello",
        "GET /api 200 12ms (11:12:14.555)",
        "Slow query \"SELECT 1\" 605ms (11:12:14.863)",
    ] {
        is_whole(&format!("{first}\n{whole}"));
    }
    // Nor after a file whose last block's last line is optional.
    let first = "Trace[7]: \"x\" (started: 2019-10-14 02:45:02 +0000 UTC) (total time: 600ms):";
    let old = ("0", format!("{first}\nTrace[7]: [500ms] [500ms] step\n"));
    for line in ["{\"a\":1} {\"b\":2}", "{\"unterminated", "noise\nGET 12ms (11:12:14.555)"] {
        let ran = in_files("healthy", &[old.clone(), ("1", format!("{line}\n"))]);
        assert_eq!(ran.code, 0, "{line} {}", ran.stderr);
    }
    // What is damaged far off is of another block.
    let far = format!("{}Trace[\n", "noise\n".repeat(500));
    let ran = in_files("far", &[old, ("1", far)]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(!ran.stdout.contains("incomplete"), "{}", ran.stdout);
}

#[test]
fn what_the_edge_of_a_file_leaves_of_a_wrapped_line_is_told_of() {
    let (before, after) = STEP.split_at(1);
    let old = format!("{}\n{}", cri(FIRST), cri(before));
    let new = format!("{after}\n{}\n", cri(END));
    for files in [[("0", &old), ("1", &new)], [("1", &new), ("0", &old)]] {
        let ran = in_files("wrapped", &files.map(|(name, text)| (name, text.clone())));
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(ran.stderr.contains("/1:1: "), "{}", ran.stderr);
        assert!(ran.stdout.contains("spanbridge.incomplete=true"), "{files:?} {}", ran.stdout);
    }
}

#[test]
fn of_a_time_that_clocks_show_twice_a_steps_length_tells_which_it_is() {
    let text = "I1026 03:20:00.623000 1 trace.go:236] \
                Trace[77]: \"x\" (26-Oct-2025 01:50:00.123) (total time: 9000500ms):\n\
                Trace[77]: ---\"a\" 5000200ms (02:13:20.323)\n\
                Trace[77]: [2h30m0.5s] [2h30m0.5s] END\n";
    let args = ["-t", "tree", "--strict", "--time-zone", "Europe/Berlin", "-"];
    let ran = import_from(&args, text.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("* +5000.200s a"), "{}", ran.stdout);
}

#[test]
fn colours_right_before_a_marker_are_no_word() {
    let line = |text: &str| format!("web_1 | \x1b[33m{text}\x1b[0m\n");
    is_whole(&[FIRST, STEP, END].map(line).concat());
}
