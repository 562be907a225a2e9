//! Reading the file, and the errors that Kubernetes gives when that fails.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use super::error::ConfigError;

/// No configuration comes near this; more is a wrong file, or an attack.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// The text of the file at `path`.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    if path.as_os_str().is_empty() {
        return Err(ConfigError::EmptyPath);
    }
    let failed = |operation: &str, error: &io::Error| ConfigError::Read {
        path: path.to_owned(),
        kind: error.kind(),
        reason: format!("{operation} {}: {}", path.display(), errno_text(error)),
    };
    let file = File::open(path).map_err(|error| failed("open", &error))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed("read", &error))?;
    // Before UTF-8, since the cut may go through a character.
    check_length(bytes.len())?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        ConfigError::Decode {
            reason: format!("it is not UTF-8 text: the byte at offset {at} is not valid"),
        }
    })
}

/// Whether there is something at `path`, links followed. The empty path stands for "no file".
pub(super) fn check_path(path: &Path) -> Result<(), ConfigError> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    match fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                ConfigError::NotFound { path: path.to_owned() }
            }
            kind => ConfigError::CheckPath {
                path: path.to_owned(),
                kind,
                reason: format!("stat {}: {}", path.display(), errno_text(&error)),
            },
        }),
    }
}

pub(super) fn check_length(bytes: usize) -> Result<(), ConfigError> {
    if bytes > MAX_BYTES {
        return Err(ConfigError::TooLarge { limit: MAX_BYTES });
    }
    Ok(())
}

/// The system's text as Go prints it: lower case, without the number.
fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
