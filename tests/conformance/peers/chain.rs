//! What the spans and headers of a chain of calls have to be.

use std::fmt::Write as _;

use opentelemetry::trace::{SpanId, TraceId};

use crate::relay::Arrived;
use crate::stage::{Hop, RUST};
use crate::support::otlp_receiver::{ReceivedSpan, SpanKind};

pub(crate) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Who calls the first service of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Nobody with a trace: it starts at the first service.
    None,
    /// Who sends [`traceparent`].
    Traced,
}

/// The header line of a caller with these flags.
pub(crate) fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// The spans of the chain from its first service to its last, each of which is called by the one
/// before: server, client, server, and so on.
///
/// # Panics
///
/// Panics if these are not all spans that there are, in one trace, each the child of the one before
/// it and the first the child of [`CALLER`] if there is one; or if a kind, a service or one of our
/// flags is not right.
#[track_caller]
pub(crate) fn expect_spans<'a>(
    spans: &'a [ReceivedSpan],
    chain: &[Hop],
    caller: Caller,
) -> Vec<&'a ReceivedSpan> {
    let mut expected: Vec<_> = chain
        .iter()
        .flat_map(|hop| [(hop.service, SpanKind::Server), (hop.service, SpanKind::Client)])
        .collect();
    // The last service calls nobody.
    expected.pop();
    let mut parent = match caller {
        Caller::None => None,
        Caller::Traced => Some(SpanId::from_hex(CALLER).unwrap()),
    };
    let mut found: Vec<&ReceivedSpan> = Vec::new();
    for (service, kind) in expected {
        let children: Vec<_> = spans.iter().filter(|s| s.parent_span_id == parent).collect();
        let [span] = children[..] else {
            panic!(
                "{} spans below {parent:?}, where {service}'s {kind:?} should be\n{}",
                children.len(),
                list(spans)
            );
        };
        assert_eq!((span.service_name(), span.kind), (service, kind), "{}", list(spans));
        assert_eq!(span.trace_id, found.first().unwrap_or(&span).trace_id, "{}", list(spans));
        // Not all SDKs tell the collector the flags of a span.
        if service == RUST {
            let is_remote = if kind == SpanKind::Server { 0x300 } else { 0x100 };
            assert_eq!(span.flags & !2, is_remote | 1, "{service}'s {kind:?}\n{}", list(spans));
        }
        parent = Some(span.span_id);
        found.push(span);
    }
    if caller == Caller::Traced {
        assert_eq!(found[0].trace_id, TraceId::from_hex(TRACE).unwrap());
    }
    assert_eq!(found.len(), spans.len(), "there are other spans\n{}", list(spans));
    found
}

/// Each service but the first is told the span that called it, which is sampled.
#[track_caller]
pub(crate) fn expect_parents(arrived: &[Arrived], spans: &[&ReceivedSpan]) {
    let clients = spans.iter().filter(|span| span.kind == SpanKind::Client);
    for (arrived, client) in arrived.iter().skip(1).zip(clients) {
        let [version, trace, parent, flags] = arrived.parent();
        assert_eq!(version, "00");
        assert_eq!(TraceId::from_hex(trace).unwrap(), client.trace_id);
        assert_eq!(SpanId::from_hex(parent).unwrap(), client.span_id);
        assert!(is_sampled(flags), "{flags}");
    }
}

pub(crate) fn is_sampled(flags: &str) -> bool {
    u8::from_str_radix(flags, 16).unwrap() & 1 == 1
}

/// The spans, one a line, for messages.
fn list(spans: &[ReceivedSpan]) -> String {
    let mut text = String::new();
    for span in spans {
        writeln!(
            text,
            "{} {} {} {:?} {:?} flags {:x} parent {:?}",
            span.trace_id,
            span.span_id,
            span.service_name(),
            span.kind,
            span.name,
            span.flags,
            span.parent_span_id,
        )
        .expect("a String takes all that is written");
    }
    text
}
