//! Where spans go: to receivers over gRPC and HTTP, to standard output, and nowhere.

use std::time::{Duration, Instant, UNIX_EPOCH};

use opentelemetry::trace::{SpanId, TraceId};

use crate::command::{import, import_and_leave, import_from, log, spanbridge};
use crate::support::otlp_receiver::{Behaviour, OtlpReceiver, Refusal};

/// The nested sample: four spans and three events.
const NESTED: &str = "klog-2025.log";

#[test]
fn to_a_collector_over_grpc_and_http() {
    for (receiver, protocol) in
        [(OtlpReceiver::grpc(), "grpc"), (OtlpReceiver::http(), "http/protobuf")]
    {
        let ran = import(&[
            "--endpoint",
            receiver.endpoint(),
            "--protocol",
            protocol,
            "--service-name",
            "apiserver",
            &log(NESTED),
        ]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{protocol}: {}", ran.stderr);
        let spans = receiver.spans();
        let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["Update", "GuaranteedUpdate etcd3", "Txn"], "{protocol}");
        let [root, update, txn] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!(root.service_name(), "apiserver");
        assert_eq!(root.scope.name, "spanbridge::import");
        assert_eq!(root.parent_span_id, None);
        assert_eq!(update.parent_span_id, Some(root.span_id));
        assert_eq!(txn.parent_span_id, Some(update.span_id));
        assert!(spans.iter().all(|span| span.trace_id == root.trace_id));
        assert_eq!(root.start, UNIX_EPOCH + Duration::from_millis(1_741_605_134_863));
        assert_eq!(root.duration(), Duration::from_nanos(557_959_949));
        assert_eq!(*root.attribute("count").unwrap(), 3);
        assert_eq!(*root.attribute("dry-run").unwrap(), false);
        assert_eq!(*root.attribute("accept").unwrap(), "application/json, */*");
        let event = root.event("Write to database call finished").unwrap();
        assert_eq!(event.time, UNIX_EPOCH + Duration::from_millis(1_741_605_135_420));
    }
}

#[test]
fn to_where_the_variables_say() {
    let receiver = OtlpReceiver::grpc();
    let output = spanbridge()
        .arg(log(NESTED))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint())
        .env("OTEL_SERVICE_NAME", "from-the-environment")
        // Of no effect: who runs the command wants the spans.
        .env("OTEL_SDK_DISABLED", "true")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(receiver.spans()[0].service_name(), "from-the-environment");
}

fn ids(receiver: &OtlpReceiver) -> Vec<(TraceId, SpanId)> {
    receiver.take_spans().iter().map(|span| (span.trace_id, span.span_id)).collect()
}

#[test]
fn again_from_another_place_with_the_same_ids() {
    let receiver = OtlpReceiver::grpc();
    let args = ["--endpoint", receiver.endpoint()];
    import(&[&args[..], &[&log(NESTED)]].concat());
    let first = ids(&receiver);
    assert_eq!(first.len(), 3);
    let text = std::fs::read(log(NESTED)).unwrap();
    let renamed = import_from(&[&args[..], &["--time-zone", "+02:00", "-"]].concat(), &text);
    assert_eq!((renamed.code, ids(&receiver)), (0, first.clone()));
    // Wrapped or not, it is the same block.
    let wrapped: String = String::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| format!("2025-03-10T11:12:15Z stderr F {line}\n"))
        .collect();
    let ran = import_from(&[&args[..], &["-"]].concat(), wrapped.as_bytes());
    assert_eq!((ran.code, ids(&receiver)), (0, first), "{}", ran.stderr);
}

#[test]
fn a_block_that_is_there_twice_is_sent_once() {
    let receiver = OtlpReceiver::grpc();
    let ran = import(&["--endpoint", receiver.endpoint(), &log(NESTED), &log(NESTED)]);
    assert_eq!((ran.code, ids(&receiver).len()), (0, 3));
    assert!(ran.stderr.contains("1 block found again and left out"), "{}", ran.stderr);
}

/// Blocks of two spans in three lines each.
fn blocks(number: usize) -> String {
    let block = |number| {
        format!(
            "Trace[{number}]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):\n\
             Trace[{number}]: [\"y\" 5ms (11:12:14.000)]\n\
             Trace[{number}]: [5ms] [5ms] END\n"
        )
    };
    (0..number).map(block).collect()
}

