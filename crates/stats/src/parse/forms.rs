//! The forms of the lines of both reports, by section.

mod classes;
mod cpus;
mod filler;
mod guarded;
mod limits;
mod own;
mod page_heaps;
mod summary;
mod titles;

use super::template::Template;

/// How a kind of line looks.
pub(super) struct Form {
    pub(super) name: &'static str,
    /// The title that it must stand under, where it cannot be told from others else.
    pub(super) under: Option<&'static str>,
    pub(super) template: Template,
}

/// All forms; of those that a line has, the first counts.
pub(super) fn all() -> impl Iterator<Item = &'static Form> {
    SECTIONS.into_iter().flatten()
}

/// The most frequent lines first.
const SECTIONS: [&[Form]; 9] = [
    classes::FORMS,
    cpus::FORMS,
    summary::FORMS,
    page_heaps::FORMS,
    filler::FORMS,
    guarded::FORMS,
    limits::FORMS,
    own::FORMS,
    titles::FORMS,
];

const fn form(name: &'static str, template: &'static str) -> Form {
    Form { name, under: None, template: Template::of(template) }
}

const fn under(title: &'static str, name: &'static str, template: &'static str) -> Form {
    Form { name, under: Some(title), template: Template::of(template) }
}
