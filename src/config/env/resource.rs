//! What the spans come from: the service's name and other attributes.

use super::reader::Reader;

const SERVICE_NAME: &str = "service.name";

/// The attributes but for the service's name, and that name.
pub(super) fn read(env: &mut Reader<'_>) -> (Vec<(String, String)>, Option<String>) {
    const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let mut attributes = Vec::new();
    if let Some(value) = env.text(ATTRIBUTES) {
        match parse(&value) {
            Ok(parsed) => attributes = parsed,
            // As the specification asks: one mistake, and none of it counts.
            Err(problem) => env.warn(ATTRIBUTES, &value, &problem),
        }
    }
    let mut service_name = env.text("OTEL_SERVICE_NAME");
    attributes.retain(|(key, value)| {
        if key != SERVICE_NAME {
            return true;
        }
        if service_name.is_none() && !value.is_empty() {
            service_name = Some(value.clone());
        }
        false
    });
    (attributes, service_name)
}

/// `key=value` pairs separated by commas, percent-encoded; the last of a key wins.
fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut attributes: Vec<(String, String)> = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| "must be key=value pairs separated by commas".to_owned())?;
        let key = decode(key.trim())?;
        let value = decode(value.trim())?;
        if key.is_empty() {
            return Err("has an empty key".to_owned());
        }
        match attributes.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => attributes.push((key, value)),
        }
    }
    Ok(attributes)
}

pub(super) fn decode(text: &str) -> Result<String, String> {
    let problem = || "has a bad percent-escape".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let value = digit().zip(digit()).map(|(high, low)| high * 16 + low);
        bytes.push(value.and_then(|v| u8::try_from(v).ok()).ok_or_else(problem)?);
    }
    String::from_utf8(bytes).map_err(|_| problem())
}
