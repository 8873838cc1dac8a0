//! Paths and pages that are not of the whole process.

use std::sync::Arc;

use crate::net::memory;
use crate::server::handshake::page::Page;
use crate::server::handshake::paths::{self, Found};
use crate::server::handshake::patterns::{Patterns, blocks, check_path};
use crate::server::{Application, ServerError};

/// Those of the servers that are started with the same options.
#[derive(Default)]
pub(crate) struct OwnPaths {
    paths: Patterns<Arc<dyn Application>>,
    pages: Patterns<Arc<Page>>,
}

impl OwnPaths {
    /// Defines a path, or gives a defined one to another application. Returns the one before, with which
    /// `release` may run.
    pub(crate) fn define_path(
        &mut self,
        path: &str,
        application: Arc<dyn Application>,
    ) -> Result<Option<Arc<dyn Application>>, ServerError> {
        define(&mut self.paths, path, application)
    }

    /// Defines or replaces a page.
    pub(crate) fn define_page(&mut self, path: &str, page: Page) -> Result<(), ServerError> {
        define(&mut self.pages, path, Arc::new(page)).map(drop)
    }
}

/// Returns what was defined before.
fn define<T: Clone>(
    patterns: &mut Patterns<T>,
    path: &str,
    value: T,
) -> Result<Option<T>, ServerError> {
    check_path(path)?;
    if memory::is_short() {
        return Err(ServerError::Memory);
    }
    memory::promise(blocks(path), || {
        let before = match patterns.remove(path) {
            Ok(before) => Some(before),
            Err(ServerError::Argument) => None,
            Err(error) => return Err(error),
        };
        patterns.insert(path, value).map(|()| before)
    })?
}

/// What one server serves: its own paths and pages, before those of the process.
pub(crate) struct ServedPaths {
    /// The numbers of paths in the table of the process, in which this server holds them.
    paths: Patterns<u32>,
    pages: Patterns<Arc<Page>>,
    /// Whether those of the process are served, too.
    are_shared: bool,
}

impl ServedPaths {
    /// Copies what is defined now.
    ///
    /// # Errors
    ///
    /// Memory.
    pub(crate) fn new(own: &OwnPaths, are_shared: bool) -> Result<Self, ServerError> {
        let mut served = Self {
            paths: Patterns::default(),
            pages: Patterns::default(),
            are_shared,
        };
        for (path, application) in own.paths.iter() {
            let number = paths::hold(Arc::clone(application))?;
            if let Err(error) = insert(&mut served.paths, path, number) {
                paths::leave(number);
                return Err(error);
            }
        }
        for (path, page) in own.pages.iter() {
            insert(&mut served.pages, path, Arc::clone(page))?;
        }
        Ok(served)
    }

    /// Looks up a path as [`paths::enter`].
    pub(crate) fn enter(&self, route: &str) -> Result<Found, ServerError> {
        let entered = match self.paths.find(route) {
            Some(hit) => paths::enter_number(*hit.value, &hit.params)?,
            None => None,
        };
        let page = self.pages.find(route).map(|hit| Arc::clone(hit.value));
        if !self.are_shared || entered.is_some() && page.is_some() {
            return Ok(Found { entered, page });
        }
        let of_process = paths::enter(route)?;
        Ok(Found {
            entered: entered.or(of_process.entered),
            page: page.or(of_process.page),
        })
    }
}

fn insert<T: Clone>(patterns: &mut Patterns<T>, path: &str, value: T) -> Result<(), ServerError> {
    memory::promise(blocks(path), || patterns.insert(path, value))?
}

impl Drop for ServedPaths {
    fn drop(&mut self) {
        // `release` may run.
        self.paths
            .iter()
            .for_each(|(_, number)| paths::leave(*number));
    }
}
