//! Paths and pages: process-wide, and changed at any time.
//!
//! Matching happens under a lock, once a handshake. A websocket then holds its path's number; whose
//! application that is stands in a snapshot, which a loop takes at each turn and renews when the
//! version has risen. A definition is dropped with the last snapshot that holds it: so it is
//! dropped when nothing of it runs or will run, and never while the lock is held.

use std::collections::BTreeMap;
use std::mem::{self, ManuallyDrop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use matchit::{Params, Router};
use once_cell::sync::Lazy;

use crate::locks;
use crate::net::memory;
use crate::server::handshake::page::Page;
use crate::server::{Application, ServerError};

static TABLE: Lazy<Mutex<Table>> = Lazy::new(Mutex::default);
static VERSION: AtomicU64 = AtomicU64::new(0);

fn table() -> MutexGuard<'static, Table> {
    locks::lock(&TABLE)
}

#[derive(Default)]
struct Table {
    paths: Patterns<u32>,
    pages: Patterns<Arc<Page>>,
    definitions: Vec<Option<Definition>>,
    snapshot: Option<Arc<Paths>>,
}

struct Definition {
    application: Arc<dyn Application>,
    clients: u64,
    /// Undefined: no client comes any more, and it goes with the last one that is here.
    undefined: bool,
}

/// The applications of all paths at one moment.
pub(crate) struct Paths {
    version: u64,
    applications: Vec<Option<Arc<dyn Application>>>,
}

impl Paths {
    /// The newest.
    pub(crate) fn current() -> Arc<Self> {
        let mut table = table();
        let Table {
            definitions,
            snapshot,
            ..
        } = &mut *table;
        let paths = snapshot.get_or_insert_with(|| {
            let application = |definition: &Option<Definition>| {
                definition
                    .as_ref()
                    .map(|definition| Arc::clone(&definition.application))
            };
            let applications = definitions.iter().map(application).collect();
            Arc::new(Self {
                version: VERSION.load(Ordering::SeqCst),
                applications,
            })
        });
        Arc::clone(paths)
    }

    /// Replaces itself if something was defined or undefined since. May run `release`.
    #[inline]
    pub(crate) fn renew(self: &mut Arc<Self>) {
        if self.version != VERSION.load(Ordering::SeqCst) {
            *self = Self::current();
        }
    }

    /// Whose path this is; a client that holds the number keeps the application here.
    #[inline]
    pub(crate) fn application(&self, number: u32) -> Option<&Arc<dyn Application>> {
        self.applications.get(number as usize)?.as_ref()
    }
}

/// What a request's path leads to.
pub(crate) struct Found {
    /// If there is an application.
    pub entered: Option<Entered>,
    pub page: Option<Arc<Page>>,
}

/// The application that a client has come to.
pub(crate) struct Entered {
    pub place: Place,
    /// Names and values of the path's parameters.
    pub params: Vec<(String, String)>,
}

/// A client's place in a path. Unless it stays, the client leaves when this is dropped: that may run
/// `release`, so nothing may be borrowed then.
pub(crate) struct Place(u32);

impl Place {
    /// Returns the path's number; [`leave`] must follow.
    pub(crate) fn stay(self) -> u32 {
        ManuallyDrop::new(self).0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        leave(self.0);
    }
}

/// Looks up a path as [`crate::proto::RequestHead`] prepares it for matching, and counts a client
/// where there is an application.
///
/// # Errors
///
/// Memory; then nobody is counted.
pub(crate) fn enter(route: &str) -> Result<Found, ServerError> {
    let mut table = table();
    let page = table.pages.find(route).map(|found| Arc::clone(found.value));
    let entered = table.enter(route)?;
    Ok(Found { entered, page })
}

/// Uncounts a client. May run `release`, so nothing may be borrowed.
pub(crate) fn leave(number: u32) {
    let mut table = table();
    let Some(place) = table.definitions.get_mut(number as usize) else {
        return;
    };
    let Some(definition) = place else { return };
    definition.clients -= 1;
    if definition.undefined && definition.clients == 0 {
        let gone = place.take();
        let old = table.change();
        drop(table);
        drop((gone, old));
    }
}

/// Defines a path, or gives a defined one to another application.
pub(crate) fn define_path(
    path: &str,
    application: Arc<dyn Application>,
) -> Result<(), ServerError> {
    check_path(path)?;
    if memory::is_short() {
        return Err(ServerError::Memory);
    }
    memory::promise(blocks(path), || define(path, application))?
}

/// What may be allocated for a path that is so long that the reserve has none of it: copies, of which
/// the router makes some, and the ranks of its segments.
fn blocks(path: &str) -> impl Iterator<Item = usize> {
    const COPIES: usize = 8;
    /// Shorter paths are the reserve's matter.
    const LONG: usize = 16 << 10;

    let copies = if path.len() > LONG { COPIES } else { 0 };
    std::iter::repeat_n(path.len() + 64, copies)
}

