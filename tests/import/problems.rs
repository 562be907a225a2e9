//! What is damaged is told of by file and line, and counted; what can be saved is.

use std::fmt::Write as _;

use crate::command::{Ran, import, import_from, log, run_with_input, spanbridge, without_place};

pub(crate) fn reported(ran: &Ran) -> Vec<u64> {
    // Those of blocks that were mixed with others are no problems.
    let lines = ran.stderr.lines().filter(|line| !line.contains(" was mixed with lines of others"));
    let lines = lines.filter_map(|line| {
        let (place, _) = line.split_once(": ")?;
        place.rsplit_once(':')?.1.parse().ok()
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort_unstable();
    lines
}

#[test]
fn each_is_reported_once_with_its_line() {
    let ran = import(&["-t", "tree", &log("damaged.log")]);
    assert_eq!(ran.code, 0);
    assert_eq!(reported(&ran), [1, 3, 7, 8, 10, 14, 15], "{}", ran.stderr);
    let expected =
        "problems: damaged lines (5), blocks without a first line (1), blocks cut off (1)";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);

    let trees = without_place(&ran.stdout);
    let mut starts: Vec<_> =
        trees.lines().filter(|line| line.starts_with("2025")).map(|line| &line[25..]).collect();
    starts.sort_unstable();
    assert_eq!(
        starts,
        [
            "a bracket is missing 500ms {spanbridge.trace_number=4, spanbridge.incomplete=true}",
            "a line break in a value 500ms {q=\"one\\ntwo\", spanbridge.trace_number=7}",
            "a line inside is damaged 500ms {spanbridge.trace_number=3, spanbridge.incomplete=true}",
            "cut off 500ms {spanbridge.trace_number=2, spanbridge.incomplete=true}",
        ]
    );
    assert!(trees.contains("  * +5ms step {q=\"three\\nfour\""), "{trees}");
}

#[test]
fn the_exit_code_says_so_only_if_asked_to() {
    let file = log("damaged.log");
    assert_eq!(import(&["-t", "tree", "--strict", &file]).code, 3);
    let quiet = import(&["-t", "tree", "--strict", "-q", &file]);
    assert_eq!((quiet.code, reported(&quiet).len()), (3, 7));
    assert!(!quiet.stderr.contains("problems:"), "{}", quiet.stderr);
    let silent = import(&["-t", "tree", "--strict", "-qq", &file]);
    assert_eq!((silent.code, silent.stderr.as_str()), (3, ""));
}

#[test]
fn a_file_that_is_not_there_does_not_keep_the_others_from_being_read() {
    let ran = import(&[
        "-t",
        "tree",
        "/no/such.log",
        env!("CARGO_MANIFEST_DIR"),
        &log("upstream-exact.log"),
    ]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("List etcd3"), "{}", ran.stdout);
    assert!(ran.stderr.contains("/no/such.log: cannot be opened: No such file"), "{}", ran.stderr);
    assert!(ran.stderr.contains("it is a directory; give the files in it"), "{}", ran.stderr);
    assert!(ran.stderr.contains("unreadable files (2)"), "{}", ran.stderr);
}

#[test]
fn a_damaged_gzip_file_is_read_as_far_as_it_goes() {
    use std::io::Write as _;

    let mut text = String::new();
    for number in 0..20_000 {
        let _ =
            writeln!(text, "Trace[{number}]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):");
        let _ = writeln!(text, "Trace[{number}]: [5ms] [5ms] END");
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    let mut packed = encoder.finish().unwrap();
    packed.truncate(packed.len() / 2);
    let ran = import_from(&["-t", "tree", "-"], &packed);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.lines().count() > 1_000, "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot be read any further"), "{}", ran.stderr);
    // What was read until then counts.
    assert!(!ran.stderr.contains("; 0 B read"), "{}", ran.stderr);
}

