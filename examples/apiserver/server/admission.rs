//! Asks an admission webhook before an object is created.
//!
//! The call goes through [`spanbridge::ClientTracing`], so it is a client span below the request's
//! span, and the webhook receives that span's context: what it does belongs to the same trace.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::info;

use super::error::ApiError;

/// How long a webhook may think.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is asked, and who.
pub(crate) struct Admission {
    client: awc::Client,
    webhook_url: Option<String>,
    own_url: String,
}

#[derive(Debug, Serialize)]
struct Review<'a> {
    kind: &'static str,
    request: Request<'a>,
}

#[derive(Debug, Serialize)]
struct Request<'a> {
    uid: &'a str,
    operation: &'static str,
    namespace: &'a str,
    name: &'a str,
    /// Where to call back. A real webhook has this from its own configuration.
    apiserver: &'a str,
}

#[derive(Debug, Deserialize)]
struct Answer {
    response: Verdict,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    uid: String,
    allowed: bool,
    #[serde(default)]
    status: Option<Explanation>,
}

#[derive(Debug, Deserialize)]
struct Explanation {
    #[serde(default)]
    message: String,
}

impl Admission {
    /// Without a URL, everything is admitted.
    pub(crate) fn new(client: awc::Client, webhook_url: Option<String>, own_url: String) -> Self {
        Self { client, webhook_url, own_url }
    }

    /// Asks whether a pod may be created.
    ///
    /// # Errors
    ///
    /// Fails if the webhook says no, or cannot be asked: what nobody admitted is not created.
    pub(super) async fn admit_creation(&self, namespace: &str, name: &str) -> Result<(), ApiError> {
        let Some(url) = &self.webhook_url else { return Ok(()) };
        let uid = super::handlers::new_uid()?;
        let review = Review {
            kind: "AdmissionReview",
            request: Request {
                uid: &uid,
                operation: "CREATE",
                namespace,
                name,
                apiserver: &self.own_url,
            },
        };
        let failed =
            |why: String| ApiError::internal(format!("failed calling webhook {url}: {why}"));
        let sent = self.client.post(url.as_str()).timeout(TIMEOUT).send_json(&review).await;
        let mut response = sent.map_err(|err| failed(err.to_string()))?;
        if !response.status().is_success() {
            return Err(failed(format!("it answered {}", response.status())));
        }
        let answer: Answer = response.json().await.map_err(|err| failed(err.to_string()))?;
        let Verdict { uid: answered, allowed, status } = answer.response;
        info!(allowed, "admission webhook answered");
        if answered != uid {
            return Err(failed(format!("it answered review {answered:?}, not {uid:?}")));
        }
        if !allowed {
            let message = status.map(|status| status.message).unwrap_or_default();
            let why = if message.is_empty() { "without explanation".to_owned() } else { message };
            let why = format!("admission webhook {url} denied the request: {why}");
            return Err(ApiError::forbidden(name, why));
        }
        Ok(())
    }
}
