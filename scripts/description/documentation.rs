//! What the comments of `src/ffi` say: text, and in those of functions the tags that begin with `@`.

use std::collections::BTreeMap;

use syn::{Attribute, Expr, Lit, Meta};

use super::Status;
use crate::Outcome;

/// What a function's comment says, by its tags.
#[derive(Default)]
pub(super) struct Documentation {
    pub text: String,
    pub parameters: BTreeMap<String, String>,
    pub returns: String,
    pub statuses: Vec<Status>,
    pub threads: String,
    pub since: String,
}

impl Documentation {
    pub(super) fn parse(attributes: &[Attribute]) -> Outcome<Self> {
        let lines = comment_lines(attributes)?;
        let tagged = lines.iter().position(|line| line.starts_with('@'));
        let (text, mut rest) = lines.split_at(tagged.unwrap_or(lines.len()));
        let mut documentation = Self {
            text: flow(text),
            ..Self::default()
        };
        while let Some((first, others)) = rest.split_first() {
            let more = others.iter().position(|line| line.starts_with('@'));
            let (more, next) = others.split_at(more.unwrap_or(others.len()));
            documentation.add(first, more)?;
            rest = next;
        }
        Ok(documentation)
    }

    /// Adds a tag: its line, and the lines that belong to it.
    fn add(&mut self, first: &str, more: &[String]) -> Outcome<()> {
        let (tag, first) = first.split_once(' ').ok_or("a tag that says nothing")?;
        let first = first.trim_start();
        match tag {
            "@param" => {
                let (name, first) = first.split_once(' ').ok_or("an undescribed parameter")?;
                self.parameters.insert(name.to_owned(), join(first, more));
            }
            "@return" => self.add_return(first, more),
            "@threads" => self.threads = join(first, more),
            "@since" => self.since = join(first, more),
            _ => return Err(format!("{tag} is no tag of ours").into()),
        }
        Ok(())
    }

    /// A status with its sentence, or a sentence about all that is returned. A line that begins right
    /// below a status's name, not below its sentence, is about all as well.
    fn add_return(&mut self, first: &str, more: &[String]) {
        let is_about_all = |line: &&String| line.find(|sign| sign != ' ') == Some("@return ".len());
        let (name, sentence) = first.split_once(' ').unwrap_or((first, ""));
        if name.starts_with("PORTAL_STATUS_") {
            let (about_all, own): (Vec<&String>, Vec<&String>) =
                more.iter().partition(is_about_all);
            self.statuses.push(Status {
                name: name.to_owned(),
                comment: join(sentence, own),
            });
            self.returns = join(&self.returns, about_all);
        } else {
            self.returns = join(first, more);
        }
    }
}

/// The comment of what has no tags.
pub(super) fn comment(attributes: &[Attribute]) -> Outcome<String> {
    Ok(flow(&comment_lines(attributes)?))
}

/// The lines of a `///` comment, without the space in front.
fn comment_lines(attributes: &[Attribute]) -> Outcome<Vec<String>> {
    let mut lines = Vec::new();
    for attribute in attributes {
        let Meta::NameValue(comment) = &attribute.meta else {
            continue;
        };
        if !comment.path.is_ident("doc") {
            continue;
        }
        let Expr::Lit(literal) = &comment.value else {
            return Err("a comment that is no text".into());
        };
        let Lit::Str(line) = &literal.lit else {
            return Err("a comment that is no text".into());
        };
        let line = line.value();
        lines.push(line.strip_prefix(' ').unwrap_or(&line).to_owned());
    }
    Ok(lines)
}

/// Each paragraph as one line, with an empty line between two.
fn flow(lines: &[String]) -> String {
    let paragraphs: Vec<String> = lines
        .split(|line| line.is_empty())
        .map(|paragraph| join("", paragraph))
        .filter(|paragraph| !paragraph.is_empty())
        .collect();
    paragraphs.join("\n\n")
}

/// Lines as one.
fn join(first: &str, more: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut joined = first.trim().to_owned();
    for line in more {
        let line = line.as_ref().trim();
        if !line.is_empty() {
            joined += if joined.is_empty() { "" } else { " " };
            joined += line;
        }
    }
    joined
}