#[test]
fn too_many_unfinished_blocks_are_told_of_and_still_imported() {
    let mut text = String::new();
    for number in 0..10 {
        let _ =
            writeln!(text, "Trace[{number}]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):");
    }
    for number in 0..10 {
        let _ = writeln!(text, "Trace[{number}]: [5ms] [5ms] END");
    }
    let ran =
        import_from(&["-t", "tree", "--max-open-blocks", "10", "--strict", "-"], text.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let ran = import_from(&["-t", "tree", "--max-open-blocks", "4", "-"], text.as_bytes());
    assert_eq!(ran.stdout.lines().count(), 10, "{}", ran.stderr);
    assert!(ran.stderr.contains("more than 4 blocks are unfinished"), "{}", ran.stderr);
    assert!(ran.stderr.contains("blocks given up for want of room"), "{}", ran.stderr);
}

#[test]
fn a_block_that_is_given_up_is_told_of_once() {
    // 1. Of the first the beginning is missing; the second is never finished.
    // 2. Both are given up as there is room for one.
    let first =
        |number| format!("Trace[{number}]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):\n");
    let text = format!(
        "Trace[1]: ---\"step\" 5ms (11:12:14.005)\n{}{}Trace[3]: [5ms] [5ms] END\n",
        first(2),
        first(3)
    );
    let ran =
        import_from(&["-t", "tree", "--max-open-blocks", "1", "--strict", "-"], text.as_bytes());
    assert_eq!((ran.code, reported(&ran)), (3, vec![1, 2]), "{}", ran.stderr);
    let expected = "blocks without a first line (1), blocks given up for want of room (1)";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    assert!(ran.stderr.contains("not waited for since more than 1 blocks"), "{}", ran.stderr);
    assert_eq!(ran.stdout.matches("incomplete").count(), 1, "{}", ran.stdout);
}

#[test]
fn a_block_without_its_beginning_joins_none_of_another_stream() {
    // 1. Two replicas that seed nothing use the same number.
    // 2. The log begins within a block of one, and the other begins one before that is over.
    for (one, other) in [
        ("2025-03-10T10:12:15.4215Z stdout F ", "2025-03-10T10:12:15.4215Z stderr F "),
        ("Mar 10 10:12:15 node k3s[7]: ", "Mar 10 10:12:15 node k3s[8]: "),
        ("[pod/a-x1] ", "[pod/b-y2] "),
        ("[pod/web-1/app] ", "[pod/web-2/app] "),
        ("10:12:15.001 10.0.0.1:80 ", "10:12:15.002 10.0.0.1:81 "),
    ] {
        let text = format!(
            "{one}Trace[5]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 9ms):\n\
             {other}Trace[5]: ---\"not of x\" 5ms (11:12:14.005)\n\
             {one}Trace[5]: ---\"of x\" 9ms (11:12:14.009)\n\
             {other}Trace[5]: [5ms] [5ms] END\n\
             {one}Trace[5]: [9ms] [9ms] END\n"
        );
        let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
        assert_eq!((ran.code, reported(&ran)), (3, vec![2]), "{one}: {}", ran.stderr);
        assert!(ran.stderr.contains("2 of its lines are left out"), "{one}: {}", ran.stderr);
        assert!(
            ran.stdout.contains("* +9ms of x") && !ran.stdout.contains("not"),
            "{one}: {}",
            ran.stdout
        );
    }
    // Nor over the edge of a file, when everything is read.
    let dir = std::env::temp_dir().join(format!("spanbridge-edge-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (a, b) = (dir.join("a.log"), dir.join("b.log"));
    let first = "\"x\" (10-Mar-2025 11:12:14.000) (total time: 9ms):";
    std::fs::write(&a, format!("[pod/a-x1] Trace[5]: {first}\n")).unwrap();
    std::fs::write(&b, "[pod/b-y2] Trace[5]: [5ms] [5ms] END\n").unwrap();
    let ran = import(&["-t", "tree", b.to_str().unwrap(), a.to_str().unwrap()]);
    std::fs::remove_dir_all(&dir).unwrap();
    let expected = "blocks without a first line (1), blocks cut off (1)";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}

#[test]
fn an_encoding_that_is_not_read_is_told_of() {
    let ran = import_from(&["-t", "tree", "-"], b"\xff\xfe\0\0T\0\0\0r\0\0\0");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("-: cannot be read: it is in UTF-32"), "{}", ran.stderr);
}

#[test]
fn what_is_packed_in_a_way_that_is_not_read_is_told_of() {
    let ran = import_from(&["-t", "tree", "-"], b"\x28\xb5\x2f\xfd and so on");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("-: cannot be read: it is packed by zstd"), "{}", ran.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn standard_output_that_is_full_is_named_as_such() {
    for to in ["tree", "json"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = spanbridge();
        command.args(["-t", to, &log("upstream-exact.log")]).stdout(full);
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("spanbridge: standard output: No space left"), "{stderr}");
        // What was read until then counts.
        assert!(!stderr.contains("; 0 B read"), "{stderr}");
    }
}

#[test]
fn a_record_that_would_take_too_much_memory_is_told_of() {
    let values = vec!["{}"; 100_000].join(",");
    let text = format!(
        "{{\"values\":[{values}],\"msg\":\"Trace[1]: \\\"x\\\"\"}}\n\
         Trace[2]: \"y\" (10-Mar-2025 11:12:14.000) (total time: 5ms):\n\
         Trace[2]: [5ms] [5ms] END\n"
    );
    let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
    assert_eq!((ran.code, reported(&ran)), (3, vec![1]), "{}", ran.stderr);
    assert!(ran.stderr.contains("-:1: this JSON has too many values"), "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
}

#[test]
fn a_value_that_goes_on_for_too_long_is_told_of() {
    let line = "x".repeat(400_000);
    let text = format!(
        "Trace[1]: \"x\" k:a\n{line}\n{line}\n{line}\n\
         Trace[2]: \"y\" k:a\nb (10-Mar-2025 11:12:14.000) (total time: 5ms):\n\
         Trace[2]: [5ms] [5ms] END\n"
    );
    let ran = import_from(&["-t", "tree", "-"], text.as_bytes());
    assert!(ran.stderr.contains("-:1: a value is longer than 1 MiB\n"), "{}", ran.stderr);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 1), "{}", ran.stderr);
}

/// 60 MB of blocks that never end, in a process that may not have 40 MB.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_bounded_whatever_is_unfinished() {
    let padding = "x".repeat(1_000);
    let mut text = String::new();
    for number in 0..60_000 {
        let _ = writeln!(
            text,
            "Trace[{number}]: \"x\" k:{padding} (10-Mar-2025 11:12:14.000) (total time: 5ms):"
        );
    }
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -d 40000 && exec \"$0\" \"$@\""]).args([
        env!("CARGO_BIN_EXE_spanbridge"),
        "import",
        "-t",
        "tree",
        "-qq",
        "-",
    ]);
    let ran = run_with_input(limited, text.as_bytes());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout.lines().count(), 60_000);
}

