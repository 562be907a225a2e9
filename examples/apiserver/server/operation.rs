//! One operation of the API, timed as Kubernetes' handlers time theirs.

use std::time::Duration;

use actix_web::http::header::USER_AGENT;
use actix_web::{HttpRequest, HttpResponse};
use spanbridge::legacy::{Trace, fields};

use super::error::ApiError;

/// From when on an operation is slow, and printed. Half a second, as in Kubernetes, where an app has
/// none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlowOperation(pub(crate) Duration);

impl Default for SlowOperation {
    fn default() -> Self {
        Self(Duration::from_millis(500))
    }
}

/// Runs a handler within a `Trace` of this name: what it does is below that in the distributed
/// trace, and its steps are printed if it was slow.
pub(super) async fn timed(
    name: &'static str,
    request: &HttpRequest,
    handle: impl AsyncFnOnce(&Trace) -> Result<HttpResponse, ApiError>,
) -> Result<HttpResponse, ApiError> {
    let slow = request.app_data::<SlowOperation>().copied().unwrap_or_default();
    let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
    let trace = Trace::new(
        name,
        fields![
            "client" => request.peer_addr().map(|addr| addr.ip().to_string()),
            "protocol" => format!("{:?}", request.version()),
            "resource" => "pods",
            "url" => request.path(),
            "user-agent" => user_agent,
            "verb" => request.method().as_str(),
        ],
    )
    // Also where the client leaves, and this future is dropped.
    .log_on_drop(slow.0);
    let answer = trace.in_future(handle(&trace)).await;
    match &answer {
        Ok(response) => trace.step("About to write a response", fields!["code" => code(response)]),
        Err(error) if error.is_internal() => trace.record_error(error, fields![]),
        Err(error) => trace.step("request refused", fields!["err" => error.to_string()]),
    }
    answer
}

fn code(response: &HttpResponse) -> u16 {
    response.status().as_u16()
}
