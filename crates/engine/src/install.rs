//! Installing wheels into a Python's own environment, in the place of what is there under the same
//! names.
//!
//! Responsible for replacing the packaging tools of a Python that may be too old to do it well itself.
//! Never resolves or fetches, and never touches a package that is not among the wheels.

use std::path::Path;

use uv_distribution_filename::WheelFilename;
use uv_install_wheel::{InstallState, Layout, LinkMode};
use uv_installer::SitePackages;
use uv_preview::Preview;
use uv_pypi_types::DirectUrl;
use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Kind, Result};

use crate::Host;
use crate::companion::WheelFile;

/// Who installed a package, as the file `INSTALLER` tells (PEP 376).
const INSTALLER: &str = "wheelhouse";

impl Host {
    /// Installs `wheels` into the environment of this Python, and returns the file names of those that
    /// were not there yet in just this version. Others of the same names are removed.
    ///
    /// # Errors
    /// `Publish` when the environment cannot be written, or something in it cannot be removed because
    /// nobody noted what belongs to it.
    pub async fn install(&self, wheels: &[WheelFile]) -> Result<Vec<String>> {
        let environment = self.interpreter.sys_prefix().display().to_string();
        let failed = || format!("failed to look into the environment {environment}");
        let site = SitePackages::from_interpreter(&self.interpreter);
        let site = site.context(Kind::Publish, failed)?;
        let mut installed = Vec::new();
        for wheel in wheels {
            let failed = || format!("failed to install {} into {environment}", wheel.filename);
            let filename: WheelFilename = wheel.filename.parse().context(Kind::Publish, failed)?;
            let others = site.get_packages(&filename.name);
            if let [only] = others[..]
                && *only.version() == filename.version
            {
                continue;
            }
            let layout = self.interpreter.layout();
            for other in others {
                let removed = uv_installer::uninstall(other, &layout).await;
                removed.context(Kind::Publish, failed)?;
            }
            install(&wheel.path, &filename, &layout, self.cache.root())
                .context(Kind::Publish, failed)?;
            installed.push(wheel.filename.clone());
        }
        Ok(installed)
    }
}

/// Unpacks the wheel at `path` below `scratch` and links it into the environment.
fn install(
    path: &Path,
    filename: &WheelFilename,
    layout: &Layout,
    scratch: &Path,
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
        &InstallState::new(Preview::default()),
    )?;
    Ok(())
}