fn define(path: &str, application: Arc<dyn Application>) -> Result<(), ServerError> {
    let mut table = table();
    let Table {
        paths, definitions, ..
    } = &mut *table;
    let definition = Definition {
        application,
        clients: 0,
        undefined: false,
    };
    let replaced = match paths.get(path) {
        Some(&number) => {
            let place = definitions[number as usize].as_mut();
            place.map(|place| mem::replace(&mut place.application, definition.application))
        }
        None => {
            let free = definitions
                .iter()
                .position(Option::is_none)
                .unwrap_or(definitions.len());
            let number = u32::try_from(free).map_err(|_| ServerError::Argument)?;
            paths.insert(path, number)?;
            if free == definitions.len() {
                definitions.push(None);
            }
            definitions[free] = Some(definition);
            None
        }
    };
    let old = table.change();
    drop(table);
    drop((replaced, old));
    warn_of_literals(path);
    Ok(())
}

/// Undefines a path; its clients keep their last application until they leave.
pub(crate) fn undefine_path(path: &str) -> Result<(), ServerError> {
    let mut table = table();
    let number = table.paths.remove(path)?;
    let place = &mut table.definitions[number as usize];
    let gone = match place {
        Some(definition) if definition.clients > 0 => {
            definition.undefined = true;
            None
        }
        _ => place.take(),
    };
    let old = table.change();
    drop(table);
    drop((gone, old));
    Ok(())
}

/// Defines or replaces a page.
pub(crate) fn define_page(path: &str, page: Page) -> Result<(), ServerError> {
    check_path(path)?;
    if memory::is_short() {
        return Err(ServerError::Memory);
    }
    memory::promise(blocks(path), || {
        let mut table = table();
        match table.pages.remove(path) {
            Ok(_) | Err(ServerError::Argument) => table.pages.insert(path, Arc::new(page)),
            Err(error) => Err(error),
        }
    })??;
    warn_of_literals(path);
    Ok(())
}

pub(crate) fn undefine_page(path: &str) -> Result<(), ServerError> {
    table().pages.remove(path).map(drop)
}

/// A request's path never holds a query or a fragment.
fn check_path(path: &str) -> Result<(), ServerError> {
    let fine = path.starts_with('/') && !path.contains(['\0', '?', '#']);
    fine.then_some(()).ok_or(ServerError::Argument)
}

/// Tells the log what of a path, which is defined now, is literal although other routers would take
/// it for a pattern.
fn warn_of_literals(path: &str) {
    let pattern = |segment| match str::as_bytes(segment) {
        [b':', _, ..] => Some(("parameter", &segment[1..])),
        b"*" => Some(("catch-all", "*rest")),
        [b'*', _, ..] => Some(("catch-all", segment)),
        _ => None,
    };
    if let Some((kind, inside)) = path.split('/').find_map(pattern) {
        log::warn!("path {path} is literal; the syntax of a {kind} is {{{inside}}}");
    }
}

impl Table {
    fn enter(&mut self, route: &str) -> Result<Option<Entered>, ServerError> {
        let Some(found) = self.paths.find(route) else {
            return Ok(None);
        };
        let number = *found.value;
        let mut params = Vec::new();
        memory::try_reserve_exact(&mut params, found.params.len())?;
        for (name, value) in found.params.iter() {
            // An escaped slash stays inside its parameter: it was kept apart as NUL.
            params.push((copy(name, None)?, copy(value, Some('/'))?));
        }
        let definition = self.definitions.get_mut(number as usize);
        let Some(definition) = definition.and_then(Option::as_mut) else {
            return Ok(None);
        };
        definition.clients += 1;
        Ok(Some(Entered {
            place: Place(number),
            params,
        }))
    }

    /// Raises the version; the snapshot that it answers is to be dropped without the lock.
    fn change(&mut self) -> Option<Arc<Paths>> {
        VERSION.fetch_add(1, Ordering::SeqCst);
        self.snapshot.take()
    }
}

/// A copy of a text, with something for each NUL.
fn copy(text: &str, for_nul: Option<char>) -> Result<String, ServerError> {
    let mut copy = String::new();
    memory::frugal(|| copy.try_reserve_exact(text.len()))?;
    copy.extend(text.chars().map(|sign| match for_nul {
        Some(other) if sign == '\0' => other,
        _ => sign,
    }));
    Ok(copy)
}

/// Patterns such as `/echo`, `/room/{name}` and `/files/{*rest}`, and what they lead to.
///
/// Catch-alls have a router of their own: in one router they may not lie beside a parameter.
struct Patterns<T> {
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
struct Hit<'p, T> {
    value: &'p T,
    params: Params<'p, 'p>,
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
    fn get(&self, pattern: &str) -> Option<&T> {
        self.all.get(pattern)
    }

    /// Finds the pattern that is the most exact in the first segment in which patterns differ.
    fn find<'p>(&'p self, path: &'p str) -> Option<Hit<'p, T>> {
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
    fn insert(&mut self, pattern: &str, value: T) -> Result<(), ServerError> {
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
    fn remove(&mut self, pattern: &str) -> Result<T, ServerError> {
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
        let removed = all.remove(pattern);
        self.all = all;
        promised?;
        removed.ok_or(ServerError::Argument)
    }
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
