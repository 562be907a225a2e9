//! One function for each verb, with steps that are called as in Kubernetes' handlers.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::{Value, json};
use spanbridge::legacy::{Trace, fields};

use super::admission::Admission;
use super::error::ApiError;
use super::operation::timed;
use super::pod::{Pod, merge};
use super::storage::Storage;

const MERGE_PATCH: &str = "application/merge-patch+json";

/// The body, or why it could not be read: too long, or the client left.
type Body = Result<Bytes, actix_web::Error>;

/// `POST /api/v1/namespaces/{namespace}/pods`
pub(super) async fn create(
    request: HttpRequest,
    path: Path<String>,
    body: Body,
    storage: Data<Storage>,
    admission: Data<Admission>,
) -> Result<HttpResponse, ApiError> {
    let namespace = path.into_inner();
    let handle = async |trace: &Trace| {
        let body = read(body, trace)?;
        trace.step("About to convert to expected version", fields![]);
        let mut pod = Pod::read(&body, &namespace)?;
        trace.step("Conversion done", fields![]);
        let name = pod.metadata.name.clone();
        if !pod.metadata.resource_version.is_empty() {
            let why = "must not be set on an object to be created";
            return Err(ApiError::invalid(&name, "metadata.resourceVersion", why));
        }
        admission.admit_creation(&namespace, &name).await?;
        trace.step("Admitted", fields!["name" => &name]);
        pod.metadata.uid = new_uid()?;
        let pod = storage.create(pod).map_err(|err| ApiError::from_storage(&name, &err))?;
        trace.step("Write to database call succeeded", fields![]);
        Ok(HttpResponse::Created().json(pod))
    };
    timed("Create", &request, handle).await
}

/// `GET /api/v1/namespaces/{namespace}/pods`
pub(super) async fn list(
    request: HttpRequest,
    path: Path<String>,
    storage: Data<Storage>,
) -> Result<HttpResponse, ApiError> {
    let handle = async |trace: &Trace| {
        trace.step("About to List from storage", fields![]);
        let (items, version) = storage.list(&path).map_err(ApiError::internal)?;
        trace.step("Listing from storage done", fields!["count" => items.len()]);
        Ok(HttpResponse::Ok().json(json!({
            "kind": "PodList",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": version.to_string()},
            "items": items,
        })))
    };
    timed("List", &request, handle).await
}

/// `GET /api/v1/namespaces/{namespace}/pods/{name}`
pub(super) async fn get(
    request: HttpRequest,
    path: Path<(String, String)>,
    storage: Data<Storage>,
) -> Result<HttpResponse, ApiError> {
    let (namespace, name) = path.into_inner();
    let handle = async |trace: &Trace| {
        trace.step("About to Get from storage", fields![]);
        let pod = storage.get(&namespace, &name);
        Ok(HttpResponse::Ok().json(pod.map_err(|err| ApiError::from_storage(&name, &err))?))
    };
    timed("Get", &request, handle).await
}

/// `PUT /api/v1/namespaces/{namespace}/pods/{name}`
pub(super) async fn update(
    request: HttpRequest,
    path: Path<(String, String)>,
    body: Body,
    storage: Data<Storage>,
) -> Result<HttpResponse, ApiError> {
    let (namespace, name) = path.into_inner();
    let handle = async |trace: &Trace| {
        let body = read(body, trace)?;
        trace.step("About to convert to expected version", fields![]);
        let pod = Pod::read(&body, &namespace)?;
        trace.step("Conversion done", fields![]);
        if pod.metadata.name != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({}) is not the name in the URL ({name})",
                pod.metadata.name
            )));
        }
        let expected = pod.version(&name)?;
        trace.step("About to store object in database", fields![]);
        let pod = storage.update(pod, expected);
        Ok(HttpResponse::Ok().json(pod.map_err(|err| ApiError::from_storage(&name, &err))?))
    };
    timed("Update", &request, handle).await
}

/// `PATCH /api/v1/namespaces/{namespace}/pods/{name}`
pub(super) async fn patch(
    path: Path<(String, String)>,
    request: HttpRequest,
    body: Body,
    storage: Data<Storage>,
) -> Result<HttpResponse, ApiError> {
    let (namespace, name) = path.into_inner();
    let handle = async |trace: &Trace| {
        check_media_type(&request)?;
        let patch: Value = serde_json::from_slice(&read(body, trace)?)
            .map_err(|err| ApiError::bad_request(format!("the patch is no JSON: {err}")))?;
        let change = |old: &Pod| {
            trace.step("About to apply patch", fields![]);
            apply(old, patch, &namespace, &name)
        };
        let failed = |err| ApiError::from_storage(&name, &err);
        let pod = storage.patch(&namespace, &name, change, failed)?;
        trace.step("Object stored in database", fields![]);
        Ok(HttpResponse::Ok().json(pod))
    };
    timed("Patch", &request, handle).await
}

/// `DELETE /api/v1/namespaces/{namespace}/pods/{name}`
pub(super) async fn delete(
    request: HttpRequest,
    path: Path<(String, String)>,
    body: Body,
    storage: Data<Storage>,
) -> Result<HttpResponse, ApiError> {
    let (namespace, name) = path.into_inner();
    let handle = async |trace: &Trace| {
        let expected = precondition(&read(body, trace)?, &name)?;
        trace.step("About to delete object from database", fields![]);
        let pod = storage
            .delete(&namespace, &name, expected)
            .map_err(|err| ApiError::from_storage(&name, &err))?;
        trace.step("Object deleted from database", fields![]);
        Ok(HttpResponse::Ok().json(json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {"name": name, "kind": "pods", "uid": pod.metadata.uid},
        })))
    };
    timed("Delete", &request, handle).await
}

fn check_media_type(request: &HttpRequest) -> Result<(), ApiError> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(MERGE_PATCH) {
        return Ok(());
    }
    let message = format!("a patch of type {media_type:?} is not known; use {MERGE_PATCH}");
    Err(ApiError::unsupported_media_type(message))
}

/// What a patch makes of a pod, and the version that the client expects that to have.
fn apply(
    old: &Pod,
    patch: Value,
    namespace: &str,
    name: &str,
) -> Result<(Pod, Option<u64>), ApiError> {
    let mut object = serde_json::to_value(old).map_err(ApiError::internal)?;
    // A version in the patch is what the client expects; the one in the object is no claim.
    let expects_version = patch.pointer("/metadata/resourceVersion").is_some();
    merge(&mut object, patch);
    let new: Pod = serde_json::from_value(object)
        .map_err(|err| ApiError::bad_request(format!("the result is no Pod: {err}")))?;
    if new.metadata.name != name {
        return Err(ApiError::invalid(name, "metadata.name", "the field is immutable"));
    }
    new.check(namespace)?;
    let expected = if expects_version { new.version(name)? } else { None };
    Ok((new, expected))
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

fn read(body: Body, trace: &Trace) -> Result<Bytes, ApiError> {
    let body = body.map_err(|err| match err.as_response_error().status_code().as_u16() {
        413 => ApiError::too_large(err.to_string()),
        _ => ApiError::bad_request(format!("cannot read the body: {err}")),
    })?;
    trace.step("limitedReadBody succeeded", fields!["len" => body.len()]);
    Ok(body)
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
