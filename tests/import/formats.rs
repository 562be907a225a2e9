//! Every format and wrapping, printed as trees. Most samples say the same in different wrappings.

use serde_json::{Value, json};

use crate::command::{import, import_from, log, tree, without_place};

fn check(name: &str, expected: &str) {
    assert_eq!(tree(&[&log(name)]), expected.trim_start(), "{name}");
}

/// What the samples in containers and journals hold, with their clocks an hour ahead of UTC.
const UPDATE: &str = r#"
2025-03-10T10:12:14.863Z Update 557ms {url="/api", spanbridge.trace_number=77}
  +0µs GuaranteedUpdate etcd3 557ms {key="/leases/a"}
    * +558ms Txn call completed {spanbridge.step.duration_ms=557}
"#;

#[test]
fn the_oldest_without_numbers() {
    let ran = import(&["--to", "tree", &log("klog-2016.log")]);
    let expected = r#"
2016-03-31T08:42:16.722Z List *api.ServiceList 22.424s
  * +106ms About to list directory {spanbridge.step.duration_ms=106.589354}
  * +22.424s List extracted {spanbridge.step.duration_ms=22316.999462}
2016-03-31T08:42:39.100Z Get *api.Node 500ms {spanbridge.incomplete=true}
  * +500ms Etcd node listed {spanbridge.step.duration_ms=500}
"#;
    let stdout = without_place(&ran.stdout).replace(" {}", "").replace("{, ", "{");
    assert_eq!(stdout, expected.trim_start());
    let place = format!("{}:7: ", log("klog-2016.log"));
    assert!(ran.stderr.starts_with(&place) && ran.stderr.contains("END"), "{}", ran.stderr);
}

#[test]
fn with_numbers_and_fields_and_an_optional_end() {
    // The one that has its last line is complete first.
    check(
        "klog-2019.log",
        r#"
2020-04-15T21:16:09.267Z GuaranteedUpdate etcd3 652ms {type="*discovery.EndpointSlice", spanbridge.trace_number=1200151747}
2019-06-01T06:46:51.393Z List /apis/apps/v1/namespaces/kube-system/deployments 861ms {spanbridge.trace_number=1992436708}
  * +861ms Listing from storage done {spanbridge.step.duration_ms=861.621309}
2019-12-26T10:25:24.498Z Get 822ms {url="/apis/coordination.k8s.io/v1/leases/kube-scheduler", user-agent="kube-scheduler/v1.17.0 (linux/amd64) kubernetes/70132b0/leader-election", client="127.0.0.1", spanbridge.trace_number=965115906}
  * +822ms About to write a response {spanbridge.step.duration_ms=822.759204}
  * +822ms Writing http response done {count=4346, spanbridge.step.duration_ms=0.054399}
"#,
    );
}

#[test]
fn zeros_for_seconds_are_worked_out() {
    check(
        "klog-2021-zero-seconds.log",
        r#"
2021-05-21T18:17:49.322Z Update 6.000s {url="/apis/coordination.k8s.io/v1/leases/node-3", user-agent="kubelet/v1.22.0 (linux/amd64) kubernetes/e5bee02", accept="application/vnd.kubernetes.protobuf,application/json", protocol="HTTP/2.0", spanbridge.trace_number=497877834}
  * +2ms About to store object in database {spanbridge.step.duration_ms=2, spanbridge.estimated=true}
  * +5.998s Object stored in database {spanbridge.step.duration_ms=5995, spanbridge.estimated=true}
"#,
    );
}

