//! The transports against a receiver on loopback that answers as it is told.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::{Delivered, EncodedSpans, OtlpExporter};
use crate::config::Protocol;
use crate::config::env::EnvSettings;
use crate::config::settings::Settings;
use crate::export::exporter::DynExporter;
use crate::export::sink::Outcome;
use crate::export::worker::OwnRuntime;

#[path = "../../../tests/support/certificates.rs"]
pub(super) mod certificates;
#[path = "../../../tests/support/mod.rs"]
pub(super) mod support;

use support::otlp_receiver::{Behaviour, OtlpReceiver, Refusal};

pub(super) const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];
/// An exporter's timeout that a test does not wait for.
const LONG: &str = "30000";

pub(super) fn receiver(protocol: Protocol) -> OtlpReceiver {
    match protocol {
        Protocol::Grpc => OtlpReceiver::grpc(),
        Protocol::HttpProtobuf => OtlpReceiver::http(),
    }
}

/// An exporter as the variables ask for it.
pub(super) fn exporter(
    runtime: &OwnRuntime,
    protocol: Protocol,
    endpoint: &str,
    more: &[(&str, &str)],
) -> Result<OtlpExporter, String> {
    let protocol = match protocol {
        Protocol::Grpc => "grpc",
        Protocol::HttpProtobuf => "http/protobuf",
    };
    let all = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", LONG),
    ];
    let env = EnvSettings::from_lookup(&|name| {
        let found = more.iter().chain(&all).find(|(known, _)| *known == name)?;
        Some(found.1.to_owned())
    });
    let settings = Settings::new(None, env).unwrap();
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    let _entered = runtime.enter();
    OtlpExporter::new(&settings)
}

fn span(id: u64) -> SpanData {
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(1),
            SpanId::from(id),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "a".into(),
        start_time: std::time::SystemTime::now(),
        end_time: std::time::SystemTime::now(),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: Default::default(),
    }
}

pub(super) fn spans(count: u64) -> EncodedSpans {
    EncodedSpans::from_span_data(&(1..=count).map(span).collect::<Vec<_>>())
}

pub(super) fn send(
    runtime: &OwnRuntime,
    exporter: &OtlpExporter,
    count: u64,
) -> Result<Delivered, String> {
    let sent = runtime.block_on(exporter.send(&mut spans(count), || false));
    sent.map_err(|failure| failure.problem)
}

#[test]
fn spans_arrive_and_requests_are_dressed_as_asked() {
    for protocol in BOTH {
        for compression in ["none", "gzip"] {
            let runtime = OwnRuntime::new().unwrap();
            let receiver = receiver(protocol);
            let more = [
                ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
                ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b"),
            ];
            let exporter = exporter(&runtime, protocol, receiver.endpoint(), &more).unwrap();
            assert_eq!(send(&runtime, &exporter, 3), Ok(Delivered::default()));
            assert_eq!(receiver.spans().len(), 3, "{protocol:?} {compression}");
            let headers = receiver.last_headers();
            assert_eq!(headers["api-key"], "a b");
            let agent = headers["user-agent"].to_str().unwrap();
            assert!(agent.starts_with("spanbridge/"), "{agent}");
            assert!(agent.contains(" OTel-OTLP-Exporter-Rust/"), "{agent}");
            let encoding = match protocol {
                Protocol::Grpc => headers.get("grpc-encoding"),
                Protocol::HttpProtobuf => headers.get("content-encoding"),
            };
            assert_eq!(encoding.is_some(), compression == "gzip", "{headers:?}");
            assert_eq!(receiver.counts().malformed, 0);
        }
    }
}

#[test]
fn a_header_with_bytes_for_its_value_is_sent_as_each_protocol_does_it() {
    for (protocol, value) in BOTH.into_iter().zip(["YSBi", "a b"]) {
        let runtime = OwnRuntime::new().unwrap();
        let receiver = receiver(protocol);
        let headers = [("OTEL_EXPORTER_OTLP_HEADERS", "tenant-bin=a%20b")];
        let exporter = exporter(&runtime, protocol, receiver.endpoint(), &headers).unwrap();
        assert_eq!(send(&runtime, &exporter, 1), Ok(Delivered::default()));
        assert_eq!(receiver.last_headers()["tenant-bin"], value, "{protocol:?}");
    }
}

