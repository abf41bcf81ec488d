//! Installing wheels into the environment of a Python, replacing packages of the same names.
//!
//! It updates the packaging tools of a Python, which may be too old to do it reliably themselves.

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

/// The contents of the file `INSTALLER` of a package (PEP 376).
pub(crate) const INSTALLER: &str = "wheelhouse";

impl Host {
    /// Installs `wheels` into the environment of this Python, and removes other versions. Returns the file names of the wheels
    /// whose version was not installed before.
    ///
    /// # Errors
    /// `Publish` if the environment cannot be written, or a package cannot be removed because it has no record of its files.
    pub async fn install(&self, wheels: &[WheelFile]) -> Result<Vec<String>> {
        let environment = self.interpreter().sys_prefix().display().to_string();
        let site = SitePackages::from_interpreter(self.interpreter());
        let site = site.context(Kind::Publish, || {
            format!("failed to look into the environment {environment}")
        })?;
        let state = Arc::new(InstallState::new(Preview::default()));
        // Most of the time is spent waiting for the filesystem.
        let each = wheels
            .iter()
            .map(|wheel| self.replace(wheel, &site, &state));
        let installed = futures::future::try_join_all(each).await?;
        Ok(installed.into_iter().flatten().collect())
    }

    /// Replaces the package of the same name in `site` by `wheel`. Returns the file name if the version was not installed before.
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
