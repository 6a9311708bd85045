use super::GrowingFile;
use std::path::{Path, PathBuf};
use std::{env, format, fs, process};

fn path(name: &str) -> PathBuf {
    env::temp_dir().join(format!("strata-growing-{name}-{}", process::id()))
}

fn create(path: &Path) -> Result<GrowingFile, i32> {
    GrowingFile::create(path.as_os_str().as_encoded_bytes())
}

#[test]
fn pieces_stand_one_behind_the_other_and_what_was_there_is_gone() {
    let path = path("pieces");
    fs::write(&path, "something that is longer than what comes").expect("a directory");
    let file = create(&path).expect("a directory");
    let piece = [b'x'; 100_000];
    file.write_all(&piece).expect("room");
    file.write_all(b"end").expect("room");
    file.write_all(b"").expect("nothing to do");
    let text = fs::read(&path).expect("it is there");
    assert_eq!(text.len(), 100_003);
    assert!(text.ends_with(b"xend"));
    fs::remove_file(path).expect("it is there");
}

#[test]
fn what_cannot_be_made_or_written_is_told() {
    assert_eq!(GrowingFile::create(b"/nowhere/at/all").err(), Some(libc::ENOENT));
    assert_eq!(GrowingFile::create(b"a\0b").err(), Some(libc::EINVAL));
    assert_eq!(GrowingFile::create(b"").err(), Some(libc::EINVAL));
    let full = GrowingFile::create(b"/dev/full").expect("Linux has it");
    assert_eq!(full.write_all(b"x"), Err(libc::ENOSPC));
}

#[test]
fn none_of_it_is_zero() {
    let path = path("zero");
    let file = Some(create(&path).expect("a directory"));
    assert_eq!(size_of_val(&file), size_of::<i32>());
    fs::remove_file(path).expect("it is there");
}
