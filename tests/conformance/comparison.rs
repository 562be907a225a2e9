//! `docs/comparison.md` names a test for what it says; the tests are there.

use std::fs;
use std::path::{Path, PathBuf};

/// Where a test of this name is, and what its function is called; `None` for what is no name.
fn place(name: &str) -> Option<(PathBuf, &str)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let parts: Vec<_> = name.split("::").collect();
    let (function, modules) = parts.split_last().filter(|(_, modules)| !modules.is_empty())?;
    let folder = match modules[0] {
        "it" | "conformance" => root.join("tests"),
        _ => root.join("src"),
    };
    Some((modules.iter().fold(folder, |path, module| path.join(module)), function))
}

#[test]
fn every_row_is_proved_by_a_test_that_exists() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/comparison.md");
    let text = fs::read_to_string(path).unwrap();
    let mut proved = 0;
    for row in text.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in cell.split('`').skip(1).step_by(2) {
            let Some((module, function)) = place(name) else { continue };
            let file = module.with_extension("rs");
            match fs::read_to_string(&file) {
                Ok(source) => {
                    let has_it = source.contains(&format!("fn {function}("));
                    // Types are named like tests.
                    let has_it = has_it || !function.starts_with(char::is_lowercase);
                    assert!(has_it, "{} has no {function}", file.display());
                }
                // A whole module.
                Err(_) => assert!(
                    module.join(function).with_extension("rs").exists()
                        || !function.starts_with(char::is_lowercase),
                    "there is no {name}"
                ),
            }
            proved += 1;
        }
    }
    assert!(proved > 50, "only {proved} cells were understood");
}
