use super::{NoLibrary, find_beside};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use strata_replay::PageSizeKind;

/// A directory of this test's own, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("strata-cli-{}-{name}", process::id()));
        fs::create_dir_all(path.join("bin")).expect("a directory can be made");
        fs::create_dir_all(path.join("lib")).expect("a directory can be made");
        Self(path.canonicalize().expect("just made"))
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, "").expect("a file can be written");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_library_is_found_in_lib_next_to_the_commands_directory() {
    let directory = Directory::new("lib");
    let library = directory.file("lib/libstrata.so");
    let found = find_beside(&directory.0.join("bin/strata"), PageSizeKind::Eight);
    assert_eq!(found.expect("it is there"), library);
}

#[test]
fn the_library_is_found_in_the_commands_own_directory() {
    let directory = Directory::new("same");
    let library = directory.file("bin/libstrata-32k.so");
    let found = find_beside(&directory.0.join("bin/strata"), PageSizeKind::ThirtyTwo);
    assert_eq!(found.expect("it is there"), library);
}

#[test]
fn another_page_size_is_not_taken_instead() {
    let directory = Directory::new("other");
    directory.file("lib/libstrata.so");
    let found = find_beside(&directory.0.join("bin/strata"), PageSizeKind::Four);
    assert!(matches!(found, Err(NoLibrary::NotFound(places)) if places.len() == 2));
}

#[test]
fn a_path_that_the_loader_would_split_is_refused() {
    let directory = Directory::new("with space");
    directory.file("lib/libstrata.so");
    let found = find_beside(&directory.0.join("bin/strata"), PageSizeKind::Eight);
    assert!(matches!(found, Err(NoLibrary::Unusable(_))));
}

#[test]
fn the_message_names_every_place() {
    let error =
        find_beside(Path::new("/nowhere/bin/strata"), PageSizeKind::Eight).expect_err("nothing");
    let expected = "the library is missing: there is no /nowhere/bin/../lib/libstrata.so \
                    and no /nowhere/bin/./libstrata.so";
    assert_eq!(error.to_string(), expected);
}
