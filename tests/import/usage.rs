//! The command line: help that helps, and errors that say what would be right.

use crate::command::{import, log};

#[test]
fn every_flag_is_explained() {
    let ran = import(&["--help"]);
    assert_eq!(ran.code, 0);
    for text in [
        "--to <TO>",
        "--endpoint <URL>",
        "--protocol",
        "--service-name",
        "--time-zone",
        "--year",
        "--slowest",
        "--max-open-blocks",
        "--retries",
        "--strict",
        "--quiet",
        "Examples:",
        "Exit codes:",
        "[default: otlp]",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "journalctl",
    ] {
        assert!(ran.stdout.contains(text), "{text}: {}", ran.stdout);
    }
}

#[test]
fn mistakes_name_the_flag_the_value_and_what_would_be_right() {
    let file = log("upstream-exact.log");
    for (args, texts) in [
        (&["--time-zone", "Mars", &file][..], &["--time-zone", "\"Mars\"", "Europe/Berlin"][..]),
        (&["--year", "20", &file], &["--year", "20", "1970"]),
        (&["--to", "xml", &file], &["--to", "xml", "otlp", "json", "tree"]),
        (&["--max-open-blocks", "0", &file], &["--max-open-blocks", "'0'", "from 1"]),
        (&["--protocol", "udp", &file], &["--protocol", "udp", "grpc", "http/protobuf"]),
        (&["--endpoint", "ftp://x", &file], &["--endpoint ftp://x", "Options are http or https"]),
        (
            &["--endpoint", "localhost:99999", &file],
            &["--endpoint localhost:99999", "between 1 and 65535"],
        ),
        (&[], &["<FILE>"]),
    ] {
        let ran = import(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        for text in texts {
            assert!(ran.stderr.contains(text), "{args:?}: {text}: {}", ran.stderr);
        }
        assert_eq!(ran.stdout, "", "{args:?}");
    }
}

#[test]
fn the_summary_lists_the_slowest() {
    let ran =
        import(&["-t", "tree", "--slowest", "2", &log("interleaved.log"), &log("klog-2019.log")]);
    let (_, slowest) = ran.stderr.split_once("slowest:\n").expect(&ran.stderr);
    let lines: Vec<_> = slowest.lines().collect();
    assert_eq!(lines.len(), 2, "{slowest}");
    assert!(
        lines[0].contains("861ms") && lines[0].contains("2019-06-01T06:46:51.393Z"),
        "{slowest}"
    );
    assert!(lines[1].contains("822ms") && lines[1].ends_with("  Get"), "{slowest}");
    assert!(ran.stderr.contains("6 blocks as 6 spans with 6 events; "), "{}", ran.stderr);
}
