//! The table that the fast paths are held against: `xtask/hotpath.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::kinds::Kinds;
use crate::workspace::Workspace;

/// What stands at the top of the file.
const HEADER: &str = "\
# What the fast paths of the release build consist of. `cargo xtask hotpath` holds them against this
# table; `cargo xtask hotpath --bless` writes it anew. A change here is to be reviewed like one of code.

";

/// The table, and the compiler that it holds for: another one may choose other instructions.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Golden {
    /// What `rustc --version` says.
    pub(crate) rustc: String,
    /// One entry for each function.
    pub(crate) path: Vec<Entry>,
}

/// What a function's fast path consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) function: String,
    #[serde(flatten)]
    pub(crate) kinds: Kinds,
}

/// How a path compares with the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is as the table says.
    Same,
    /// It is not, and the compiler is the same.
    Different,
    /// It is not, and the compiler is another, or has been given flags.
    ExcusablyDifferent,
    /// It calls, locks or divides.
    Forbidden,
}

impl Verdict {
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Different | Self::Forbidden)
    }
}

impl Golden {
    /// Where the table lies.
    pub(crate) fn file(workspace: &Workspace) -> PathBuf {
        workspace.root().join("xtask/hotpath.toml")
    }

    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("reading {}", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        fs::write(file, self.text()?).with_context(|| format!("writing {}", file.display()))
    }

    fn text(&self) -> Result<String> {
        Ok(format!("{HEADER}{}", toml::to_string(self)?))
    }

    /// What the table says of `function`.
    pub(crate) fn kinds(&self, function: &str) -> Option<Kinds> {
        self.path.iter().find(|entry| entry.function == function).map(|entry| entry.kinds)
    }

    /// How `found` compares; `is_comparable` says that the same compiler made it, without flags.
    pub(crate) fn verdict(&self, found: &Entry, is_comparable: bool) -> Verdict {
        if found.kinds.is_forbidden() {
            Verdict::Forbidden
        } else if self.kinds(&found.function) == Some(found.kinds) {
            Verdict::Same
        } else if is_comparable {
            Verdict::Different
        } else {
            Verdict::ExcusablyDifferent
        }
    }

    /// The functions of the table that were not looked at.
    pub(crate) fn superfluous(&self, found: &[Entry]) -> Vec<&str> {
        let is_found = |name: &str| found.iter().any(|entry| entry.function == name);
        let names = self.path.iter().map(|entry| entry.function.as_str());
        names.filter(|name| !is_found(name)).collect()
    }
}

#[cfg(test)]
mod tests;
