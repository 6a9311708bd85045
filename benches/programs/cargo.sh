# cargo build of a small crate
# needs: cargo cc
# own malloc: rustc (jemalloc); cargo and the linker run on Strata
case $1 in
prepare)
    mkdir -p small/src
    printf '[package]\nname = "small"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n' >small/Cargo.toml
    cat >small/src/main.rs <<'RUST'
use std::collections::BTreeMap;
fn main() {
    let mut counts = BTreeMap::new();
    for word in "the cat and the dog and the bird".split(' ') {
        *counts.entry(word).or_insert(0) += 1;
    }
    println!("{counts:?}");
}
RUST
    ;;
run)
    unset RUSTFLAGS RUSTC_WRAPPER CARGO_TARGET_DIR
    rm -rf small/target
    cargo build --quiet --offline --release --manifest-path small/Cargo.toml && small/target/release/small
    cargo metadata --quiet --offline --no-deps --format-version 1 --manifest-path small/Cargo.toml |
        sed 's/"target_directory.*//' | grep -c '"name":"small"' ;;
esac
