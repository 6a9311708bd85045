use super::commands::Commands;
use super::prose::{dead_links, missing_paths};
use super::tree::Tree;
use super::variables;
use crate::workspace::Workspace;

fn dead(text: &str) -> Vec<String> {
    let tree = Tree::of(&["docs/a.md", "docs/b.md"]);
    let read = |file: &str| (file == "docs/a.md").then(|| "# A b's `c`\n".to_owned());
    dead_links("docs/b.md", text, &tree, read).collect()
}

#[test]
fn a_link_leads_to_a_file_and_a_heading() {
    assert_eq!(dead("[x](a.md) [x](a.md#a-bs-c) [x](../docs/a.md) [x](https://a.b/c)"), [""; 0]);
    assert_eq!(dead("see [`x`](nothing.md)"), ["the link nothing.md leads nowhere"]);
    assert_eq!(dead("see [x](a.md#b)"), ["the link a.md#b leads to no heading"]);
    assert_eq!(dead("`f[](nothing.md)`\n```\nlet x = y[0](nothing.md);\n```\n"), [""; 0]);
}

#[test]
fn a_path_in_backticks_is_a_files() {
    let tree = Tree::of(&["crates/a/src/filler.rs", "docs/notes/n.md"]);
    let missing = |text: &str| missing_paths("docs/b.md", text, &tree).collect::<Vec<_>>();
    assert_eq!(
        missing("`filler.rs`, `a/src`, `crates/a`, `notes/n.md`, `docs/notes/n.md:`"),
        [""; 0]
    );
    assert_eq!(
        missing("`iller.rs` and `crates/b/`"),
        ["there is no iller.rs", "there is no crates/b/"]
    );
}

#[test]
fn a_command_is_known_with_its_options() -> anyhow::Result<()> {
    let commands = Commands::of(&Workspace::find()?);
    let known = "`cargo xtask test --strict`, cargo xtask X, `cargo xtask run -- ls --color`, \
                 `cargo test -p strata-c-tests --test binary`";
    assert_eq!(commands.unknown_in(known), [""; 0]);
    let unknown = "`cargo xtask tset`, `cargo xtask test --loose`, `cargo test -p nobody`, `cargo test --test nothing`";
    assert_eq!(
        commands.unknown_in(unknown),
        [
            "there is no cargo xtask tset",
            "cargo xtask test has no option --loose",
            "cargo knows no -p nobody",
            "cargo knows no --test nothing",
        ]
    );
    Ok(())
}

#[test]
fn a_variable_is_known_by_how_it_is_read() {
    let text = r#"getenv("STRATA_SEED"), "STRATA_OTHER""#;
    assert_eq!(variables::names(text, "getenv(\"").collect::<Vec<_>>(), ["STRATA_SEED"]);
    assert_eq!(variables::names(text, "").count(), 2);
}
