//! One function for each verb.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::{Value, json};

use super::admission::Admission;
use super::error::ApiError;
use super::pod::{Pod, merge};
use super::storage::Storage;

const MERGE_PATCH: &str = "application/merge-patch+json";

/// The body, or why it could not be read: too long, or the client left.
type Body = Result<Bytes, actix_web::Error>;

/// `POST /api/v1/namespaces/{namespace}/pods`
pub(super) async fn create(
    path: Path<String>,
    body: Body,
    storage: Data<Storage>,
    admission: Data<Admission>,
) -> Result<HttpResponse, ApiError> {
    let namespace = path.into_inner();
    let mut pod = Pod::read(&read(body)?, &namespace)?;
    let name = pod.metadata.name.clone();
    if !pod.metadata.resource_version.is_empty() {
        let why = "must not be set on an object to be created";
        return Err(ApiError::invalid(&name, "metadata.resourceVersion", why));
    }
    admission.admit_creation(&namespace, &name).await?;
    pod.metadata.uid = new_uid()?;
    let pod = storage.create(pod).map_err(|err| ApiError::from_storage(&name, &err))?;
    Ok(HttpResponse::Created().json(pod))
}

/// `GET /api/v1/namespaces/{namespace}/pods`
pub(super) async fn list(
    path: Path<String>,
    storage: Data<Storage>,
) -> Result<HttpResponse, ApiError> {
    let (items, version) = storage.list(&path).map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().json(json!({
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": version.to_string()},
        "items": items,
    })))
}

/// `GET /api/v1/namespaces/{namespace}/pods/{name}`
pub(super) async fn get(
    path: Path<(String, String)>,
    storage: Data<Storage>,
) -> Result<HttpResponse, ApiError> {
    let (namespace, name) = path.into_inner();
    let pod = storage.get(&namespace, &name);
    Ok(HttpResponse::Ok().json(pod.map_err(|err| ApiError::from_storage(&name, &err))?))
}

/// `PUT /api/v1/namespaces/{namespace}/pods/{name}`
pub(super) async fn update(
    path: Path<(String, String)>,
    body: Body,
    storage: Data<Storage>,
) -> Result<HttpResponse, ApiError> {
    let (namespace, name) = path.into_inner();
    let pod = Pod::read(&read(body)?, &namespace)?;
    if pod.metadata.name != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({}) is not the name in the URL ({name})",
            pod.metadata.name
        )));
    }
    let expected = pod.version(&name)?;
    let pod = storage.update(pod, expected);
    Ok(HttpResponse::Ok().json(pod.map_err(|err| ApiError::from_storage(&name, &err))?))
}

/// `PATCH /api/v1/namespaces/{namespace}/pods/{name}`
pub(super) async fn patch(
    path: Path<(String, String)>,
    request: HttpRequest,
    body: Body,
    storage: Data<Storage>,
) -> Result<HttpResponse, ApiError> {
    let (namespace, name) = path.into_inner();
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(MERGE_PATCH) {
        let message = format!("a patch of type {media_type:?} is not known; use {MERGE_PATCH}");
        return Err(ApiError::unsupported_media_type(message));
    }
    let patch: Value = serde_json::from_slice(&read(body)?)
        .map_err(|err| ApiError::bad_request(format!("the patch is no JSON: {err}")))?;
    let change = |old: &Pod| {
        let mut object = serde_json::to_value(old).map_err(ApiError::internal)?;
        // A version in the patch is what the client expects; the one in the object is no claim.
        let expects_version = patch.pointer("/metadata/resourceVersion").is_some();
        merge(&mut object, patch);
        let new: Pod = serde_json::from_value(object)
            .map_err(|err| ApiError::bad_request(format!("the result is no Pod: {err}")))?;
        if new.metadata.name != name {
            return Err(ApiError::invalid(&name, "metadata.name", "the field is immutable"));
        }
        new.check(&namespace)?;
        let expected = if expects_version { new.version(&name)? } else { None };
        Ok((new, expected))
    };
    let failed = |err| ApiError::from_storage(&name, &err);
    Ok(HttpResponse::Ok().json(storage.patch(&namespace, &name, change, failed)?))
}

/// `DELETE /api/v1/namespaces/{namespace}/pods/{name}`
pub(super) async fn delete(
    path: Path<(String, String)>,
    body: Body,
    storage: Data<Storage>,
) -> Result<HttpResponse, ApiError> {
    let (namespace, name) = path.into_inner();
    let expected = precondition(&read(body)?, &name)?;
    let pod = storage
        .delete(&namespace, &name, expected)
        .map_err(|err| ApiError::from_storage(&name, &err))?;
    Ok(HttpResponse::Ok().json(json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": name, "kind": "pods", "uid": pod.metadata.uid},
    })))
}

/// The resource version in the `DeleteOptions` of a body, which may also be empty.
fn precondition(body: &[u8], name: &str) -> Result<Option<u64>, ApiError> {
    if body.is_empty() {
        return Ok(None);
    }
    let options: Value = serde_json::from_slice(body)
        .map_err(|err| ApiError::bad_request(format!("the delete options are no JSON: {err}")))?;
    let mut wanted = Pod::default();
    if let Some(version) = options.pointer("/preconditions/resourceVersion") {
        version.as_str().unwrap_or("?").clone_into(&mut wanted.metadata.resource_version);
    }
    wanted.version(name)
}

fn read(body: Body) -> Result<Bytes, ApiError> {
    body.map_err(|err| match err.as_response_error().status_code().as_u16() {
        413 => ApiError::too_large(err.to_string()),
        _ => ApiError::bad_request(format!("cannot read the body: {err}")),
    })
}

/// A random UUID (RFC 9562, version 4).
pub(super) fn new_uid() -> Result<String, ApiError> {
    let mut bytes = [0; 16];
    OsRng.try_fill_bytes(&mut bytes).map_err(ApiError::internal)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    Ok(format!("{a}-{b}-{c}-{d}-{e}"))
}
