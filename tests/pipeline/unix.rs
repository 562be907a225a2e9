//! OTLP over a Unix domain socket.

use std::path::PathBuf;
use std::sync::mpsc;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use spanbridge::TracingConfig;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::codegen::async_trait;
use tracing::{Dispatch, dispatcher, info_span};
use tracing_subscriber::prelude::*;

use crate::harness::LONG;

/// Tells the test the names of the spans it is sent.
#[derive(Debug)]
struct Names(mpsc::Sender<String>);

#[async_trait]
impl TraceService for Names {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let scopes =
            request.into_inner().resource_spans.into_iter().flat_map(|spans| spans.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            let _ = self.0.send(span.name);
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A socket's path that is removed in the end.
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn spans_reach_a_collector_on_a_socket() {
    let file = format!("spanbridge-{}.sock", std::process::id());
    let socket = Socket(std::env::temp_dir().join(file));
    let path = socket.0.display();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (sent, names) = mpsc::channel();
    let listener = {
        let _entered = runtime.enter();
        UnixListener::bind(&socket.0).unwrap()
    };
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Names(sent)))
        .serve_with_incoming(UnixListenerStream::new(listener));
    runtime.spawn(server);

    for endpoint in [format!("unix://{path}"), format!("unix:{path}")] {
        let config = TracingConfig::default()
            .with_endpoint(&endpoint)
            .with_sampling_rate_per_million(1_000_000);
        let (layer, guard) = spanbridge::layer_from(Some(config)).unwrap().unwrap();
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
        dispatcher::with_default(&dispatch, || info_span!("by socket").in_scope(|| ()));
        guard.shutdown(LONG).unwrap();
        assert_eq!(guard.stats().exported(), 1, "{endpoint}: {}", guard.stats());
        assert_eq!(names.try_recv().as_deref(), Ok("by socket"), "{endpoint}");
    }
}
