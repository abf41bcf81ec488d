//! Installing wheels into a Python's own environment, in the place of what is there under the same
//! names.
//!
//! Responsible for replacing the packaging tools of a Python that may be too old to do it well itself.
//! Never resolves or fetches, and never touches a package that is not among the wheels.

use std::path::Path;
use std::sync::Arc;

use uv_distribution_filename::WheelFilename;
use uv_install_wheel::{InstallState, Layout, LinkMode};
use uv_installer::SitePackages;
use uv_preview::Preview;
use uv_pypi_types::DirectUrl;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result};

use super::host::Host;
use crate::artifact_provider::WheelFile;

/// Who installed a package, as the file `INSTALLER` tells (PEP 376).
pub(crate) const INSTALLER: &str = "wheelhouse";

impl Host {
    /// Installs `wheels` into the environment of this Python, and returns the file names of those that
    /// were not there yet in just this version. Others of the same names are removed.
    ///
    /// # Errors
    /// `Publish` when the environment cannot be written, or something in it cannot be removed because
    /// nobody noted what belongs to it.
    pub async fn install(&self, wheels: &[WheelFile]) -> Result<Vec<String>> {
        let environment = self.interpreter().sys_prefix().display().to_string();
        let site = SitePackages::from_interpreter(self.interpreter());
        let site = site.context(Kind::Publish, || {
            format!("failed to look into the environment {environment}")
        })?;
        let state = Arc::new(InstallState::new(Preview::default()));
        // Most of it is waiting for the filesystem.
        let each = wheels
            .iter()
            .map(|wheel| self.replace(wheel, &site, &state));
        let installed = futures::future::try_join_all(each).await?;
        Ok(installed.into_iter().flatten().collect())
    }

    /// Puts `wheel` in the place of what `site` has under its name, and returns its file name if it was not
    /// there yet.
    async fn replace(
        &self,
        wheel: &WheelFile,
        site: &SitePackages,
        state: &Arc<InstallState>,
    ) -> Result<Option<String>> {
        let environment = self.interpreter().sys_prefix().display();
        let failed = || format!("failed to install {} into {environment}", wheel.filename);
        let filename: WheelFilename = wheel.filename.parse().context(Kind::Publish, failed)?;
        let others = site.get_packages(&filename.name);
        if let [only] = others[..]
            && *only.version() == filename.version
        {
            return Ok(None);
        }
        let layout = self.interpreter().layout();
        for other in others {
            let removed = uv_installer::uninstall(other, &layout).await;
            removed.context(Kind::Publish, failed)?;
        }
        let (path, scratch) = (wheel.path.clone(), self.cache().root().to_owned());
        let state = Arc::clone(state);
        let installing = tokio::task::spawn_blocking(move || {
            install(&path, &filename, &layout, &scratch, &state)
        });
        let installed = installing.await.context(Kind::Publish, failed)?;
        installed.context(Kind::Publish, failed)?;
        Ok(Some(wheel.filename.clone()))
    }
}

/// Unpacks the wheel at `path` below `scratch` and links it into the environment.
fn install(
    path: &Path,
    filename: &WheelFilename,
    layout: &Layout,
    scratch: &Path,
    state: &InstallState,
) -> Result<(), anyhow::Error> {
    let unpacked = tempfile::tempdir_in(scratch)?;
    uv_extract::unzip(fs_err::File::open(path)?, unpacked.path())?;
    uv_install_wheel::install_wheel(
        layout,
        false,
        unpacked.path(),
        filename,
        None::<&DirectUrl>,
        None::<&()>,
        None::<&()>,
        Some(INSTALLER),
        false,
        LinkMode::default(),
        state,
    )?;
    Ok(())
}
