//! Files, and paths to them.

use super::*;

struct TempFile(std::path::PathBuf);

impl TempFile {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        let name = format!("spanbridge-config-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // A file left behind in the system's folder for such files is no reason to fail.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn files_are_read() {
    let empty = TempFile::new("empty.yaml", "");
    assert_eq!(TracingConfig::from_path(&empty.0), Ok(TracingConfig::default()));
    let text = format!("{HEAD}endpoint: 127.0.0.1:4317\n");
    let yaml = TempFile::new("file.yaml", text);
    assert_eq!(TracingConfig::from_path(&yaml.0).unwrap().endpoint(), Some("127.0.0.1:4317"));
    // A pair of escapes for one character, which only JSON has.
    let text = format!("{{{JSON_HEAD},\"endpoint\":\"unix:/\\ud83d\\ude00\"}}");
    let json = TempFile::new("file.json", &text);
    assert_eq!(TracingConfig::from_path(&json.0).unwrap().endpoint(), Some("unix:/😀"));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let absent = "test-tracing-config-absent";
    let cases = [
        ("", "tracing config file was empty"),
        (
            absent,
            "unable to read tracing configuration from \"test-tracing-config-absent\": open \
             test-tracing-config-absent: no such file or directory",
        ),
        ("src", "unable to read tracing configuration from \"src\": read src: is a directory"),
        (
            "Cargo.toml/x",
            "unable to read tracing configuration from \"Cargo.toml/x\": open Cargo.toml/x: not a \
             directory",
        ),
    ];
    for (path, expected) in cases {
        assert_eq!(TracingConfig::from_path(path).unwrap_err().to_string(), expected);
    }
    let error = TracingConfig::from_path(absent).unwrap_err();
    assert!(matches!(error, ConfigError::Read { kind: std::io::ErrorKind::NotFound, .. }));
}

#[test]
fn paths_are_checked_as_flags() {
    for path in ["", "/", "Cargo.toml"] {
        assert_eq!(TracingConfig::check_path(path), Ok(()), "{path}");
    }
    for path in ["/path/doesnt/exist", "Cargo.toml/x"] {
        assert_eq!(
            TracingConfig::check_path(path).unwrap_err().to_string(),
            format!("tracing-config-file {path} does not exist"),
        );
    }
}

#[test]
fn wrong_bytes_and_huge_files_are_refused() {
    let latin = TempFile::new("latin.yaml", b"endpoint: a\xff\n");
    let error = TracingConfig::from_path(&latin.0).unwrap_err().to_string();
    assert!(error.contains("not UTF-8 text: the byte at offset 11"), "{error}");

    // The last character is cut in two by the limit.
    let huge = TempFile::new("huge.yaml", format!("#{}", "é".repeat(MAX_BYTES)));
    let error = TracingConfig::from_path(&huge.0).unwrap_err();
    assert_eq!(error, ConfigError::TooLarge { limit: MAX_BYTES });
    assert!(TracingConfig::from_yaml(&" ".repeat(MAX_BYTES + 1)).is_err());
    assert!(TracingConfig::from_yaml(&" ".repeat(MAX_BYTES)).is_ok());
    #[cfg(unix)]
    assert_eq!(
        TracingConfig::from_path("/dev/zero"),
        Err(ConfigError::TooLarge { limit: MAX_BYTES })
    );
}
