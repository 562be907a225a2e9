//! The pipeline that `init` builds, from a span to a collector, with what can go wrong there.

use std::collections::HashSet;
use std::net::TcpListener;
use std::time::Duration;

use spanbridge::{FlushError, TracingConfig, TracingGuard};
use tracing::{Dispatch, info_span};
use tracing_subscriber::prelude::*;

use crate::harness::{LONG, Pipeline, assert_adds_up, within};
use crate::support::otlp_receiver::{Behaviour, OtlpReceiver, Refusal};

fn pipeline(url: &str) -> Pipeline {
    let config = TracingConfig::default()
        .with_url(url)
        .with_sampling_rate_per_million(1_000_000)
        .with_service_name("shop");
    let (layer, guard): (_, TracingGuard) =
        spanbridge::layer_from(Some(config)).unwrap().expect("tracing is on");
    Pipeline { dispatch: Dispatch::new(tracing_subscriber::registry().with(layer)), guard }
}

#[test]
fn a_span_arrives_whole() {
    let receiver = OtlpReceiver::grpc();
    let pipeline = pipeline(receiver.endpoint());
    pipeline.run(|| {
        let parent = info_span!("parent", otel.kind = "server", answer = 42_u64, name = "ü");
        parent.in_scope(|| {
            tracing::info!(step = 1, "half way");
            info_span!("child").in_scope(|| ());
        });
    });
    pipeline.guard.force_flush(LONG).unwrap();
    let spans = receiver.spans();
    let find = |name: &str| spans.iter().find(|span| span.name == name).expect("has arrived");
    let (parent, child) = (find("parent"), find("child"));
    assert_eq!(child.parent_span_id, Some(parent.span_id));
    assert_eq!(child.trace_id, parent.trace_id);
    assert_eq!(parent.events.len(), 1);
    assert_eq!(parent.events[0].name, "half way");
    assert!(parent.start <= child.start && child.end <= parent.end);
    assert_adds_up(pipeline.stats(), 2, 0);
    assert_eq!(receiver.counts().malformed, 0);
}

#[test]
fn a_batch_that_is_longer_than_a_receiver_takes_goes_in_several_requests() {
    const SPANS: usize = 80;
    // 4.7 MiB, where the receiver takes 4.
    let text = "x".repeat(60 * 1024);
    let receiver = OtlpReceiver::grpc();
    let pipeline = pipeline(receiver.endpoint());
    pipeline.run(|| {
        for number in 0..SPANS {
            info_span!("large", number, text).in_scope(|| ());
        }
    });
    pipeline.guard.force_flush(LONG).unwrap();
    let counts = receiver.counts();
    assert!(counts.requests >= 2, "{counts:?}");
    let spans = receiver.spans();
    let arrived: HashSet<_> = spans.iter().map(|span| span.span_id).collect();
    assert_eq!((spans.len(), arrived.len()), (SPANS, SPANS));
    assert_adds_up(pipeline.stats(), SPANS as u64, 0);
}

#[test]
fn what_a_collector_rejects_is_counted_as_that() {
    let receiver = OtlpReceiver::grpc();
    receiver.set_behaviour(Behaviour::PartialSuccess(3));
    let pipeline = pipeline(receiver.endpoint());
    pipeline.close_spans(10);
    assert!(pipeline.guard.force_flush(LONG).is_err(), "three spans are lost");
    let stats = pipeline.stats();
    assert_eq!((stats.exported(), stats.dropped().rejected()), (7, 3), "{stats}");
    assert_adds_up(stats, 10, 0);
    assert!(stats.to_string().contains("rejected 3"), "{stats}");
}

#[test]
fn a_warning_of_a_collector_costs_no_span() {
    let receiver = OtlpReceiver::grpc();
    receiver.set_behaviour(Behaviour::Claim(0));
    let pipeline = pipeline(receiver.endpoint());
    pipeline.close_spans(10);
    pipeline.guard.force_flush(LONG).unwrap();
    let stats = pipeline.stats();
    assert_eq!((stats.exported(), stats.dropped().total()), (10, 0), "{stats}");
    assert_eq!((receiver.counts().requests, receiver.spans().len()), (1, 10));
}

