//! How a receiver treats the requests it gets.

use std::time::Duration;

use tonic::Code;

/// What happens to each request; see [`OtlpReceiver::set_behaviour`].
///
/// [`OtlpReceiver::set_behaviour`]: super::OtlpReceiver::set_behaviour
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Behaviour {
    /// Keeps the spans and answers at once.
    #[default]
    Accept,
    /// Keeps the spans, and says that so many of them were rejected, whether or not there were as
    /// many.
    Claim(u64),
    /// Accepts this many requests; from the next on, cuts every connection without an answer.
    CloseAfter(usize),
    /// Keeps the spans and answers after this long. A client that gives up first has sent nothing.
    Delay(Duration),
    /// Answers with success and a body that is no protobuf message. Nothing is kept.
    Garbage,
    /// Reads the request and never answers. Nothing is kept.
    Hang,
    /// Answers with success and a page of HTML, as a proxy does. Nothing is kept.
    Page,
    /// Keeps all but the last so many spans of each request, and says so.
    PartialSuccess(usize),
    /// Answers with an error. Nothing is kept.
    Refuse(Refusal),
    /// Answers this many requests with an error, and accepts the others.
    RefuseFirst(usize, Refusal),
    /// Answers requests of more than so many bytes with an error, and accepts the others.
    RefuseOver(usize, Refusal),
}

/// The error of [`Behaviour::Refuse`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    /// The gRPC status; over HTTP it is in the body.
    pub(crate) code: Code,
    /// The HTTP status; gRPC has no use for it.
    pub(crate) http_status: u16,
    /// When to come back: `RetryInfo` over gRPC, `Retry-After` in whole seconds over HTTP.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    /// `UNAVAILABLE` or 503: worth a retry.
    pub(crate) fn unavailable() -> Self {
        Self { code: Code::Unavailable, http_status: 503, retry_after: None }
    }

    /// `RESOURCE_EXHAUSTED` or 429: worth a retry over gRPC only when a delay comes with it.
    pub(crate) fn throttled() -> Self {
        Self { code: Code::ResourceExhausted, http_status: 429, retry_after: None }
    }

    /// `INVALID_ARGUMENT` or 400: never worth a retry.
    pub(crate) fn invalid() -> Self {
        Self { code: Code::InvalidArgument, http_status: 400, retry_after: None }
    }

    /// `UNAUTHENTICATED` or 401.
    pub(crate) fn unauthenticated() -> Self {
        Self { code: Code::Unauthenticated, http_status: 401, retry_after: None }
    }

    /// `PERMISSION_DENIED` or 403.
    pub(crate) fn forbidden() -> Self {
        Self { code: Code::PermissionDenied, http_status: 403, retry_after: None }
    }

    /// `RESOURCE_EXHAUSTED`, as most gRPC servers say it, or 413.
    pub(crate) fn too_large() -> Self {
        Self { code: Code::ResourceExhausted, http_status: 413, retry_after: None }
    }

    /// Adds the delay that the client is asked to keep.
    pub(crate) fn with_retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }
}