#[test]
fn a_line_that_is_cut_within_its_marker_is_told_of() {
    let text = "Trace[1]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):\n\
        Trace[1\n\
        I0310 11:12:15.000000 1 trace.go:236] Trace[\n\
        an array is Trace[] or Trace[i]\n\
        {\"log\":\"Trace[2]\",\"stream\":\"stderr\"}\n\
        Trace[99999999999]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):\n\
        Trace[1]: [5ms] [5ms] END\n\
        Trace[1\0\0\0\0\n\
        Trace[1I0310 11:12:15.000000 1 a.go:1] two lines in one\n\
        Trace[1";
    let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
    assert_eq!(ran.code, 3);
    assert_eq!(reported(&ran), [2, 3, 5, 6, 8, 9, 10], "{}", ran.stderr);
    assert!(ran.stderr.contains("-:2: the line is cut off after \"Trace[1\""), "{}", ran.stderr);
    assert!(ran.stderr.contains("-:9: the line is damaged after \"Trace[1\""), "{}", ran.stderr);
    assert!(ran.stderr.contains("damaged lines (2), blocks cut off (5)"), "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
}

#[test]
fn a_marker_that_is_damaged_in_any_way_is_told_of() {
    // Each line has a step, and nothing but its marker is wrong.
    let markers = [
        "Trace[12a4]:",
        "Trace[12 4]:",
        "Trace[1234}:",
        "Trace[1234];:",
        "Trace[]:",
        "Trace[-34]:",
        "Trace[1234]",
        "Trxce[1234]:",
    ];
    let mut text =
        "Trace[1234]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 600ms):\n".to_owned();
    for marker in markers {
        let _ = writeln!(text, "{marker} ---\"step\" 5ms (11:12:14.005)");
    }
    text += "Trace[1234]: [600ms] [600ms] END\n";
    let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
    assert_eq!(ran.code, 3);
    assert_eq!(reported(&ran), [2, 3, 4, 5, 6, 7, 8, 9], "{}", ran.stderr);
    assert!(ran.stderr.contains("damaged lines (8)\n"), "{}", ran.stderr);
    assert!(ran.stdout.contains("spanbridge.incomplete=true"), "{}", ran.stdout);
}

const FIRST: &str = "Trace[77]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 600ms):\n";
const END: &str = "Trace[77]: [600ms] [600ms] END\n";

#[test]
fn a_line_into_which_another_got_is_told_of() {
    // A name has no line break, and a value does not go on with a logger's own line.
    let other = "I0310 11:12:15.500000 1 y.go:1] other\n";
    for (cut, expected) in [
        (format!("Trace[77]: ---\"sto{other}red\" 5ms (11:12:14.005)\n"), 2),
        ("Trace[77]: ---\"sto\nred\" 5ms (11:12:14.005)\n".to_owned(), 2),
        (format!("Trace[77]: ---\"stored\" len:4\n{other}2 5ms (11:12:14.005)\n"), 2),
    ] {
        let text = format!("{FIRST}{cut}{END}");
        let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
        assert_eq!(ran.code, 3, "{text}{}", ran.stderr);
        assert_eq!(reported(&ran)[0], expected, "{text}{}", ran.stderr);
        assert!(ran.stdout.contains("spanbridge.incomplete=true"), "{text}{}", ran.stdout);
        assert!(!ran.stdout.contains("other"), "{text}{}", ran.stdout);
    }
}

#[test]
fn what_is_left_of_a_line_within_a_block_is_told_of() {
    for damaged in [
        "Trace[77%d:;Y-\"written\" len:43 400ms (11:12:14.400)",
        "Trace[7ten\" len:43 400ms (11:12:14.400)",
        "Tritten\" len:43 400ms (11:12:14.400)]",
        "Trace[77] ---",
        "Trace[77];",
        "Trace[77]x [1",
    ] {
        // Another block ends in between.
        let text = format!(
            "{FIRST}Trace[78]: \"y\" (10-Mar-2025 11:12:14.000) (total time: 5ms):\n\
             Trace[78]: [5ms] [5ms] END\n{damaged}\n{END}"
        );
        let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
        assert_eq!((ran.code, reported(&ran)), (3, vec![4]), "{damaged}: {}", ran.stderr);
        assert_eq!(ran.stdout.matches("spanbridge.incomplete=true").count(), 1, "{}", ran.stdout);
    }
    // No block is unfinished here, and nothing is wrong.
    let text = format!("{FIRST}{END}Tr\nTook 400ms (11:12:14.400)\nStackTrace[0]: at Foo.Bar\n");
    let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn json_that_is_cut_within_a_block_is_told_of_and_counts() {
    let record = |text: &str| {
        let text = serde_json::Value::from(format!("{text}\n"));
        format!("{{\"log\":{text},\"stream\":\"stderr\"}}\n")
    };
    let (first, end) = (record(FIRST.trim_end()), record(END.trim_end()));
    let step = record("Trace[77]: ---\"step\" 5ms (11:12:14.005)");
    for cut in [step.len() / 2, "{\"log\":\"Trac".len(), "{\"log\":\"".len()] {
        let text = format!("{first}{}\n{end}", &step[..cut]);
        let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
        assert_eq!((ran.code, reported(&ran)), (3, vec![2]), "{text}{}", ran.stderr);
        assert!(ran.stdout.contains("spanbridge.incomplete=true"), "{text}{}", ran.stdout);
    }
}

#[test]
fn a_block_that_json_hides_is_told_of() {
    for text in [
        r#"{"msg":"Trace[77]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):","msg":"hi"}"#,
        r#"{"Trace[77]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):":1}"#,
    ] {
        let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
        assert_eq!((ran.code, reported(&ran)), (3, vec![1]), "{}", ran.stderr);
    }
}

#[test]
fn records_of_different_pods_are_of_different_blocks() {
    let record = |pod: &str, text: &str| {
        let text = serde_json::Value::from(format!("{}\n", text.trim_end()));
        format!(
            "{{\"log\":{text},\"stream\":\"stderr\",\"kubernetes\":{{\"pod_name\":\"{pod}\"}}}}\n"
        )
    };
    let step = |pod| record(pod, &format!("Trace[77]: ---\"of {pod}\" 5ms (11:12:14.005)"));
    let text: String = [
        record("a", FIRST),
        record("b", &FIRST.replace('x', "y")),
        step("a"),
        step("b"),
        record("b", END),
        record("a", END),
    ]
    .concat();
    let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (y, x) = ran.stdout.split_once("x 600ms").expect(&ran.stdout);
    assert!(y.contains("of b") && x.contains("of a"), "{}", ran.stdout);
}

#[test]
fn a_part_of_an_older_block_does_not_take_the_place_of_the_whole_one() {
    let lines = [
        "Trace[5]: \"x\" (started: 2019-10-14 02:45:02 +0000 UTC) (total time: 600ms):\n",
        "Trace[5]: [500ms] [500ms] a\n",
        "Trace[5]: [600ms] [100ms] b\n",
        "Trace[5]: [600ms] [600ms] END\n",
    ];
    // The part is known to be one only in the end.
    let text = [&lines[..], &lines[..2]].concat().concat();
    let ran = import_from(&["-t", "tree", "-"], text.as_bytes());
    assert_eq!(ran.stdout.lines().count(), 3, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("1 block found again and left out"), "{}", ran.stderr);
}

#[test]
fn parts_in_many_files_are_joined_from_either_end() {
    let dir = std::env::temp_dir().join(format!("spanbridge-parts-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let parts = [
        FIRST,
        "Trace[77]: ---\"a\" 400ms (11:12:14.400)\n",
        "Trace[77]: ---\"b\" 100ms (11:12:14.500)\n",
        END,
    ];
    let files = [0, 1, 2, 3].map(|at| {
        let path = dir.join(format!("{at}.log"));
        std::fs::write(&path, parts[at]).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let run = |order: [usize; 4]| {
        let [a, b, c, d] = order.map(|at| files[at].as_str());
        import(&["-t", "tree", "--strict", a, b, c, d])
    };
    let (oldest_first, newest_first) = (run([0, 1, 2, 3]), run([3, 2, 1, 0]));
    let otherwise = run([1, 0, 3, 2]);
    std::fs::remove_dir_all(&dir).unwrap();
    for ran in [&oldest_first, &newest_first] {
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let order = |event| ran.stdout.find(event).expect(&ran.stdout);
        assert!(order("* +400ms a") < order("* +500ms b"), "{}", ran.stdout);
    }
    assert_eq!(otherwise.code, 3, "{}", otherwise.stdout);
}

#[test]
fn a_line_that_runs_into_the_next_is_reported_where_it_is() {
    let text = "Trace[7]: \"A\" (10-Mar-2025 11:12:14.000) (total time: 500ms):\n\
        Trace[7]: [500ms] [500ms] ENDI0310 11:12:15.421402 60 trace.go:236] Trace[9]: \"C\" \
        (10-Mar-2025 11:12:15.000) (total time: 400ms):\n\
        Trace[9]: [400ms] [400ms] END\n";
    let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
    assert_eq!((ran.code, reported(&ran)), (3, vec![2]), "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 2, "{}", ran.stdout);
    assert!(!ran.stdout.contains("incomplete"), "{}", ran.stdout);
}

#[test]
fn a_block_that_contradicts_itself_is_told_of() {
    let first = "Trace[5]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 600ms):\n";
    let end = "Trace[5]: [600ms] [600ms] END\n";
    let old = "Trace[5]: \"x\" (started: 2019-10-14 02:45:02 +0000 UTC) (total time: 600ms):\n";
    for (lines, expected) in [
        (
            format!("{first}Trace[5]: [500ms] [500ms] END\n"),
            "its first line says that it took 600ms, and its last 500ms",
        ),
        (
            format!("{first}Trace[5]: ---\"late\" 5ms (11:12:14.700)\n{end}"),
            "\"late\" came 700ms after the start, and the whole took 600ms",
        ),
        (
            format!("{first}Trace[5]: [\"late\" 5ms (11:12:14.700)]\n{end}"),
            "\"late\" came 700ms after the start, and the whole took 600ms",
        ),
        (
            format!("{first}Trace[5]: ---\"long\" 550ms (11:12:14.500)\n{end}"),
            "\"long\" took 550ms, and ended 500ms after the step before it or the start",
        ),
        (
            format!("{old}Trace[5]: [700ms] [700ms] late\n{end}"),
            "\"late\" came 700ms after the start, and the whole took 600ms",
        ),
    ] {
        let ran = import_from(&["-t", "tree", "--strict", "-"], lines.as_bytes());
        assert_eq!((ran.code, reported(&ran)), (3, vec![1]), "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("-:1: \"x\": {expected}\n")), "{}", ran.stderr);
        let counted = "problems: blocks that contradict themselves (1)\n";
        assert!(ran.stderr.contains(counted), "{}", ran.stderr);
        assert!(ran.stdout.contains("spanbridge.incomplete=true"), "{}", ran.stdout);
    }
}

#[test]
fn of_blocks_that_nothing_tells_apart_none_counts_as_whole() {
    // 1. Two replicas use the same number, and nothing else tells their lines apart.
    // 2. The second block gets the first one's step and end.
    let text = "Trace[7]: \"A\" r:1 (10-Mar-2025 11:12:14.000) (total time: 500ms):\n\
        Trace[7]: \"B\" r:2 (10-Mar-2025 11:12:14.100) (total time: 600ms):\n\
        Trace[7]: ---\"a step\" 500ms (11:12:14.500)\n\
        Trace[7]: [500ms] [500ms] END\n\
        Trace[7]: ---\"b step\" 600ms (11:12:14.700)\n\
        Trace[7]: [600ms] [600ms] END\n";
    let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
    assert_eq!((ran.code, reported(&ran)), (3, vec![1, 2, 5]), "{}", ran.stderr);
    assert_eq!(ran.stdout.matches("spanbridge.incomplete=true").count(), 2, "{}", ran.stdout);
}

#[test]
fn a_block_that_is_not_whole_does_not_take_the_place_of_the_whole_one() {
    // Three overlapping files: the second ends within the block, and so does the third, further on.
    let dir = std::env::temp_dir().join(format!("spanbridge-overlap-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let lines = [
        "Trace[5]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 600ms):\n",
        "Trace[5]: ---\"a\" 500ms (11:12:14.500)\n",
        "Trace[5]: ---\"b\" 100ms (11:12:14.600)\n",
        "Trace[5]: [600ms] [600ms] END\n",
    ];
    let file = |name: &str, count| {
        let path = dir.join(name);
        std::fs::write(&path, lines[..count].concat()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (whole, one, two) = (file("0.log", 4), file("1.log", 2), file("2.log", 3));
    let run = |files: &[&String]| {
        let mut args = vec!["-t", "tree"];
        args.extend(files.iter().map(|file| file.as_str()));
        import(&args)
    };
    let (after, parts) = (run(&[&whole, &two, &one]), run(&[&two, &one]));
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(after.stdout.lines().count(), 3, "{}{}", after.stdout, after.stderr);
    assert!(!after.stdout.contains("incomplete"), "{}", after.stdout);
    assert!(after.stderr.contains("2 blocks found again and left out"), "{}", after.stderr);
    assert!(after.stderr.contains("blocks cut off (2)"), "{}", after.stderr);
    assert_eq!(parts.stdout.lines().count(), 3, "{}{}", parts.stdout, parts.stderr);
    assert!(parts.stderr.contains("1 block found again and left out"), "{}", parts.stderr);
}

#[test]
fn a_year_that_cannot_be_told_is_not_1970() {
    let text = "Trace[1]: \"x\" (10-Mar-9999 11:12:14.000) (total time: 5ms):\n\
        Trace[1]: [5ms] [5ms] END\n\
        Trace[2]: \"y\" (started: 9999-10-14 02:45:02 +0000 UTC) (total time: 5ms):\n\
        Trace[2]: [5ms] [5ms] END\n";
    let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""));
    assert_eq!(reported(&ran), [1, 3], "{}", ran.stderr);
    assert!(ran.stderr.contains("10-Mar-9999"), "{}", ran.stderr);

    // Where something else says when it was, that counts.
    let text = format!("2025-03-10T11:12:14.005Z stderr F {text}");
    let ran = import_from(&["-t", "tree", "-"], text.as_bytes());
    assert!(ran.stdout.starts_with("2025-03-10T11:12:14.000Z x 5ms"), "{}", ran.stdout);
    assert!(ran.stdout.contains("spanbridge.estimated=true"), "{}", ran.stdout);
}

#[test]
fn what_a_terminal_would_obey_is_escaped_for_people_and_exact_in_json() {
    let text = "Trace[1]: \"clear \\x1b[2J\\r\" a\x1bb:\x1b[31m (10-Mar-2025 11:12:14.000) \
        (total time: 5ms):\n\
        Trace[1]: ---\"turn \\u202e\" 5ms (11:12:14.005)\n\
        Trace[1]: ---\x1b]0;x\n\
        Trace[1]: [5ms] [5ms] END\n\
        {\"log\": \x1b Trace[1]: \n";
    let ran = import_from(&["-t", "tree", "-"], text.as_bytes());
    let printed = [&*ran.stdout, &*ran.stderr].concat();
    let is_obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!printed.contains(is_obeyed), "{printed:?}");
    assert!(ran.stdout.contains(r"clear \u{1b}[2J\r 5ms"), "{}", ran.stdout);
    assert!(ran.stdout.contains(r"turn \u{202e}"), "{}", ran.stdout);
    let (problems, slowest) = ran.stderr.split_once("slowest:").expect(&ran.stderr);
    assert!(slowest.contains(r"clear \u{1b}[2J\r"), "{slowest}");
    assert!(problems.contains(r"-:3: not understood") && problems.contains("-:5: "), "{problems}");

    let ran = import_from(&["-t", "json", "-qq", "-"], text.as_bytes());
    let root: serde_json::Value = serde_json::from_str(&ran.stdout).expect(&ran.stdout);
    assert_eq!(root["name"], "clear \x1b[2J\r");
    assert_eq!(root["events"][0]["name"], "turn \u{202e}");
    assert_eq!(root["attributes"]["a\x1bb"], "\x1b[31m");
}

#[test]
fn arbitrary_bytes_do_no_harm() {
    // A fixed generator, so that a failure can be repeated; words that matter among the noise.
    let words: [&[u8]; 12] = [
        b"Trace[",
        b"1]: ",
        b"\"",
        b"---\"",
        b"[\"x\" 5ms (00:00:00.000)",
        b"]",
        b"\n",
        b"{\"log\":\"",
        b" (10-Mar-2025 11:12:14.000) (total time: 5ms):",
        b"[5ms] [5ms] END",
        b"\xff\xfe",
        b"Trace \"x\" (started ",
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut text = Vec::new();
    for _ in 0..50_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.extend_from_slice(words[(state % 12) as usize]);
    }
    let ran = import_from(&["-t", "json", "-qq", "-"], &text);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn deep_nesting_does_not_overflow_anything() {
    let depth = 50_000;
    let mut text = "Trace[1]: \"deep\" (10-Mar-2025 11:12:14.000) (total time: 5ms):\n".to_owned();
    for _ in 0..depth {
        text.push_str("Trace[1]: [\"x\" 5ms (11:12:14.000)\n");
    }
    let _ = writeln!(text, "Trace[1]: ---\"y\" 5ms (11:12:14.005){}", "]".repeat(depth));
    text.push_str("Trace[1]: [5ms] [5ms] END\n");
    let ran = import_from(&["-t", "json", "--strict", "-"], text.as_bytes());
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, depth + 1), "{}", ran.stderr);
}