#[test]
fn no_more_is_counted_as_rejected_than_was_sent() {
    let receiver = OtlpReceiver::grpc();
    let pipeline = pipeline(receiver.endpoint());
    // 1. A batch of which more was rejected than was in it.
    // 2. Another, so that what was too much of the first could be counted there.
    for (batch, claimed) in [(1, 25), (2, i64::MAX as u64)] {
        receiver.set_behaviour(Behaviour::Claim(claimed));
        pipeline.close_spans(10);
        assert_eq!(pipeline.guard.force_flush(LONG), Err(FlushError::ExportFailed));
        let stats = pipeline.stats();
        assert_eq!((stats.exported(), stats.dropped().rejected()), (0, batch * 10), "{stats}");
        assert_adds_up(stats, batch * 10, 0);
    }
    // 3. A batch that is taken whole is counted as that.
    receiver.set_behaviour(Behaviour::Accept);
    pipeline.close_spans(10);
    pipeline.guard.force_flush(LONG).unwrap();
    let stats = pipeline.stats();
    assert_eq!((stats.exported(), stats.dropped().rejected()), (10, 20), "{stats}");
    assert_adds_up(stats, 30, 0);
    assert_eq!(receiver.counts().requests, 3, "none is sent twice");
}

#[test]
fn shutdown_makes_no_second_try_at_a_collector_that_is_not_there() {
    // A port that was free a moment ago: nobody listens.
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pipeline = pipeline(&format!("http://{addr}"));
    pipeline.close_spans(10);
    let timeout = Duration::from_secs(8);
    let stopped = within(timeout / 2, || pipeline.guard.shutdown(timeout));
    let stats = pipeline.stats();
    assert!(stopped.is_ok() || stats.dropped().total() == 10, "{stopped:?} {stats}");
    assert_eq!(stats.dropped().export_failed(), 10, "{stats}");
    assert_adds_up(stats, 10, 0);
}

#[test]
fn what_gathers_while_a_batch_is_on_its_way_goes_as_one() {
    let receiver = OtlpReceiver::grpc();
    receiver.set_behaviour(Behaviour::Delay(Duration::from_secs(1)));
    let pipeline = pipeline(receiver.endpoint());
    // 1. A batch of 512 goes at once.
    pipeline.close_spans(512);
    receiver.wait_for_counts(|counts| counts.requests == 1, LONG).unwrap();
    // 2. Before it is answered there are more.
    receiver.set_behaviour(Behaviour::Accept);
    pipeline.close_spans(6 * 512);
    pipeline.guard.force_flush(LONG).unwrap();
    assert_eq!((receiver.counts().requests, receiver.spans().len()), (2, 7 * 512));
    assert_adds_up(pipeline.stats(), 7 * 512, 0);
}

#[test]
fn a_collector_that_asks_for_a_pause_gets_nothing_until_it_is_over() {
    // 1. The pause is longer than a batch may take, so the first one is lost.
    let receiver = OtlpReceiver::grpc();
    let pause = Duration::from_secs(60);
    receiver.set_behaviour(Behaviour::Refuse(Refusal::throttled().with_retry_after(pause)));
    let pipeline = pipeline(receiver.endpoint());
    pipeline.close_spans(10);
    assert_eq!(pipeline.guard.force_flush(LONG), Err(FlushError::ExportFailed));
    // 2. The next ones wait: they are not sent, and not given up.
    receiver.set_behaviour(Behaviour::Accept);
    pipeline.close_spans(10);
    let brief = Duration::from_millis(500);
    assert_eq!(pipeline.guard.force_flush(brief), Err(FlushError::TimedOut(brief)));
    assert_eq!((receiver.counts().requests, pipeline.stats().live()), (1, 10));
    // 3. Shutdown does not wait for what will not come.
    let timeout = Duration::from_secs(8);
    within(timeout / 2, || pipeline.guard.shutdown(timeout)).unwrap();
    assert_eq!(receiver.counts().requests, 1);
    let stats = pipeline.stats();
    assert_eq!(stats.dropped().export_failed(), 20, "{stats}");
    assert_adds_up(stats, 20, 0);
}
