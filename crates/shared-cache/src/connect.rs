//! Opens locations.

use std::sync::Arc;

use wheelhouse_types::{CacheLocation, Error, Kind, Result};

use crate::location::{ConnectOptions, Location};
use crate::objects::ObjectLocation;
use crate::registry::RegistryLocation;

/// Opens `location`. If it `is_written` and a directory, the directory is created.
///
/// # Errors
/// [`Kind::Input`] if the options are not sufficient, and other kinds if a server cannot be reached. A location that sends
/// no request when it is opened may fail later.
pub async fn connect(
    location: &CacheLocation,
    options: &ConnectOptions,
    is_written: bool,
) -> Result<Arc<dyn Location>> {
    if options.access.offline && location.is_remote() {
        let message = format!("{location} cannot be reached with --offline");
        return Err(Error::new(Kind::Fetch, message));
    }
    match location {
        CacheLocation::Registry(reference) => {
            let access = &options.access;
            Ok(Arc::new(
                RegistryLocation::open(reference, access, is_written).await?,
            ))
        }
        _ => Ok(Arc::new(ObjectLocation::open(
            location, options, is_written,
        )?)),
    }
}
