use super::allowed_cpus;

#[test]
fn lists_of_cpus_have_ranges_and_holes() {
    let of = |list: &str| allowed_cpus(&format!("Name:\tx\nCpus_allowed_list:\t{list}\n"));
    assert_eq!(of("0"), Some(vec![0]));
    assert_eq!(of("0-2,5,8-9"), Some(vec![0, 1, 2, 5, 8, 9]));
    assert_eq!(of("0-x"), None);
    assert_eq!(allowed_cpus("Name:\tx\n"), None);
}
