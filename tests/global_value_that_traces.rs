//! A value that makes a span while it is formatted. With a subscriber for a scope `tracing` ignores
//! what is traced from within it, with a global one it does not.

use std::fmt;

use actix_web::test::TestRequest;
use opentelemetry::trace::SpanId;
use spanbridge::propagation::start_span;
use spanbridge::testing::InMemory;
use tracing_subscriber::prelude::*;

struct MakesASpan;

impl fmt::Debug for MakesASpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        drop(tracing::info_span!("made"));
        f.write_str("value")
    }
}

/// 1. A span is started for a caller. 2. To format one of its values is to make another span.
#[test]
fn span_that_a_value_makes_is_no_child_of_the_caller() {
    let (memory, layer) = InMemory::new();
    tracing_subscriber::registry().with(layer).init();
    let caller = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let request = TestRequest::default().insert_header(caller).to_http_request();
    drop(start_span(request.headers(), || tracing::info_span!("server", value = ?MakesASpan)));
    let spans = memory.spans();
    let parent = |name: &str| {
        let span = spans.iter().find(|span| span.name == name);
        span.unwrap_or_else(|| panic!("no {name} in {spans:?}")).parent_span_id
    };
    assert_eq!(parent("server"), SpanId::from_hex("b7ad6b7169203331").unwrap());
    assert_eq!(parent("made"), SpanId::INVALID);
}
