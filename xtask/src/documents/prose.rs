//! Links and paths.

use std::path::{Component, Path, PathBuf};

use super::tree::Tree;

/// The relative links of `text` that lead to no file, or to no heading of it. `read` has a file's text.
pub(super) fn dead_links(
    document: &str,
    text: &str,
    tree: &Tree,
    read: impl Fn(&str) -> Option<String>,
) -> impl Iterator<Item = String> {
    links(text).filter_map(move |link| {
        let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
        let target = if file.is_empty() { document.to_owned() } else { beside(document, file) };
        if !tree.has(&target) {
            return Some(format!("the link {link} leads nowhere"));
        }
        let found = heading.is_empty()
            || read(&target).is_some_and(|linked| headings(&linked).any(|known| known == heading));
        (!found).then(|| format!("the link {link} leads to no heading"))
    })
}

/// The targets of the links of `text`, but for those to other places.
fn links(text: &str) -> impl Iterator<Item = String> {
    outside_of_code(text).flat_map(|line| {
        // What stands in backticks, a C++ declaration say, is no link.
        let prose: String = line.split('`').step_by(2).collect();
        let behind = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        let targets = behind.map(|(target, _)| target.to_owned());
        targets.filter(|target| !target.contains("://")).collect::<Vec<_>>()
    })
}

/// `target`, which stands in `document`, from the root.
fn beside(document: &str, target: &str) -> String {
    let mut path = PathBuf::from(document);
    path.pop();
    for component in Path::new(target).components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            component => path.push(component),
        }
    }
    path.to_string_lossy().into_owned()
}

/// The headings of `text` as links name them: small letters, hyphens for blanks, no other signs.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let lines = outside_of_code(text).filter(|line| line.starts_with('#'));
    lines.map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// The lines of `text` that stand in no block of code.
fn outside_of_code(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// The folders whose files are named by their paths.
const PLACES: [&str; 6] = ["crates/", "docs/", "xtask/", "benches/", "examples/", ".ci/"];

/// The endings by which a file's name is known.
const ENDINGS: [&str; 5] = [".rs", ".md", ".toml", ".cc", ".schema.json"];

/// The words in backticks that are the path or the name of a file, of which there is none.
pub(super) fn missing_paths(
    document: &str,
    text: &str,
    tree: &Tree,
) -> impl Iterator<Item = String> {
    let spans = outside_of_code(text).flat_map(|line| line.split('`').skip(1).step_by(2));
    let words = spans.flat_map(|span| span.split([' ', ',', ';', '(', ')', '=']));
    let paths = words.map(|word| word.trim_end_matches(['.', ':'])).filter(|word| {
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        let named = ENDINGS.iter().any(|ending| word.ends_with(ending) && word != ending);
        plain && (named || PLACES.iter().any(|place| word.starts_with(place)))
    });
    let missing = paths.filter(|path| !tree.has(path) && !tree.has(&beside(document, path)));
    missing.map(|path| format!("there is no {path}"))
}