#[test]
fn zeros_for_the_seconds_of_the_start_are_worked_out_from_the_header() {
    check(
        "klog-2020-zero-seconds.log",
        r#"
2020-06-09T16:26:38.300Z Schedule 681ms {pod="nginx", spanbridge.trace_number=1178003433, spanbridge.estimated=true}
  * +100ms Snapshot taken {spanbridge.step.duration_ms=100, spanbridge.estimated=true}
  * +155ms Filtered {nodes=200, spanbridge.step.duration_ms=55, spanbridge.estimated=true}
  +336ms Score 345ms {plugin="spread", spanbridge.estimated=true}
    * +446ms Normalised {spanbridge.step.duration_ms=110, spanbridge.estimated=true}
  * +481ms Selected {spanbridge.step.duration_ms=-200, spanbridge.estimated=true}
"#,
    );
}

#[test]
fn nested_traces_end_when_the_next_step_began_if_that_can_be() {
    // Upstream counts nested traces until the block is written. Here nothing tells how long it
    // really was: the step after them took 50 ms, but then `Txn` would have ended before its parent.
    check(
        "klog-2025.log",
        r#"
2025-03-10T11:12:14.863Z Update 557ms {accept="application/json, */*", audit-id="1e1a3c43-309d-4753-99b4-040e62aac141", client="::1", verb="PUT", count=3, dry-run=false, spanbridge.trace_number=1314336567}
  +0µs GuaranteedUpdate etcd3 557ms {key="/leases/kube-node-lease/node-1", limit=0, continue=""}
    * +10ms initial value restored {spanbridge.step.duration_ms=10}
    +57ms Txn 500ms
      * +58ms Transaction prepared {spanbridge.step.duration_ms=1}
  * +557ms Write to database call finished {len=3885, err="<nil>", spanbridge.step.duration_ms=50}
"#,
    );
    // Here the step after it took the last 100 ms, so it is 605 ms, and not the 706 ms printed.
    check(
        "upstream-exact.log",
        r#"
2025-11-22T07:30:00.123Z List 726ms {url="/api/v1/pods", spanbridge.trace_number=1234567890}
  +20ms List etcd3 605ms {key="/pods", limit=0, spanbridge.estimated=true}
    * +620ms range done {count=3, spanbridge.step.duration_ms=600}
  * +725ms Writing http response done {spanbridge.step.duration_ms=100}
"#,
    );
}

