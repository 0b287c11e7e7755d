//! Reading policy folders and golden files.

use std::path::{Path, PathBuf};

use policy::{Policy, Sources};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// All files of a folder whose names end in `.toml`, those of its sub-folders and the lists there, sorted, under their
/// names in it.
pub(crate) fn folder(dir: &Path) -> Sources {
    let mut sources = Sources::new();
    fill(&mut sources, dir, "");
    sources
}

#[expect(clippy::disallowed_methods, reason = "tests read their files")]
fn fill(sources: &mut Sources, dir: &Path, below: &str) {
    for path in listed(dir) {
        let name = format!("{below}{}", path.file_name().unwrap().to_string_lossy());
        let text = || std::fs::read_to_string(&path).unwrap();
        let ends = |ending: &str| path.extension().is_some_and(|ext| ext == ending);
        if path.is_dir() && name == "twin" {
            // another policy, to compare with
        } else if path.is_dir() {
            fill(sources, &path, &format!("{name}/"));
        } else if ends("toml") {
            sources.add_at(&name, &name, text());
        } else if ends("txt") && !below.is_empty() {
            sources.add_list(&name, &name, text());
        }
    }
}

/// The example policies, by the name of their folder.
pub(crate) fn example_sources() -> Vec<(String, Sources)> {
    let dirs = listed(&root().join("../deploy/examples"));
    let named = dirs.iter().map(|dir| {
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        (name, folder(dir))
    });
    named.collect()
}

/// The example policies, loaded.
pub(crate) fn examples() -> Vec<(String, Policy)> {
    let load = |(name, sources): (String, Sources)| {
        let loaded = policy::load(&sources).unwrap_or_else(|diags| {
            let lines: Vec<String> = diags.iter().map(|d| d.one_line(&sources)).collect();
            panic!("{name}\n{}", lines.join("\n"))
        });
        (name, loaded.policy)
    };
    example_sources().into_iter().map(load).collect()
}

pub(crate) fn listed(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// Whether the long run is asked for.
#[expect(clippy::disallowed_methods, reason = "the length of a test run")]
pub(crate) fn long() -> bool {
    std::env::var("POSTERN_LONG").is_ok_and(|value| value == "1")
}

/// Compares with a golden file; `BLESS=1` writes it.
#[expect(clippy::disallowed_methods, reason = "tests read their files")]
pub(crate) fn golden(path: &Path, got: &str) -> Result<(), String> {
    if std::env::var("BLESS").is_ok_and(|value| value == "1") {
        return std::fs::write(path, got).map_err(|error| error.to_string());
    }
    let want = std::fs::read_to_string(path).unwrap_or_default();
    if want == got {
        return Ok(());
    }
    Err(format!(
        "{} differs (BLESS=1 refreshes it)\n--- expected\n{want}--- got\n{got}",
        path.display()
    ))
}
