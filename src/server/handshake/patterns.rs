//! Patterns of paths, and which of them a path matches.

use std::collections::BTreeMap;
use std::mem;

use matchit::{Params, Router};

use crate::net::memory;
use crate::server::ServerError;

/// Patterns such as `/echo`, `/room/{name}` and `/files/{*rest}`, and what they lead to.
///
/// Catch-alls have a router of their own: in one router they may not lie beside a parameter.
pub(crate) struct Patterns<T> {
    plain: Router<Leaf<T>>,
    catch_alls: Router<Leaf<T>>,
    all: BTreeMap<String, T>,
}

#[derive(Clone)]
struct Leaf<T> {
    ranks: Vec<Rank>,
    value: T,
}

/// What a path leads to.
pub(crate) struct Hit<'p, T> {
    pub value: &'p T,
    pub params: Params<'p, 'p>,
}

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self {
            plain: Router::new(),
            catch_alls: Router::new(),
            all: BTreeMap::new(),
        }
    }
}

impl<T: Clone> Patterns<T> {
    /// Returns all patterns and what they lead to.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.all
            .iter()
            .map(|(pattern, value)| (pattern.as_str(), value))
    }

    pub(crate) fn get(&self, pattern: &str) -> Option<&T> {
        self.all.get(pattern)
    }

    /// Finds the pattern that is the most exact in the first segment in which patterns differ.
    pub(crate) fn find<'p>(&'p self, path: &'p str) -> Option<Hit<'p, T>> {
        if self.all.is_empty() {
            return None;
        }
        let hits = [self.plain.at(path), self.catch_alls.at(path)];
        let best = hits
            .into_iter()
            .flatten()
            .min_by(|one, other| one.value.ranks.cmp(&other.value.ranks))?;
        Some(Hit {
            value: &best.value.value,
            params: best.params,
        })
    }

    /// Fails when the pattern is malformed or conflicts with another.
    pub(crate) fn insert(&mut self, pattern: &str, value: T) -> Result<(), ServerError> {
        self.route(pattern, value.clone())?;
        self.all.insert(pattern.to_owned(), value);
        Ok(())
    }

    fn route(&mut self, pattern: &str, value: T) -> Result<(), ServerError> {
        let ranks = ranks(pattern);
        let router = if ranks.contains(&Rank::CatchAll) {
            &mut self.catch_alls
        } else {
            &mut self.plain
        };
        router
            .insert(pattern, Leaf { ranks, value })
            .map_err(|_| ServerError::Argument)
    }

    /// Fails when there is none, or when memory is refused for the others, which are routed anew.
    pub(crate) fn remove(&mut self, pattern: &str) -> Result<T, ServerError> {
        if !self.all.contains_key(pattern) {
            return Err(ServerError::Argument);
        }
        let mut all = mem::take(&mut self.all);
        let others = all.keys().filter(|other| *other != pattern);
        let promised = memory::promise(others.flat_map(|other| blocks(other)), || {
            (self.plain, self.catch_alls) = (Router::new(), Router::new());
            for (other, value) in all.iter().filter(|(other, _)| *other != pattern) {
                // What stood beside each other before, does so again.
                let routed = self.route(other, value.clone());
                debug_assert!(routed.is_ok());
            }
        });
        let removed = match promised {
            Ok(()) => all.remove(pattern).ok_or(ServerError::Argument),
            Err(refused) => Err(refused.into()),
        };
        self.all = all;
        removed
    }
}

/// A request's path never holds a query or a fragment.
pub(crate) fn check_path(path: &str) -> Result<(), ServerError> {
    let fine = path.starts_with('/') && !path.contains(['\0', '?', '#']);
    fine.then_some(()).ok_or(ServerError::Argument)
}

/// What may be allocated for a path that is so long that the reserve has none of it: copies, of which
/// the router makes some, and the ranks of its segments.
pub(crate) fn blocks(path: &str) -> impl Iterator<Item = usize> {
    const COPIES: usize = 8;
    /// Shorter paths are the reserve's matter.
    const LONG: usize = 16 << 10;

    let copies = if path.len() > LONG { COPIES } else { 0 };
    std::iter::repeat_n(path.len() + 64, copies)
}

/// How exact a segment of a pattern is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Exact,
    Parameter,
    CatchAll,
}

/// The ranks of a pattern's segments. A doubled brace is a literal one.
fn ranks(pattern: &str) -> Vec<Rank> {
    let rank = |segment: &str| {
        let single = segment.replace("{{", "");
        match single.find('{') {
            Some(at) if single[at..].starts_with("{*") => Rank::CatchAll,
            Some(_) => Rank::Parameter,
            None => Rank::Exact,
        }
    };
    pattern.split('/').map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(all: &[&'static str]) -> Patterns<&'static str> {
        let mut patterns = Patterns::default();
        for &pattern in all {
            patterns.insert(pattern, pattern).unwrap();
        }
        patterns
    }

    #[test]
    fn exact_beats_parameter_beats_catch_all_in_the_first_segment_that_differs() {
        let patterns = patterns(&[
            "/{*rest}",
            "/room/{*rest}",
            "/room/{name}",
            "/room/lobby",
            "/{x}/door",
            "/files/{*rest}",
        ]);
        for (path, pattern) in [
            ("/room/lobby", "/room/lobby"),
            ("/room/ann", "/room/{name}"),
            ("/room/ann/door", "/room/{*rest}"),
            ("/files/door", "/files/{*rest}"),
            ("/hall/door", "/{x}/door"),
            ("/else", "/{*rest}"),
        ] {
            assert_eq!(
                patterns.find(path).map(|hit| *hit.value),
                Some(pattern),
                "{path}"
            );
        }
    }

    #[test]
    fn patterns_that_mean_the_same_conflict_until_one_goes() {
        let mut patterns = patterns(&["/a/{x}"]);
        assert_eq!(patterns.insert("/a/{y}", ""), Err(ServerError::Argument));
        assert_eq!(patterns.remove("/a/{y}"), Err(ServerError::Argument));
        assert_eq!(patterns.remove("/a/{x}"), Ok("/a/{x}"));
        patterns.insert("/a/{y}", "").unwrap();
    }

    #[test]
    fn a_doubled_brace_is_a_brace() {
        use Rank::{CatchAll, Exact, Parameter};
        assert_eq!(ranks("/{*rest}"), [Exact, CatchAll]);
        assert_eq!(ranks("/{{{*rest}"), [Exact, CatchAll]);
        assert_eq!(ranks("/{{*}}/{x}"), [Exact, Exact, Parameter]);
        let patterns = patterns(&["/{{x}}"]);
        assert!(patterns.find("/{x}").is_some() && patterns.find("/y").is_none());
    }
}
