use super::{Figure, parse, template::Template};
use std::vec::Vec;

fn read(template: &'static str, line: &str) -> Option<Vec<(&'static str, std::string::String)>> {
    let mut figures = Vec::new();
    let known = Template::of(template).read(line, &mut figures);
    let owned = figures.into_iter().map(|(name, Figure(text))| (name, text.into()));
    known.then(|| owned.collect())
}

#[test]
fn blanks_and_commas_count_nowhere() {
    let template = "a {x} of {y}, b";
    let expected = Some([("x", "1".into()), ("y", "2.5".into())].to_vec());
    assert_eq!(read(template, "a 1 of 2.5, b"), expected);
    assert_eq!(read(template, "a    1 of2.5 b "), expected);
    assert_eq!(read(template, "a 1 of 2.5, c"), None);
    assert_eq!(read(template, "a 1 of 2.5, b c"), None);
    assert_eq!(read(template, "a one of 2.5, b"), None);
}

#[test]
fn numbers_may_have_signs_and_exponents_and_be_none() {
    for number in ["0", "-1", "2.43e+03", "nan", "-nan", "18446744073709551615"] {
        let line = std::format!("x {number} y");
        assert_eq!(read("x {n} y", &line), Some([("n", number.into())].to_vec()));
    }
    assert_eq!(read("x {n} y", "x e y"), None);
}

#[test]
fn a_group_is_there_any_number_of_times() {
    let template = "x: @ <{a}<={b}";
    assert_eq!(read(template, "x:"), Some(Vec::new()));
    let two = read(template, "x: <  0<=  8083 <  1<=     6").expect("it has the form");
    assert_eq!(
        two.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
        ["0", "8083", "1", "6"]
    );
    assert_eq!(read(template, "x: <  0<=  8083 <  1"), None);
}

#[test]
fn text_ends_where_the_template_goes_on() {
    let figures =
        read("# of {kind:text} hps with {what:text} <b", "# of all regular hps with a <= b <b");
    let figures = figures.expect("it has the form");
    assert_eq!(figures, [("kind", "all regular".into()), ("what", "a <= b".into())]);
}

#[test]
fn what_has_no_form_is_named_by_its_line() {
    let report = parse("PARAMETER a 1\n\nwhat is this?\n");
    assert_eq!(report.unknown().collect::<Vec<_>>(), [(3, "what is this?")]);
    assert_eq!(report.parameter("a").and_then(Figure::number), Some(1));
    assert_eq!(report.parameter("b"), None);
}

#[test]
fn no_text_is_too_strange() {
    // Beginnings, ends, and lines cut in the middle of a figure.
    let text = include_str!("../../tests/sample/report.txt");
    for (index, _) in text.char_indices().step_by(41) {
        parse(&text[index..]);
        parse(&text[..index]);
    }
    parse("HugePageFiller:\nHugePageFiller: <\nclass\nMALLOC: = (\n\u{e4}\u{f6}{}*\n");
}
