//! The files of the repository.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Where files stand that are written by hand.
const PLACES: [&str; 6] = [".ci", "benches", "crates", "docs", "examples", "xtask"];

/// The paths of all files, from the root, with `/` between.
pub(super) struct Tree {
    files: Vec<String>,
}

impl Tree {
    /// Those under `root`.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                files.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        for place in PLACES {
            collect(root, place, &mut files).with_context(|| format!("looking into {place}"))?;
        }
        files.sort_unstable();
        Ok(Self { files })
    }

    #[cfg(test)]
    pub(super) fn of(files: &[&str]) -> Self {
        Self { files: files.iter().map(|&file| file.to_owned()).collect() }
    }

    /// What is checked.
    pub(super) fn documents(&self) -> impl Iterator<Item = &str> {
        let all = self.files.iter().map(String::as_str);
        all.filter(|file| {
            file.ends_with(".md") && (!file.contains('/') || file.starts_with("docs/"))
        })
    }

    /// What is compiled or run.
    pub(super) fn sources(&self) -> impl Iterator<Item = &str> {
        let all = self.files.iter().map(String::as_str);
        all.filter(|file| {
            let ending = Path::new(file).extension().and_then(|ending| ending.to_str());
            ending.is_none_or(|ending| ["rs", "c", "cc", "h", "sh", "py"].contains(&ending))
        })
    }

    /// Whether `path` is a file or a folder, or how one ends.
    pub(super) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.files.iter().any(|file| {
            let mut begins = file.match_indices(path).map(|(begin, _)| begin);
            begins.any(|begin| {
                let (before, rest) = file.split_at(begin);
                let behind = &rest[path.len()..];
                let whole = before.is_empty() || before.ends_with('/');
                whole && (behind.is_empty() || behind.starts_with('/'))
            })
        })
    }
}

fn collect(root: &Path, folder: &str, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                collect(root, &path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}
