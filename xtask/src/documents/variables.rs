//! Variables of the environment: those that are read are documented, and those that are documented are read.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use super::read;
use super::tree::Tree;

/// Where every variable is documented.
const DOCUMENT: &str = "docs/configuration.md";

/// What stands before a variable's name where it is read.
const READS: [&str; 4] = ["var(\"", "var_os(\"", "getenv(\"", "environment(c\""];

/// The variables that are documented and occur nowhere, or are read and not documented.
pub(super) fn complaints(root: &Path, tree: &Tree) -> Result<Vec<String>> {
    let documented: BTreeSet<String> = names(&read(root, DOCUMENT)?, "").collect();
    let mut used = BTreeSet::new();
    let mut looked_up = BTreeSet::new();
    for source in tree.sources() {
        let text = read(root, source)?;
        used.extend(names(&text, ""));
        looked_up.extend(READS.iter().flat_map(|before| names(&text, before)));
    }
    let unread =
        documented.difference(&used).map(|name| format!("{DOCUMENT}: nobody reads {name}"));
    let unsaid =
        looked_up.difference(&documented).map(|name| format!("{DOCUMENT}: {name} is not there"));
    Ok(unread.chain(unsaid).collect())
}

/// The names of variables of ours in `text` that stand behind `before`.
pub(super) fn names(text: &str, before: &str) -> impl Iterator<Item = String> {
    let starts = text.match_indices("STRATA_").filter(move |(at, _)| text[..*at].ends_with(before));
    starts.map(move |(at, _)| {
        let name = &text[at..];
        let end = name.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(name.len());
        name[..end].to_owned()
    })
}