#[test]
fn ids_in_the_text_are_used_and_unfinished_spans_say_so() {
    check(
        "with-ids.log",
        r#"
2025-11-22T07:30:00.123Z List 726ms {url="/api", spanbridge.trace_number=1234567890}
  +20ms List etcd3 605ms {key="/pods", spanbridge.unfinished=true}
    * +620ms range done {count=3, spanbridge.step.duration_ms=600}
"#,
    );
    let ran = import(&["--to", "json", "-q", &log("with-ids.log")]);
    let spans: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(spans[0]["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(spans[0]["spanId"], "b7ad6b7169203331");
    assert_eq!(spans[1]["parentSpanId"], "b7ad6b7169203331");
}

#[test]
fn an_operation_that_was_logged_twice_is_not_found_again() {
    // 1. A root whose ids are printed is logged, and again when there was more to say.
    // 2. The log is there twice.
    let block = |total: u32, step: &str| {
        let ids = "trace_id:0af7651916cd43dd8448eb211c80319c,span_id:b7ad6b7169203331";
        format!(
            "Trace[{total}]: \"List\" {ids} (22-Nov-2025 07:30:00.123) (total time: {total}ms):\n\
             {step}Trace[{total}]: [{total}ms] [{total}ms] END\n"
        )
    };
    let log = block(5, "") + &block(9, "Trace[9]: ---\"more\" 9ms (07:30:00.132)\n");
    let ran = import_from(&["--to", "tree", "-"], (log.clone() + &log).as_bytes());
    assert!(ran.stdout.contains("List 5ms") && ran.stdout.contains("List 9ms"), "{}", ran.stdout);
    assert!(ran.stderr.contains("2 blocks found again"), "{}", ran.stderr);
}

#[test]
fn wrappings_that_note_the_moment_tell_the_time_zone() {
    for name in ["docker.log", "journald-short-iso.log", "journald.json"] {
        check(name, UPDATE);
    }
    let second = "2025-03-10T10:12:15.400Z Get 600ms \
        {url=\"/api/v1/a-very-long-path\", user-agent=\"curl\", spanbridge.trace_number=78}\n";
    check("cri.log", &format!("{UPDATE}{second}"));
}

#[test]
fn records_whose_line_break_was_taken_off_are_lines_all_the_same() {
    // 1. A container engine, or what reads its files, writes `log` and `stream` without the `\n`.
    // 2. None of these records goes on in the next: they are short, or their tag says so.
    let whole = std::fs::read_to_string(log("docker.log")).unwrap();
    let tagged = whole.replace(r#"\n","stream""#, r#"","logtag":"F","stream""#);
    for text in [whole.replace("\\n", ""), tagged] {
        let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
        assert_eq!(
            (ran.code, without_place(&ran.stdout).as_str()),
            (0, UPDATE.trim_start()),
            "{text}"
        );
    }
}

#[test]
fn lines_that_docker_has_split_are_put_together() {
    // Its parts have 16 KiB, here without the backslashes before two quotes.
    let path = "x".repeat(20_000);
    let whole = std::fs::read_to_string(log("docker.log")).unwrap().replace("/leases/a", &path);
    let line = whole.lines().nth(1).unwrap();
    let start = line.find("Trace[").unwrap();
    let (first, rest) = line.split_at(start + (16 << 10) + 2);
    let (_, after) = line.split_once(r#"\n","stream""#).unwrap();
    let parts = format!("{first}\",\"stream\"{after}\n{{\"log\":\"{rest}");
    let ran = import_from(&["-t", "tree", "--strict", "-"], whole.replace(line, &parts).as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(without_place(&ran.stdout), UPDATE.trim_start().replace("/leases/a", &path));
}

#[test]
fn a_block_is_found_under_any_key() {
    // 1. A collector keeps the text under a name of its own, or behind another text, or as a list.
    // 2. What it keeps twice is one block.
    let whole = std::fs::read_to_string(log("docker.log")).unwrap();
    let lines: Vec<_> = whole.lines().map(|line| line.replace("\\n", "")).collect();
    let replaced = |with: &str| lines.join("\n").replace("\"log\":", with);
    let list: Vec<_> = lines
        .iter()
        .map(|line| &line["{\"log\":".len()..line.find(",\"stream\"").unwrap()])
        .collect();
    for text in [
        replaced("\"event\":"),
        replaced("\"msg\":\"slow request\",\"k8s\":{\"x\":{\"y\":1}},\"text\":"),
        replaced("\"log\":\"slow request\",\"message\":"),
        replaced("\"a\":{\"b\":null},\"c\":[1],\"trace\":"),
        format!("{{\"time\":\"2025-03-10T10:12:15Z\",\"lines\":[{}]}}", list.join(",")),
        lines
            .iter()
            .zip(&list)
            .map(|(line, text)| line.replace("\"log\":", &format!("\"original\":{text},\"msg\":")))
            .collect::<Vec<_>>()
            .join("\n"),
    ] {
        let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
        assert_eq!(
            (ran.code, ran.stderr.contains("1 block as")),
            (0, true),
            "{text}: {}",
            ran.stderr
        );
        assert_eq!(without_place(&ran.stdout), UPDATE.trim_start(), "{text}");
    }
}

#[test]
fn messages_that_journald_writes_as_bytes() {
    // It does where there are control characters in them.
    let whole = std::fs::read_to_string(log("journald.json")).unwrap();
    for separator in [",", ", "] {
        let mut text = String::new();
        for line in whole.lines() {
            let mut record: Value = serde_json::from_str(line).unwrap();
            let message = record["MESSAGE"].as_str().unwrap().replace("/leases/a", "/leases/\x07");
            let bytes: Vec<_> = message.bytes().map(|byte| byte.to_string()).collect();
            record["MESSAGE"] = "bytes".into();
            let list = format!("[{}]", bytes.join(separator));
            text += &format!("{}\n", record.to_string().replace("\"bytes\"", &list));
        }
        // Also where the first line is none of its JSON.
        for head in ["", "-- Logs begin at Mon 2025-03-10 10:00:00 UTC --\n"] {
            let text = format!("{head}{text}");
            let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            let expected = UPDATE.trim_start().replace("/leases/a", r"/leases/\u{7}");
            assert_eq!(without_place(&ran.stdout), expected, "{separator:?} {head}");
        }
    }
}

#[test]
fn logs_in_utf_16_with_a_mark_and_without() {
    let text = std::fs::read_to_string(log("klog-2025.log")).unwrap();
    let expected = without_place(&import(&["-t", "tree", &log("klog-2025.log")]).stdout);
    assert!(expected.contains("Transaction prepared"), "{expected}");
    for (mark, to_bytes) in [
        ("\u{feff}", u16::to_le_bytes as fn(u16) -> [u8; 2]),
        ("\u{feff}", u16::to_be_bytes),
        ("", u16::to_le_bytes),
        ("", u16::to_be_bytes),
    ] {
        let text = format!("{mark}{}", text.replace('\n', "\r\n"));
        let bytes: Vec<u8> = text.encode_utf16().flat_map(to_bytes).collect();
        let ran = import_from(&["-t", "tree", "--strict", "-"], &bytes);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(without_place(&ran.stdout), expected);
    }
    let ran = import_from(&["-t", "tree", "-"], format!("\u{feff}{text}").as_bytes());
    assert_eq!(without_place(&ran.stdout), expected);
    assert!(!ran.stderr.contains("problems:"), "{}", ran.stderr);
}

#[test]
fn the_oldest_escaped_twice() {
    // JSON within a runtime's JSON, where quotes are `\\\"`, or a third time.
    let block = "I0331 10:42:39.146136    1503 trace.go:57] Trace \"List\" \
                 (started 2016-03-31 10:42:16.722518049 +0200 CEST):\n\
                 [106.589354ms] [106.589354ms] About to list directory\n\
                 [22.423590718s] [1.902\u{b5}s] END\n";
    let mut text = block.to_owned();
    for times in 1..=3 {
        text = serde_json::json!({ "msg": text }).to_string();
        let ran = import_from(&["-t", "tree", "--strict", "-"], format!("{text}\n").as_bytes());
        assert_eq!(ran.code, 0, "{times}: {}", ran.stderr);
        let expected = "2016-03-31T08:42:16.722Z List 22.424s";
        assert!(ran.stdout.starts_with(expected), "{times}: {:?} {}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("About to list directory"), "{times}: {}", ran.stdout);
    }
}

#[test]
fn whole_blocks_in_one_record() {
    check(
        "klog-json.log",
        r#"
2025-03-10T11:12:14.863Z Update 557ms {url="/api", user-agent="k3s/v1.27.6 (linux/amd64) kubernetes/bd04941", spanbridge.trace_number=1314336567}
  +0µs GuaranteedUpdate etcd3 557ms {key="/leases/a"}
    * +558ms Txn call completed {spanbridge.step.duration_ms=557}
"#,
    );
    check(
        "klog-quoted.log",
        r#"
2025-03-10T11:12:14.863Z Update 557ms {url="/api", spanbridge.trace_number=1314336567}
  * +558ms Txn call completed {spanbridge.step.duration_ms=557}
"#,
    );
}

#[test]
fn json_that_a_runtime_has_split() {
    let whole = std::fs::read_to_string(log("klog-json.log")).unwrap();
    let line = whole.lines().nth(1).unwrap();
    let (first, rest) = line.split_at(line.find("\"msg\"").unwrap() + 30);
    let parts = [(first, "P"), (&rest[..100], "P"), (&rest[100..], "F")];
    let text: String = parts
        .iter()
        .map(|(part, tag)| format!("2025-03-10T11:12:15.4215Z stderr {tag} {part}\n"))
        .collect();
    let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("    * +558ms Txn call completed"), "{}", ran.stdout);
    assert!(ran.stdout.starts_with("2025-03-10T11:12:14.863Z Update 557ms"), "{}", ran.stdout);
}

#[test]
fn without_a_zone_the_option_or_utc_counts() {
    let file = log("upstream-exact.log");
    for (zone, start) in [
        ("UTC", "2025-11-22T07:30:00.123Z"),
        ("+05:30", "2025-11-22T02:00:00.123Z"),
        ("Europe/Berlin", "2025-11-22T06:30:00.123Z"),
    ] {
        let ran = import(&["-t", "tree", "--time-zone", zone, &file]);
        assert!(ran.stdout.starts_with(start), "{zone}: {}", ran.stdout);
        assert!(!ran.stderr.contains("UTC was assumed"), "{}", ran.stderr);
    }
    let ran = import(&["-t", "tree", &file]);
    assert!(ran.stdout.starts_with("2025-11-22T07:30:00.123Z"), "{}", ran.stdout);
    assert!(ran.stderr.contains("times of 1 block have no zone"), "{}", ran.stderr);
}

#[test]
fn ids_are_the_same_in_any_wrapping_also_of_values_with_line_breaks() {
    let block = "Trace[7]: \"x\" q:one\n  two: three\n\nfour (10-Mar-2025 11:12:14.000) \
                 (total time: 5ms):\n\
                 Trace[7]: [\"y\" 5ms (11:12:14.000)]\n\
                 Trace[7]: [5ms] [5ms] END\n";
    let header = "I0310 11:12:14.005000       1 trace.go:236] ";
    let each = |wrap: &dyn Fn(usize, &str) -> String| -> String {
        let lines = block.lines().enumerate();
        lines.map(|(number, line)| wrap(number, line) + "\n").collect()
    };
    let wrapped = [
        format!("{header}{block}"),
        block.replace('\n', "\r\n"),
        each(&|_, line| line.trim().to_owned()),
        each(&|_, line| format!("[pod/web-1/app] {line}")),
        each(&|_, line| format!("[pod/web-1/app] {line}").trim().to_owned()),
        each(&|number, line| format!("  {number}\t{line}")),
        each(&|number, line| format!("10:12:1{number}.001 web-1 | {line}")),
        each(&|_, line| format!("2025-03-10T10:12:15.4Z stderr F {line}")),
        each(&|_, line| format!("Mar 10 10:12:15 node k3s[7]: {line}")),
        each(&|_, line| json!({"log": format!("{line}\n"), "stream": "stderr"}).to_string()),
        each(&|_, line| json!({"log": format!("{line}\r\n"), "stream": "stderr"}).to_string()),
        json!({ "msg": block }).to_string(),
        json!({ "msg": block.replace('\n', "\r\n") }).to_string(),
        format!("{header}{}", json!(block)),
    ];
    let ids = |text: &str| -> Vec<_> {
        let ran = import_from(&["-t", "json", "--strict", "-"], text.as_bytes());
        assert_eq!(ran.code, 0, "{text}{}", ran.stderr);
        let spans = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
        spans.map(|span: Value| (span["traceId"].clone(), span["spanId"].clone())).collect()
    };
    let expected = ids(block);
    assert_eq!(expected.len(), 2);
    for text in wrapped {
        assert_eq!(ids(&text), expected, "{text}");
    }
}

#[test]
fn interleaved_blocks_are_told_apart_also_with_one_number() {
    // Random numbers that nobody seeded are the same in all replicas.
    check(
        "interleaved.log",
        r#"
2025-03-10T11:12:14.000Z Update 500ms {replica="a", spanbridge.trace_number=1298498081, spanbridge.interleaved=true}
  * +500ms stored by a {spanbridge.step.duration_ms=500}
2025-03-10T11:12:14.200Z Get 700ms {replica="c", spanbridge.trace_number=911902081, spanbridge.interleaved=true}
  * +700ms read by c {spanbridge.step.duration_ms=700}
2025-03-10T11:12:14.100Z Update 600ms {replica="b", spanbridge.trace_number=1298498081, spanbridge.interleaved=true}
  * +600ms stored by b {spanbridge.step.duration_ms=600}
"#,
    );
    let ran = import(&["-t", "tree", "--strict", &log("interleaved.log")]);
    let expected = "\nlines of 3 blocks were mixed with those of others: put together\n";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}

#[test]
fn lines_with_a_time_and_no_more_are_of_one_stream() {
    // `kubectl logs --timestamps`: the rest of a value looks like a host, a unit and a message.
    for time in ["2025-03-10T10:12:14.605000001Z", "2025-03-10T12:12:14.605000001+02:00"] {
        let text = format!(
            "{time} Trace[5]: \"x\" q:one\n\
             {time} a b: c (10-Mar-2025 11:12:14.000) (total time: 600ms):\n\
             {time} Trace[5]: [600ms] [600ms] END\n"
        );
        let ran = import_from(&["-t", "tree", "--strict", "-"], text.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains(r#"q="one\na b: c""#), "{}", ran.stdout);
    }
}

#[test]
fn blocks_split_by_rotation_are_joined_in_any_order() {
    let expected = r#"
2025-03-10T11:12:14.000Z rotated 500ms {url="/api", spanbridge.trace_number=42}
  * +100ms in the first file {spanbridge.step.duration_ms=100}
  * +500ms in the second file {spanbridge.step.duration_ms=400}
"#;
    let (first, second) = (log("rotated.1.log"), log("rotated.2.log"));
    assert_eq!(tree(&[&first, &second]), expected.trim_start());
    assert_eq!(tree(&[&second, &first]), expected.trim_start());
}

#[test]
fn standard_input_and_gzip() {
    use std::io::Write as _;

    let text = std::fs::read(log("upstream-exact.log")).unwrap();
    let expected = tree(&[&log("upstream-exact.log")]);
    let plain = import_from(&["-t", "tree", "-"], &text);
    assert_eq!((plain.code, without_place(&plain.stdout)), (0, expected.clone()));

    // Two members, as appending to a packed file makes them, cut in the middle of a line.
    let mut packed = Vec::new();
    for part in [&text[..100], &text[100..]] {
        let mut encoder =
            flate2::write::GzEncoder::new(&mut packed, flate2::Compression::default());
        encoder.write_all(part).unwrap();
    }
    let unpacked = import_from(&["-t", "tree", "-"], &packed);
    assert_eq!((unpacked.code, without_place(&unpacked.stdout)), (0, expected));
    assert!(unpacked.stdout.contains("log.file.path=\"-\""), "{}", unpacked.stdout);
}

#[test]
fn the_year_is_taken_from_the_option_where_nothing_else_has_it() {
    let text =
        b"I0310 11:12:15.000000 1 trace.go:236] Trace[5]: \"x\" (whenever) (total time: 500ms):\n\
        Trace[5]: [500ms] [500ms] END\n";
    let without = import_from(&["-t", "tree", "--strict", "-"], text);
    assert_eq!((without.code, without.stdout.as_str()), (3, ""));
    assert!(
        without.stderr.contains("-:1: ") && without.stderr.contains("--year"),
        "{}",
        without.stderr
    );
    let with = import_from(&["-t", "tree", "--strict", "--year", "2024", "-"], text);
    assert_eq!(with.code, 0, "{}", with.stderr);
    assert!(with.stdout.starts_with("2024-03-10T11:12:14.500Z x 500ms"), "{}", with.stdout);
    assert!(with.stdout.contains("spanbridge.estimated=true"), "{}", with.stdout);
}
