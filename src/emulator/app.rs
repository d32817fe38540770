//! The state of the application: what all requests share.

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use url::Url;

use super::access::Access;
use super::database::Database;
use super::fault::Faults;
use super::leave::Leaving;
use super::registry::Registry;

/// The state that all requests share.
#[derive(Debug)]
pub(super) struct App {
    pub(super) root: String,
    pub(super) access: Access,
    pub(super) instance: String,
    pub(super) leaving: Arc<Leaving>,
    pub(super) database: Arc<Database>,
    registry: RwLock<Registry>,
    pub(super) faults: Option<Arc<Faults>>,
    pub(super) administration: tokio::sync::Mutex<()>,
}

impl App {
    pub(super) fn new(
        url: &Url,
        access: Access,
        instance: String,
        leaving: Arc<Leaving>,
        database: Database,
        registry: Registry,
        faults: Option<Arc<Faults>>,
    ) -> Self {
        Self {
            root: url.as_str().trim_end_matches('/').to_owned(),
            access,
            instance,
            leaving,
            database: Arc::new(database),
            registry: RwLock::new(registry),
            faults,
            administration: tokio::sync::Mutex::new(()),
        }
    }

    /// Returns the registry for reading; never held across a wait.
    pub(super) fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns the registry for writing; never held across a wait.
    pub(super) fn registry_mut(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
