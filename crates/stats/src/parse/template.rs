//! Lines with figures in them, described as they look.
//!
//! | in a template | in a line |
//! |---|---|
//! | `{name}` | a number |
//! | `{name:word}` | anything up to a blank |
//! | `{name:text}` | anything, up to what follows in the template, or to the end |
//! | `@` | what follows it is there any number of times, up to the end |
//! | anything else | itself; blanks and commas count nowhere |

use super::Figure;
use std::vec::Vec;

type Figures<'a> = Vec<(&'static str, Figure<'a>)>;

/// What a line looks like.
pub(super) struct Template {
    /// What it begins with, up to the first blank, figure or group.
    word: &'static str,
    front: &'static str,
    /// What is repeated; empty if nothing is.
    group: &'static str,
}

impl Template {
    pub(super) const fn of(text: &'static str) -> Self {
        let bytes = text.as_bytes();
        let (mut word, mut front) = (0, 0);
        while word < bytes.len() && !matches!(bytes[word], b' ' | b',' | b'{' | b'@') {
            word += 1;
        }
        while front < bytes.len() && bytes[front] != b'@' {
            front += 1;
        }
        let group = if front < bytes.len() { text.split_at(front + 1).1 } else { "" };
        Self { word: text.split_at(word).0, front: text.split_at(front).0, group }
    }

    /// Reads `line`, if it looks like this; else what it leaves in `figures` means nothing.
    pub(super) fn read<'a>(&self, line: &'a str, figures: &mut Figures<'a>) -> bool {
        if !line.starts_with(self.word) {
            return false;
        }
        let Some(mut rest) = read_part(self.front, line, figures) else { return false };
        while !skip_blanks(rest).is_empty() {
            match read_part(self.group, rest, figures) {
                Some(behind) if behind.len() < rest.len() => rest = behind,
                _ => return false,
            }
        }
        true
    }
}

/// Reads the beginning of `line`; answers with what is behind it.
fn read_part<'a>(
    template: &'static str,
    line: &'a str,
    figures: &mut Figures<'a>,
) -> Option<&'a str> {
    let (mut template, mut line) = (skip_blanks(template), skip_blanks(line));
    while let Some(first) = template.chars().next() {
        if let Some(behind) = template.strip_prefix('{') {
            let (field, behind) = behind.split_once('}')?;
            let (name, kind) = field.split_once(':').unwrap_or((field, "number"));
            let (value, rest) = match kind {
                "number" => number(line)?,
                "word" => line.split_at(line.find(' ').unwrap_or(line.len())),
                _ => text(line, behind)?,
            };
            figures.push((name, Figure(value.trim_end())));
            (template, line) = (behind, rest);
        } else {
            line = line.strip_prefix(first)?;
            template = template.get(first.len_utf8()..)?;
        }
        (template, line) = (skip_blanks(template), skip_blanks(line));
    }
    Some(line)
}

/// A number at the beginning of `line`, and what is behind it.
fn number(line: &str) -> Option<(&str, &str)> {
    if let Some(rest) = line.strip_prefix("-nan").or_else(|| line.strip_prefix("nan")) {
        return Some(line.split_at(line.len() - rest.len()));
    }
    let is_part = |letter: char| letter.is_ascii_digit() || "+-.e".contains(letter);
    let end = line.find(|letter| !is_part(letter)).unwrap_or(line.len());
    // A full stop behind a number ends the sentence.
    let end = line.get(..end)?.trim_end_matches('.').len();
    let (number, rest) = line.split_at(end);
    number.parse::<f64>().is_ok().then_some((number, rest))
}

/// What stands in front of the next words of the template, and these words.
fn text<'a>(line: &'a str, template: &str) -> Option<(&'a str, &'a str)> {
    let words = template.split('{').next().unwrap_or_default();
    if words.trim().is_empty() {
        return Some((line, ""));
    }
    Some(line.split_at(line.find(words.trim_end())?))
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', ','])
}