#[test]
fn many_spans_in_batches() {
    let receiver = OtlpReceiver::grpc();
    let text = blocks(2_000);
    let ran = import_from(&["--endpoint", receiver.endpoint(), "--strict", "-"], text.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let counts = receiver.counts();
    assert_eq!((counts.spans_accepted, counts.requests), (4_000, 8));
}

#[test]
fn a_collector_that_refuses_makes_the_import_fail_and_say_so() {
    let receiver = OtlpReceiver::grpc();
    receiver.set_behaviour(Behaviour::Refuse(Refusal::unavailable()));
    let mut refused = 0;
    for (retries, tries) in [("0", 1), ("1", 2)] {
        let ran = import(&["--endpoint", receiver.endpoint(), "--retries", retries, &log(NESTED)]);
        assert_eq!(ran.code, 1);
        let message = "3 spans could not be delivered, after 0 that were";
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
        let requests = receiver.counts().refused - refused;
        assert_eq!(requests, tries);
        refused += requests;
    }
}

#[test]
fn an_address_where_nobody_answers_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (protocol, path) in [("grpc", ""), ("http/protobuf", "/v1/traces")] {
        let endpoint = format!("http://{free}");
        let args = ["--endpoint", &endpoint, "--protocol", protocol, "--retries", "0"];
        let ran = import(&[&args[..], &[&log(NESTED)]].concat());
        assert_eq!(ran.code, 1);
        let advice = format!(". They were for http://{free}{path}: see --endpoint, or --to tree");
        assert!(ran.stderr.contains(&advice), "{}", ran.stderr);
    }
}

#[test]
fn a_failure_that_will_not_pass_is_not_tried_again() {
    let receiver = OtlpReceiver::grpc();
    receiver.set_behaviour(Behaviour::Refuse(Refusal::invalid()));
    let ran = import(&["--endpoint", receiver.endpoint(), "--retries", "3", &log(NESTED)]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("InvalidArgument: refused as told"), "{}", ran.stderr);
    assert_eq!(receiver.counts().refused, 1);
}

