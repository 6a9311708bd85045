use super::{DRAWING, Member, violations};

fn member(name: &str, uses: &[&str]) -> Member {
    Member { name: name.to_owned(), uses: uses.iter().map(|&used| used.to_owned()).collect() }
}

#[test]
fn every_drawn_arrow_is_allowed() {
    let members: Vec<Member> =
        DRAWING.iter().map(|layer| member(layer.name, layer.arrows)).collect();
    assert_eq!(violations(&members), Vec::<String>::new());
}

#[test]
fn drawn_arrows_point_downwards() {
    for (rank, layer) in DRAWING.iter().enumerate() {
        for arrow in layer.arrows {
            let used = DRAWING.iter().position(|other| other.name == *arrow);
            assert!(used.is_some_and(|used| used < rank), "{} to {arrow}", layer.name);
        }
    }
}

#[test]
fn an_arrow_that_is_not_drawn_is_named() {
    let members = [member("strata-cpu-cache", &["strata-span"]), member("strata-span", &[])];
    assert_eq!(
        violations(&members),
        ["strata-cpu-cache uses strata-span, and the drawing has no such arrow"]
    );
}

#[test]
fn an_arrow_upwards_is_named() {
    let members = [member("strata-os", &["strata-alloc"]), member("strata-alloc", &[])];
    assert_eq!(violations(&members).len(), 1);
}

#[test]
fn crates_above_the_line_may_use_every_crate_below_it() {
    let members = [member("strata-stats", &["strata-os", "strata-temeraire", "strata-alloc"])];
    assert_eq!(violations(&members), Vec::<String>::new());
}

#[test]
fn crates_above_the_line_use_each_other_only_as_drawn() {
    let members = [member("strata-alloc", &["strata-stats"])];
    assert_eq!(violations(&members).len(), 1);
}

#[test]
fn below_the_line_only_the_listed_crates_come_from_outside() {
    let members = [member("strata-os", &["libc", "bitflags", "rand"])];
    let found = violations(&members);
    assert_eq!(found.len(), 1);
    assert!(found.iter().all(|violation| violation.starts_with("strata-os uses rand;")));
}

#[test]
fn above_the_line_any_crate_may_come_from_outside() {
    assert_eq!(violations(&[member("strata-cli", &["clap"])]), Vec::<String>::new());
}

#[test]
fn tools_may_use_everything_and_no_layer_may_use_them() {
    let members = [member("xtask", &["strata-os", "clap"]), member("strata-cli", &["xtask"])];
    assert_eq!(violations(&members), ["strata-cli uses xtask, which is no layer"]);
}

#[test]
fn a_crate_without_a_place_is_named() {
    assert_eq!(
        violations(&[member("strata-new", &[])]),
        ["strata-new has no place in the drawing"]
    );
}
