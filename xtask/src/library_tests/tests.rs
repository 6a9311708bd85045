use super::{GROUPS, Need, Tests};
use crate::test::LIBRARY_TESTS;
use crate::workspace::Workspace;

#[test]
fn every_group_is_there() {
    let workspace = Workspace::find().expect("a workspace");
    let package = workspace.member(LIBRARY_TESTS).expect("the tests of the libraries");
    let targets = || package.targets.iter().filter(|target| target.is_test());
    for group in &GROUPS {
        let is_there = match group.tests {
            Tests::File(file) => targets().any(|target| target.name == file),
            Tests::Named(name) => targets().any(|target| {
                let source = std::fs::read_to_string(&target.src_path).expect("a source");
                source.contains(&format!("fn {name}()"))
            }),
        };
        assert!(is_there, "{}", group.what);
    }
}

#[test]
fn a_program_that_cannot_be_started_is_missing_by_name() {
    let missing = Need::program("no-program-is-called-so").missing();
    assert_eq!(missing.as_deref(), Some("no-program-is-called-so"));
    assert_eq!(Need::program("cargo").missing(), None);
}