#[test]
fn a_batch_that_is_refused_does_not_stop_the_others() {
    // 1. The first request is refused for good, and the others are not.
    // 2. The import goes on to the end, and says what is missing.
    let receiver = OtlpReceiver::grpc();
    receiver.set_behaviour(Behaviour::RefuseFirst(1, Refusal::invalid()));
    let text = blocks(1_000);
    let ran = import_from(&["--endpoint", receiver.endpoint(), "-"], text.as_bytes());
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let counts = receiver.counts();
    assert_eq!((counts.refused, counts.spans_accepted), (1, 2_000 - 512));
    let message = "the collector rejected 512 of 2000 spans: InvalidArgument";
    assert!(ran.stderr.contains(message), "{}", ran.stderr);
    assert!(ran.stderr.contains(" (first among -:1 to -:766)\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("1000 blocks"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("stopped"), "{}", ran.stderr);
}

#[test]
fn a_span_that_is_too_large_takes_no_others_with_it() {
    // 1. An operation of very many steps is longer than a request should be, and goes alone.
    // 2. The collector says that it is too large.
    let receiver = OtlpReceiver::grpc();
    receiver.set_behaviour(Behaviour::RefuseFirst(1, Refusal::throttled()));
    let mut text =
        String::from("Trace[9000]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):\n");
    let value = "x".repeat(400);
    for _ in 0..8_000 {
        text.push_str(&format!("Trace[9000]: ---\"step\" value:{value} 0ms (11:12:14.000)\n"));
    }
    text.push_str("Trace[9000]: [5ms] [5ms] END\n");
    text.push_str(&blocks(100));
    let ran = import_from(&["--endpoint", receiver.endpoint(), "-"], text.as_bytes());
    let counts = receiver.counts();
    assert_eq!((ran.code, counts.refused, counts.spans_accepted), (1, 1, 200), "{}", ran.stderr);
    let message = "the collector rejected 1 of 201 spans: ResourceExhausted";
    assert!(ran.stderr.contains(message), "{}", ran.stderr);
}

/// A block whose root has a step for each of this many values of 400 bytes.
fn large_block(steps: usize) -> String {
    let mut text =
        String::from("Trace[9000]: \"large\" (10-Mar-2025 11:12:14.000) (total time: 5ms):\n");
    let value = "x".repeat(400);
    for _ in 0..steps {
        text.push_str(&format!("Trace[9000]: ---\"step\" value:{value} 0ms (11:12:14.000)\n"));
    }
    text.push_str("Trace[9000]: [5ms] [5ms] END\n");
    text
}

#[test]
fn a_span_over_a_collectors_limit_is_told_of_and_does_not_stop_the_import() {
    // 1. A span of more than 4 MiB goes alone. A collector built on tonic answers with
    //    OUT_OF_RANGE, which the specification has senders try again.
    // 2. That would never end well, and what comes after it would not be sent.
    let receiver = OtlpReceiver::grpc();
    let text = [blocks(100), large_block(12_000), blocks(200)].concat();
    let ran = import_from(&["--endpoint", receiver.endpoint(), "-"], text.as_bytes());
    assert_eq!((ran.code, receiver.counts().spans_accepted), (1, 400), "{}", ran.stderr);
    let told = "-:301: the collector refuses this block's span \"large\", which has ";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    let rejected = "the collector rejected 1 of 401 spans: OutOfRange: ";
    assert!(ran.stderr.contains(rejected), "{}", ran.stderr);
    assert!(ran.stderr.contains(" (first of -:301)\n"), "{}", ran.stderr);
}

#[test]
fn a_batch_over_a_collectors_limit_is_halved_until_it_fits() {
    for (receiver, protocol) in
        [(OtlpReceiver::grpc(), "grpc"), (OtlpReceiver::http(), "http/protobuf")]
    {
        receiver.set_behaviour(Behaviour::RefuseOver(10_000, Refusal::too_large()));
        let args = ["--endpoint", receiver.endpoint(), "--protocol", protocol, "-"];
        let ran = import_from(&args, blocks(500).as_bytes());
        let counts = receiver.counts();
        assert_eq!((ran.code, counts.spans_accepted), (0, 1_000), "{protocol}: {}", ran.stderr);
        assert!(counts.refused > 2, "{protocol}: {counts:?}");

        // In the midst of others there is one that is too large by itself.
        let text = [blocks(50), large_block(250), blocks(100)].concat();
        let ran = import_from(&args, text.as_bytes());
        let accepted = receiver.counts().spans_accepted - counts.spans_accepted;
        assert_eq!((ran.code, accepted), (1, 200), "{protocol}: {}", ran.stderr);
        let told = "-:151: the collector refuses this block's span \"large\"";
        assert_eq!(ran.stderr.matches(told).count(), 1, "{protocol}: {}", ran.stderr);
        assert!(ran.stderr.contains("rejected 1 of 201 spans"), "{protocol}: {}", ran.stderr);
    }
}

#[test]
fn a_quota_is_not_taken_for_a_limit_on_size() {
    // 1. The collector answers every request as it would one that is too large.
    // 2. Small spans are refused, too: from then on batches are not cut to pieces in vain.
    let receiver = OtlpReceiver::grpc();
    receiver.set_behaviour(Behaviour::Refuse(Refusal::throttled()));
    let ran = import_from(&["--endpoint", receiver.endpoint(), "-"], blocks(2_000).as_bytes());
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("rejected 4000 of 4000 spans"), "{}", ran.stderr);
    // Nine halvings, two small spans and the rest of the first of eight batches.
    assert_eq!(receiver.counts().refused, 9 + 2 + 1 + 7);
}

#[test]
fn a_collector_that_lets_nobody_in_gets_one_request() {
    for refusal in [Refusal::unauthenticated(), Refusal::forbidden()] {
        for (receiver, protocol) in
            [(OtlpReceiver::grpc(), "grpc"), (OtlpReceiver::http(), "http/protobuf")]
        {
            receiver.set_behaviour(Behaviour::Refuse(refusal.clone()));
            let args = ["--endpoint", receiver.endpoint(), "--protocol", protocol, "-"];
            let ran = import_from(&args, blocks(2_000).as_bytes());
            let case = format!("{protocol}, {refusal:?}: {}", ran.stderr);
            assert_eq!((ran.code, receiver.counts().requests), (1, 1), "{case}");
            let message = "512 spans could not be delivered, after 0 that were: ";
            assert!(ran.stderr.contains(message), "{case}");
            let advice = " (from -:1 on). Any other request would be answered like this: ";
            assert!(ran.stderr.contains(advice), "{case}");
            assert!(ran.stderr.contains("; the import has stopped\n"), "{case}");
        }
    }
}

#[test]
fn an_address_where_there_is_no_collector_gets_one_request() {
    let receiver = OtlpReceiver::http();
    let endpoint = format!("{}/elsewhere", receiver.endpoint());
    let args = ["--endpoint", &endpoint, "--protocol", "http/protobuf", "-"];
    let ran = import_from(&args, blocks(2_000).as_bytes());
    assert_eq!((ran.code, receiver.counts().requests), (1, 1), "{}", ran.stderr);
    assert!(ran.stderr.contains("HTTP status 404"), "{}", ran.stderr);
    assert!(ran.stderr.contains("see to the address"), "{}", ran.stderr);
}

#[test]
fn a_delay_that_a_collector_asks_for_is_kept_unless_it_is_long() {
    let receiver = OtlpReceiver::http();
    let args = ["--endpoint", receiver.endpoint(), "--protocol", "http/protobuf"];
    let import = |delay: u64| {
        let delay = Duration::from_secs(delay);
        receiver.set_behaviour(Behaviour::Refuse(Refusal::throttled().with_retry_after(delay)));
        let (start, before) = (Instant::now(), receiver.counts().refused);
        let ran = import(&[&args[..], &["--retries", "1", &log(NESTED)]].concat());
        (ran.stderr, receiver.counts().refused - before, start.elapsed())
    };
    let (stderr, tries, took) = import(2);
    assert_eq!(tries, 2, "{stderr}");
    assert!(took >= Duration::from_secs(2), "{took:?}");
    let (stderr, tries, _) = import(3_600);
    assert_eq!(tries, 1, "{stderr}");
    assert!(stderr.contains("(to be tried again after 3600s)"), "{stderr}");
}

#[test]
fn what_a_collector_rejects_does_not_keep_the_rest_from_being_sent() {
    let receiver = OtlpReceiver::grpc();
    receiver.set_behaviour(Behaviour::PartialSuccess(1));
    let ran = import(&["--endpoint", receiver.endpoint(), "--retries", "3", &log(NESTED)]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("the collector rejected 1 of 3 spans: "), "{}", ran.stderr);
    let counts = receiver.counts();
    assert_eq!((counts.requests, counts.spans_accepted), (1, 2));
}

#[test]
fn json_is_one_object_a_span() {
    let ran = import(&["--to", "json", "--service-name", "apiserver", &log(NESTED)]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let spans: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(spans.len(), 3);
    assert_eq!(spans[0]["resource"]["service.name"], "apiserver");
    assert_eq!(spans[0]["attributes"]["spanbridge.trace_number"], 1_314_336_567);
    assert_eq!(spans[2]["events"][0]["name"], "Transaction prepared");
    assert_eq!(spans[2]["parentSpanId"], spans[1]["spanId"]);
}

#[test]
fn a_reader_that_leaves_ends_it_in_peace() {
    let dir = std::env::temp_dir().join(format!("spanbridge-import-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("large.log");
    let text: String = (0..100_000)
        .map(|number| {
            format!(
                "Trace[{number}]: \"x\" (10-Mar-2025 11:12:14.000) (total time: 5ms):\n\
                 Trace[{number}]: [5ms] [5ms] END\n"
            )
        })
        .collect();
    std::fs::write(&file, text).unwrap();
    for to in ["tree", "json"] {
        let ran = import_and_leave(&["--to", to, file.to_str().unwrap()]);
        assert_eq!(ran.code, 0, "{to}: {}", ran.stderr);
        assert!(ran.stderr.contains("standard output was closed"), "{to}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{to}: {}", ran.stderr);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
