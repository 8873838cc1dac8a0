//! Paths and pages: process-wide, and changed at any time.
//!
//! Matching happens under a lock, once a handshake. A websocket then holds its path's number; whose
//! application that is stands in a snapshot, which a loop takes at each turn and renews when the
//! version has risen. A definition is dropped with the last snapshot that holds it: so it is
//! dropped when nothing of it runs or will run, and never while the lock is held.

use std::mem::{self, ManuallyDrop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use matchit::Params;
use once_cell::sync::Lazy;

use crate::locks;
use crate::net::memory;
use crate::server::handshake::page::Page;
use crate::server::handshake::patterns::{Patterns, blocks, check_path};
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
    pub path: PathGuard,
    /// Names and values of the path's parameters.
    pub params: Vec<(String, String)>,
}

/// Counts a client of a path. Unless it stays, the client leaves when this is dropped: that may run
/// `release`, so nothing may be borrowed then.
pub(crate) struct PathGuard(u32);

impl PathGuard {
    /// Returns the path's number; [`leave`] must follow.
    pub(crate) fn stay(self) -> u32 {
        ManuallyDrop::new(self).0
    }
}

impl Drop for PathGuard {
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

/// Counts a client of the application with this number, if it is still there.
///
/// # Errors
///
/// Memory; then nobody is counted.
pub(crate) fn enter_number(
    number: u32,
    params: &Params<'_, '_>,
) -> Result<Option<Entered>, ServerError> {
    let params = copy_params(params)?;
    Ok(table().count(number, params))
}

/// Uncounts a client. May run `release`, so nothing may be borrowed.
pub(crate) fn leave(number: u32) {
    let mut table = table();
    let Some(entry) = table.definitions.get_mut(number as usize) else {
        return;
    };
    let Some(definition) = entry else { return };
    definition.clients -= 1;
    if definition.undefined && definition.clients == 0 {
        let gone = entry.take();
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
            let entry = definitions[number as usize].as_mut();
            entry.map(|entry| mem::replace(&mut entry.application, definition.application))
        }
        None => {
            let free = free_number(definitions);
            let number = u32::try_from(free).map_err(|_| ServerError::Argument)?;
            paths.insert(path, number)?;
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

/// The first entry without a definition.
fn free_number(definitions: &mut Vec<Option<Definition>>) -> usize {
    let free = definitions.iter().position(Option::is_none);
    free.unwrap_or_else(|| {
        definitions.push(None);
        definitions.len() - 1
    })
}

/// Gives a number to an application whose path is none of the process's. [`leave`] must follow.
///
/// # Errors
///
/// Memory.
pub(crate) fn hold(application: Arc<dyn Application>) -> Result<u32, ServerError> {
    if memory::is_short() {
        return Err(ServerError::Memory);
    }
    let mut table = table();
    let free = free_number(&mut table.definitions);
    let number = u32::try_from(free).map_err(|_| ServerError::Memory)?;
    table.definitions[free] = Some(Definition {
        application,
        clients: 1,
        undefined: true,
    });
    let old = table.change();
    drop(table);
    drop(old);
    Ok(number)
}

/// Undefines a path; its clients keep their last application until they leave.
pub(crate) fn undefine_path(path: &str) -> Result<(), ServerError> {
    let mut table = table();
    let number = table.paths.remove(path)?;
    let entry = &mut table.definitions[number as usize];
    let gone = match entry {
        Some(definition) if definition.clients > 0 => {
            definition.undefined = true;
            None
        }
        _ => entry.take(),
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
        let params = copy_params(&found.params)?;
        Ok(self.count(*found.value, params))
    }

    fn count(&mut self, number: u32, params: Vec<(String, String)>) -> Option<Entered> {
        let definition = self.definitions.get_mut(number as usize)?.as_mut()?;
        definition.clients += 1;
        Some(Entered {
            path: PathGuard(number),
            params,
        })
    }

    /// Raises the version; the snapshot that it answers is to be dropped without the lock.
    fn change(&mut self) -> Option<Arc<Paths>> {
        VERSION.fetch_add(1, Ordering::SeqCst);
        self.snapshot.take()
    }
}

/// Copies names and values. An escaped slash, which was kept apart as NUL, stays inside its parameter.
fn copy_params(params: &Params<'_, '_>) -> Result<Vec<(String, String)>, ServerError> {
    let mut copies = Vec::new();
    memory::try_reserve_exact(&mut copies, params.len())?;
    for (name, value) in params.iter() {
        copies.push((copy(name, None)?, copy(value, Some('/'))?));
    }
    Ok(copies)
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