#[test]
fn spans_of_other_exporters_keep_their_scopes() {
    let runtime = OwnRuntime::new().unwrap();
    let receiver = OtlpReceiver::grpc();
    let exporter = exporter(&runtime, Protocol::Grpc, receiver.endpoint(), &[]).unwrap();
    let of = |id, scope: &'static str| SpanData {
        instrumentation_scope: InstrumentationScope::builder(scope).build(),
        ..span(id)
    };
    let batch = vec![of(1, "a"), of(2, "a"), of(3, "b")];
    runtime.block_on(exporter.send_data(&batch, || false)).unwrap();
    let scopes: Vec<_> = receiver.spans().iter().map(|span| span.scope.name.clone()).collect();
    assert_eq!(scopes, ["a", "a", "b"]);
    assert_eq!(receiver.counts().requests, 2);
}

#[test]
fn no_more_is_rejected_than_a_request_had() {
    for protocol in BOTH {
        let runtime = OwnRuntime::new().unwrap();
        let receiver = receiver(protocol);
        receiver.set_behaviour(Behaviour::Claim(100));
        let exporter = exporter(&runtime, protocol, receiver.endpoint(), &[]).unwrap();
        let of = |id, scope: &'static str| SpanData {
            instrumentation_scope: InstrumentationScope::builder(scope).build(),
            ..span(id)
        };
        let batch = [of(1, "a"), of(2, "a"), of(3, "b")];
        let delivered = runtime.block_on(exporter.send_data(&batch, || false)).unwrap();
        assert_eq!((receiver.counts().requests, delivered.rejected), (2, 3), "{protocol:?}");
    }
}

#[test]
fn what_passes_is_tried_again_until_it_has_passed() {
    for protocol in BOTH {
        let runtime = OwnRuntime::new().unwrap();
        let receiver = receiver(protocol);
        receiver.set_behaviour(Behaviour::Refuse(Refusal::unavailable()));
        let exporter = exporter(&runtime, protocol, receiver.endpoint(), &[]).unwrap();
        let sent = std::thread::scope(|scope| {
            let sending = scope.spawn(|| send(&runtime, &exporter, 2));
            receiver
                .wait_for_counts(|counts| counts.refused == 1, Duration::from_secs(30))
                .unwrap();
            receiver.set_behaviour(Behaviour::Accept);
            sending.join().unwrap()
        });
        assert_eq!(sent, Ok(Delivered::default()), "{protocol:?}");
        assert_eq!(receiver.spans().len(), 2);
    }
}

#[test]
fn the_delay_that_a_collector_asks_for_is_kept() {
    for protocol in BOTH {
        let runtime = OwnRuntime::new().unwrap();
        let receiver = receiver(protocol);
        let delay = Duration::from_secs(2);
        receiver.set_behaviour(Behaviour::Refuse(Refusal::throttled().with_retry_after(delay)));
        let exporter = exporter(&runtime, protocol, receiver.endpoint(), &[]).unwrap();
        let (sent, waited) = std::thread::scope(|scope| {
            let sending = scope.spawn(|| send(&runtime, &exporter, 2));
            receiver
                .wait_for_counts(|counts| counts.refused == 1, Duration::from_secs(30))
                .unwrap();
            let refused = Instant::now();
            receiver.set_behaviour(Behaviour::Accept);
            (sending.join().unwrap(), refused.elapsed())
        });
        assert_eq!(sent, Ok(Delivered::default()), "{protocol:?}");
        // The refusal was sent a little before this thread saw it.
        assert!(waited + Duration::from_millis(500) >= delay, "{protocol:?} {waited:?}");
    }
}

#[test]
fn the_delay_that_a_collector_asks_for_is_kept_by_the_next_batch_too() {
    for protocol in BOTH {
        let runtime = OwnRuntime::new().unwrap();
        let receiver = receiver(protocol);
        let delay = Duration::from_secs(2);
        receiver.set_behaviour(Behaviour::Refuse(Refusal::unavailable().with_retry_after(delay)));
        let timeout = [("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1000")];
        let exporter = exporter(&runtime, protocol, receiver.endpoint(), &timeout).unwrap();
        // 1. No time for another try, and little to wait for one.
        let started = Instant::now();
        let export = |urgency: &dyn Fn() -> Option<Duration>| {
            runtime.block_on(DynExporter::export(&exporter, vec![span(1)], urgency))
        };
        assert!(matches!(export(&|| None), Outcome::Failed(_)), "{protocol:?}");
        // 2. One of several exporters does not keep the others waiting.
        let outcome = export(&|| None);
        let told = matches!(&outcome, Outcome::Failed(why) if why.contains("pause"));
        assert!(told, "{protocol:?} {outcome:?}");
        assert_eq!(receiver.counts().requests, 1, "{protocol:?}");
        // 3. The one exporter of a pipeline waits.
        receiver.set_behaviour(Behaviour::Accept);
        runtime.block_on(exporter.ready(|| None)).unwrap();
        assert!(started.elapsed() >= delay, "{protocol:?} {:?}", started.elapsed());
        assert!(matches!(export(&|| None), Outcome::Delivered), "{protocol:?}");
        assert_eq!(receiver.spans().len(), 1);
    }
}

