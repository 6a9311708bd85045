use super::NewFile;
use core::fmt::Write;
use std::{format, fs, os::unix::fs::PermissionsExt, path::PathBuf, string::String};

fn place(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("strata-new-file-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory can be made");
    directory.join(name)
}

fn begin(path: &std::path::Path) -> NewFile {
    NewFile::create(path.as_os_str().as_encoded_bytes()).expect("it can be created")
}

#[test]
fn a_file_of_any_length_arrives_whole() {
    let path = place("whole");
    let mut expected = String::new();
    let mut file = begin(&path);
    for line in 0..20_000 {
        let text = format!("line {line}\n");
        file.write_str(&text).expect("room");
        expected.push_str(&text);
    }
    file.commit().expect("room");
    assert_eq!(fs::read_to_string(&path).expect("it stands"), expected);
    let mode = fs::metadata(&path).expect("it stands").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may read it");
}

#[test]
fn what_is_dropped_leaves_the_older_file_alone() {
    let path = place("dropped");
    fs::write(&path, "older").expect("it can be written");
    let mut file = begin(&path);
    file.write_str("newer").expect("room");
    drop(file);
    assert_eq!(fs::read_to_string(&path).expect("it stands"), "older");
    let parent = path.parent().expect("a directory");
    let left: std::vec::Vec<_> = fs::read_dir(parent)
        .expect("it stands")
        .map(|entry| entry.expect("it can be read").file_name())
        .filter(|name| name.to_string_lossy().starts_with("dropped."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_cannot_be_written_is_an_error_and_not_a_file() {
    assert_eq!(NewFile::create(b"/nowhere/at/all").err(), Some(libc::ENOENT));
    assert_eq!(NewFile::create(b"").err(), Some(libc::EINVAL));
    assert_eq!(NewFile::create(b"a\0b").err(), Some(libc::EINVAL));
    assert_eq!(NewFile::create(&[b'a'; 600]).err(), Some(libc::ENAMETOOLONG));
}
