//! What goes wrong, as Kubernetes says it: a `Status` object with a reason and a code.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value, json};

use super::storage::StorageError;

/// An error that is answered to the client.
#[derive(Debug)]
pub(crate) struct ApiError {
    code: StatusCode,
    reason: &'static str,
    message: String,
    /// The pod it is about.
    name: Option<String>,
    /// The fields that are invalid, and why.
    causes: Vec<(&'static str, String)>,
}

impl ApiError {
    /// Whether the client did nothing wrong.
    pub(crate) fn is_internal(&self) -> bool {
        self.code.is_server_error()
    }

    /// The body cannot be read as what it should be.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// The pod has changed since the client saw it.
    pub(crate) fn conflict(name: &str, message: impl fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on pods {name:?}: {message}");
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(name)
    }

    /// An admission webhook said no.
    pub(crate) fn forbidden(name: &str, message: impl fmt::Display) -> Self {
        let message = format!("pods {name:?} is forbidden: {message}");
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(name)
    }

    /// The client did nothing wrong.
    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        let message = format!("Internal error occurred: {message}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// The body can be read, but a field of it makes no sense.
    pub(crate) fn invalid(name: &str, field: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        let message = format!("Pod {name:?} is invalid: {field}: {why}");
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(name);
        error.causes.push((field, why));
        error
    }

    /// The path exists, but not for this method.
    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// No such path.
    pub(crate) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// More than the server is willing to read.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// A patch of a kind that is not known.
    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// Says what storage has to say about the pod of this name.
    pub(crate) fn from_storage(name: &str, error: &StorageError) -> Self {
        match error {
            StorageError::AlreadyExists => {
                let message = format!("pods {name:?} already exists");
                Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(name)
            }
            StorageError::Conflict { .. } | StorageError::OtherObject => {
                Self::conflict(name, error)
            }
            StorageError::Encoding(_) => Self::internal(error),
            StorageError::NotFound => {
                let message = format!("pods {name:?} not found");
                Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(name)
            }
        }
    }

    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), name: None, causes: Vec::new() }
    }

    fn about(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code
    }

    fn error_response(&self) -> HttpResponse {
        let mut details = Map::new();
        if let Some(name) = &self.name {
            details.insert("name".into(), json!(name));
            details.insert("kind".into(), json!("pods"));
        }
        if !self.causes.is_empty() {
            let cause = |(field, why): &(&str, String)| json!({"reason": "FieldValueInvalid", "field": field, "message": why});
            details.insert("causes".into(), self.causes.iter().map(cause).collect::<Value>());
        }
        HttpResponse::build(self.code).json(json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": details,
            "code": self.code.as_u16(),
        }))
    }
}
