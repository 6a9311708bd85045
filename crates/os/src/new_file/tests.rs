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

/// A pipe and a socket, which any user can make, stand for devices.
#[test]
fn what_is_no_regular_file_keeps_its_place() {
    use std::os::unix::{ffi::OsStrExt, fs::FileTypeExt, fs::symlink, net::UnixListener};
    let refused = |path: &PathBuf| NewFile::create(path.as_os_str().as_bytes()).err();
    let pipe = place("pipe");
    let name = std::ffi::CString::new(pipe.as_os_str().as_bytes()).expect("no zero byte");
    // SAFETY: a path that ends in a zero byte.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert_eq!(refused(&pipe), Some(NewFile::NO_REGULAR_FILE));
    assert!(fs::symlink_metadata(&pipe).expect("it stands").file_type().is_fifo());
    let socket = place("socket");
    let _listener = UnixListener::bind(&socket).expect("a socket can be made");
    assert_eq!(refused(&socket), Some(NewFile::NO_REGULAR_FILE));
    let (aim, link, loose) = (place("aim"), place("link"), place("loose"));
    fs::write(&aim, "aim").expect("it can be written");
    symlink(&aim, &link).expect("a link can be made");
    symlink(place("nothing"), &loose).expect("a link can be made");
    for link in [&link, &loose] {
        assert_eq!(refused(link), Some(NewFile::NO_REGULAR_FILE));
        assert!(fs::symlink_metadata(link).expect("it stands").file_type().is_symlink());
    }
    assert_eq!(fs::read_to_string(&aim).expect("it stands"), "aim");
    let directory = place("directory");
    fs::create_dir_all(&directory).expect("a directory can be made");
    assert_eq!(refused(&directory), Some(libc::EISDIR));
}

#[test]
fn what_comes_to_the_place_meanwhile_stays_there() {
    let path = place("meanwhile");
    let mut file = begin(&path);
    file.write_str("text").expect("room");
    std::os::unix::fs::symlink("/nowhere", &path).expect("a link can be made");
    assert_eq!(file.commit(), Err(NewFile::NO_REGULAR_FILE));
    assert!(fs::symlink_metadata(&path).expect("it stands").file_type().is_symlink());
}

#[test]
fn nobody_is_written_through_by_a_link_under_the_temporary_name() {
    let (path, victim) = (place("planted"), place("victim"));
    fs::write(&victim, "theirs").expect("it can be written");
    let temporary = place(&format!("planted.{}.tmp", std::process::id()));
    std::os::unix::fs::symlink(&victim, &temporary).expect("a link can be made");
    let mut file = begin(&path);
    file.write_str("ours").expect("room");
    file.commit().expect("room");
    assert_eq!(fs::read_to_string(&victim).expect("it stands"), "theirs");
    assert_eq!(fs::read_to_string(&path).expect("it stands"), "ours");
    assert!(fs::symlink_metadata(&path).expect("it stands").is_file());
}

#[test]
fn two_at_a_time_for_one_place_do_not_mix() {
    let path = place("two");
    let (mut first, mut second) = (begin(&path), begin(&path));
    first.write_str("first").expect("room");
    second.write_str("second").expect("room");
    first.commit().expect("room");
    assert_eq!(fs::read_to_string(&path).expect("it stands"), "first");
    second.commit().expect("room");
    assert_eq!(fs::read_to_string(&path).expect("it stands"), "second");
}