#[test]
fn what_will_never_pass_is_told_at_once() {
    let refusals = [Refusal::invalid(), Refusal::unauthenticated(), Refusal::throttled()];
    for protocol in BOTH {
        for refusal in &refusals {
            // Over HTTP, 429 is worth a retry without a delay too.
            let is_final = protocol == Protocol::Grpc || *refusal != Refusal::throttled();
            if !is_final {
                continue;
            }
            let runtime = OwnRuntime::new().unwrap();
            let receiver = receiver(protocol);
            receiver.set_behaviour(Behaviour::Refuse(refusal.clone()));
            let exporter = exporter(&runtime, protocol, receiver.endpoint(), &[]).unwrap();
            let problem = send(&runtime, &exporter, 1).unwrap_err();
            let named = match protocol {
                Protocol::Grpc => format!("{:?}", refusal.code),
                Protocol::HttpProtobuf => refusal.http_status.to_string(),
            };
            assert!(problem.contains(&named), "{problem}");
            assert_eq!(receiver.counts().refused, 1, "{protocol:?} {refusal:?}");
        }
    }
}

#[test]
fn a_part_that_is_not_taken_is_counted() {
    for protocol in BOTH {
        let runtime = OwnRuntime::new().unwrap();
        let receiver = receiver(protocol);
        receiver.set_behaviour(Behaviour::PartialSuccess(2));
        let exporter = exporter(&runtime, protocol, receiver.endpoint(), &[]).unwrap();
        let delivered = send(&runtime, &exporter, 5).unwrap();
        assert_eq!(delivered.rejected, 2, "{protocol:?}");
        assert!(!delivered.message.is_empty());
        assert_eq!(receiver.spans().len(), 3);
    }
}

#[test]
fn an_answer_that_is_no_otlp_is_an_error() {
    for protocol in BOTH {
        let runtime = OwnRuntime::new().unwrap();
        let receiver = receiver(protocol);
        receiver.set_behaviour(Behaviour::Garbage);
        let exporter = exporter(&runtime, protocol, receiver.endpoint(), &[]).unwrap();
        let problem = send(&runtime, &exporter, 1).unwrap_err();
        // In what frames it comes, tonic sees before we do.
        let expected = match protocol {
            Protocol::Grpc => "Internal: ",
            Protocol::HttpProtobuf => "is not OTLP",
        };
        assert!(problem.contains(expected), "{protocol:?} {problem}");
    }
}

#[test]
fn the_timeout_holds_for_all_tries_together() {
    for protocol in BOTH {
        for behaviour in [Behaviour::Hang, Behaviour::Refuse(Refusal::unavailable())] {
            let runtime = OwnRuntime::new().unwrap();
            let receiver = receiver(protocol);
            receiver.set_behaviour(behaviour.clone());
            let timeout = [("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1500")];
            let exporter = exporter(&runtime, protocol, receiver.endpoint(), &timeout).unwrap();
            let start = Instant::now();
            send(&runtime, &exporter, 1).unwrap_err();
            let took = start.elapsed();
            assert!(took < Duration::from_secs(10), "{protocol:?} {behaviour:?} {took:?}");
        }
    }
}

#[test]
fn with_no_time_left_there_is_one_try() {
    for protocol in BOTH {
        let runtime = OwnRuntime::new().unwrap();
        // A port that was free a moment ago: nobody listens.
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let exporter = exporter(&runtime, protocol, &format!("http://{addr}"), &[]).unwrap();
        let start = Instant::now();
        let problem = runtime.block_on(exporter.send(&mut spans(1), || true)).unwrap_err().problem;
        assert!(problem.contains("refused"), "{protocol:?} {problem}");
        assert!(start.elapsed() < Duration::from_secs(10), "{protocol:?}");
    }
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    const URL: &str = "https://localhost:1";
    let missing = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent/ca.pem");
    let alone = ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/nonexistent/key.pem");
    let runtime = OwnRuntime::new().unwrap();
    for protocol in BOTH {
        let problem = exporter(&runtime, protocol, URL, &[missing]).unwrap_err();
        assert!(problem.contains("OTEL_EXPORTER_OTLP_CERTIFICATE: /nonexistent"), "{problem}");
        let problem = exporter(&runtime, protocol, URL, &[alone]).unwrap_err();
        assert!(problem.contains("set both or none"), "{problem}");
        exporter(&runtime, protocol, "http://localhost:1", &[missing]).unwrap();
    }
}
