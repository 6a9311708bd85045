//! Where the library is: beside the command, as `cargo xtask dist` and packages put it.

use crate::choices::library_file;
use core::fmt;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use strata_replay::PageSizeKind;

/// Directories to look in, as seen from the one that the command is in.
const PLACES: [&str; 2] = ["../lib", "."];

/// Why there is no library to preload.
#[derive(Debug)]
pub(crate) enum NoLibrary {
    /// The system does not say where this command is.
    NoCommand(io::Error),
    /// It is at none of these places.
    NotFound(Vec<PathBuf>),
    /// The dynamic loader would take its path for several.
    Unusable(PathBuf),
}

impl fmt::Display for NoLibrary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand(error) => write!(f, "cannot find out where this command is: {error}"),
            Self::NotFound(places) => {
                write!(f, "the library is missing: there is no")?;
                for (index, place) in places.iter().enumerate() {
                    let before = if index == 0 { "" } else { " and no" };
                    write!(f, "{before} {}", place.display())?;
                }
                Ok(())
            }
            Self::Unusable(path) => write!(
                f,
                "the dynamic loader cannot preload {}: its path has a colon or a space in it",
                path.display()
            ),
        }
    }
}

/// The library with such pages.
pub(crate) fn find(page_size: PageSizeKind) -> Result<PathBuf, NoLibrary> {
    let command = env::current_exe().map_err(NoLibrary::NoCommand)?;
    find_beside(&command, page_size)
}

/// The library with such pages, seen from the file that the command is.
fn find_beside(command: &Path, page_size: PageSizeKind) -> Result<PathBuf, NoLibrary> {
    let directory = command.parent().unwrap_or(Path::new("/"));
    let candidates = PLACES.map(|place| directory.join(place).join(library_file(page_size)));
    let Some(found) = candidates.iter().find(|path| path.is_file()) else {
        return Err(NoLibrary::NotFound(candidates.to_vec()));
    };
    let path = found.canonicalize().unwrap_or_else(|_| found.clone());
    if path.as_os_str().as_encoded_bytes().iter().any(|byte| b": ".contains(byte)) {
        return Err(NoLibrary::Unusable(path));
    }
    Ok(path)
}

#[cfg(test)]
mod tests;
