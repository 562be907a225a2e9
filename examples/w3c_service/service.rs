//! `POST /test`: a list of calls to make.

use actix_web::error::ErrorBadGateway;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Result};
use awc::Client;
use serde::Deserialize;
use serde_json::Value;
use spanbridge::ClientTracing;

/// A call to make: `arguments` go to `url` as they are.
#[derive(Debug, Deserialize)]
struct Call {
    url: String,
    #[serde(default)]
    arguments: Value,
}

pub(crate) fn routes(app: &mut ServiceConfig) {
    let client = Client::builder().wrap(ClientTracing::new()).finish();
    app.app_data(web::Data::new(client)).route("/test", web::post().to(call_all));
}

/// Answers when all calls have been answered: the harness forgets the request right after.
async fn call_all(calls: web::Json<Vec<Call>>, client: web::Data<Client>) -> Result<HttpResponse> {
    for Call { url, arguments } in calls.into_inner() {
        let answer = client.post(&url).send_json(&arguments).await;
        answer.map_err(|err| ErrorBadGateway(format!("POST {url} failed: {err}")))?;
    }
    Ok(HttpResponse::Ok().json(Value::Null))
}
