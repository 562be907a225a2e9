//! What arrives at a collector from us, and from opentelemetry-otlp for the same spans.

use opentelemetry_otlp::{Compression, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_otlp::{SpanExporter as Theirs, WithTonicConfig as _};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_sdk::trace::SpanExporter as _;

use super::sending_tests::{BOTH, exporter, receiver};
use super::tests::{everything, resource, run, sorted};
use super::{EncodedSpans, SpanEncoder};
use crate::config::Protocol;
use crate::export::worker::OwnRuntime;
use crate::layer::{Calibration, Limits};

#[test]
fn a_collector_gets_from_us_what_opentelemetry_otlp_sends_it() {
    let program = everything();
    for protocol in BOTH {
        for is_gzip in [false, true] {
            let (mut chunk, decoder) = run(&program, Limits::default());
            let mut data = Vec::new();
            decoder(false).decode(&mut chunk.clone(), Calibration::for_tests(), &mut data);
            let mut spans = EncodedSpans::default();
            SpanEncoder::new(decoder(false)).encode(
                &mut chunk,
                Calibration::for_tests(),
                &mut spans,
            );
            let runtime = OwnRuntime::new().unwrap();
            let receiver = receiver(protocol);
            let newest = || {
                let headers = receiver.last_headers();
                let encodings = ["content-encoding", "grpc-encoding"];
                let encoding = encodings.map(|name| headers.get(name).cloned());
                let message = receiver.last_message().expect("one has arrived");
                (headers["content-type"].clone(), encoding, normal(message))
            };

            let compression = if is_gzip { "gzip" } else { "none" };
            let compression = [("OTEL_EXPORTER_OTLP_COMPRESSION", compression)];
            let mut ours = exporter(&runtime, protocol, receiver.endpoint(), &compression).unwrap();
            ours.set_resource(&resource());
            ours.set_scope(&data[0].instrumentation_scope);
            runtime.block_on(ours.send(&mut spans, || false)).unwrap();
            let sent_by_us = newest();

            let mut theirs = {
                let _entered = runtime.enter();
                theirs(protocol, &receiver.traces_endpoint(), is_gzip)
            };
            theirs.set_resource(&resource());
            runtime.block_on(theirs.export(data)).unwrap();
            assert_eq!(sent_by_us, newest(), "{protocol:?} {is_gzip}");
            assert_eq!(receiver.counts().spans_accepted, 2 * 12);
        }
    }
}

fn theirs(protocol: Protocol, endpoint: &str, is_gzip: bool) -> Theirs {
    let built = match protocol {
        Protocol::Grpc => {
            let builder = Theirs::builder().with_tonic().with_endpoint(endpoint);
            match is_gzip {
                true => builder.with_compression(Compression::Gzip).build(),
                false => builder.build(),
            }
        }
        Protocol::HttpProtobuf => {
            let builder = Theirs::builder().with_http().with_endpoint(endpoint);
            match is_gzip {
                true => builder.with_compression(Compression::Gzip).build(),
                false => builder.build(),
            }
        }
    };
    built.unwrap()
}

/// With attributes in one order, which protobuf leaves open.
fn normal(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    for spans in &mut request.resource_spans {
        let attributes = spans.resource.iter_mut().map(|resource| &mut resource.attributes);
        attributes.for_each(|attributes| attributes.sort_by(|a, b| a.key.cmp(&b.key)));
        for scope in &mut spans.scope_spans {
            scope.spans = std::mem::take(&mut scope.spans).into_iter().map(sorted).collect();
        }
    }
    request
}
