//! Checks that source distributions can be built from the directory alone, without network access.

use std::path::Path;
use std::sync::Arc;

use tracing::debug;
use url::Url;
use wheelhouse_sandbox::SandboxSupport;
use wheelhouse_types::request::{Building, Requirement, SandboxMode};
use wheelhouse_types::sandbox::Protection;
use wheelhouse_types::{Error, Kind, Request, Result, Target};

use super::super::inventory::DirectoryInventory;
use super::super::job::{CheckProgress, ProgressCallback};
use super::super::offline_build::{self, NullObserver};
use super::super::report::{Check, CheckBuilder, CheckName, Finding};
use super::super::requirements::sdist_name;
use crate::pipeline;

/// Builds source distributions and discards the wheels.
pub(crate) struct SdistCheck<'a> {
    pub(crate) inventory: &'a DirectoryInventory,
    pub(crate) target: &'a Target,
    pub(crate) scratch: &'a Path,
    pub(crate) building: &'a Building,
    pub(crate) progress: &'a ProgressCallback,
}

impl SdistCheck<'_> {
    /// Builds `sdists`.
    ///
    /// # Errors
    /// When the run is interrupted, or a temporary store cannot be created.
    pub(crate) async fn run(&self, sdists: &[&String]) -> Result<Check> {
        let mut check = CheckBuilder::new(CheckName::Sources).target(&self.target.label());
        check.count(sdists.len(), "source distribution");
        let options = &self.building.sandbox;
        let is_offline = || {
            let support = SandboxSupport::probe(&options.launcher, self.scratch);
            support.protections.contains(&Protection::Network)
        };
        if options.mode == SandboxMode::Off || !is_offline() {
            let message = "had network access: they ran without a sandbox that prevents it";
            check.warn(Finding::new("build hooks", message));
        }
        for (position, sdist) in sdists.iter().enumerate() {
            debug!(sdist, "building a source distribution");
            (self.progress)(CheckProgress::Started {
                name: CheckName::Sources,
                about: Some(sdist),
            });
            let output = format!("built-{position}");
            let request = self.request(sdist)?;
            let job = offline_build::job(request, self.target, self.scratch, output)?;
            match pipeline::build(job, Arc::new(NullObserver)).await {
                Ok(_) => {}
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) => {
                    let message = format!("does not build: {}", error.display_chain());
                    let finding = Finding::new(*sdist, message);
                    check.fail(finding.detail(error.detail().unwrap_or_default()));
                }
            }
        }
        Ok(check.finish())
    }

    /// Returns a request for the wheel of `sdist`, without its dependencies.
    fn request(&self, sdist: &str) -> Result<Request> {
        let directory = &self.inventory.directory;
        let path = directory.join(sdist);
        let url = Url::from_file_path(&path).map_err(|()| {
            let message = format!("{} cannot be written as a URL", path.display());
            Error::new(Kind::Input, message)
        })?;
        let text = match sdist_name(sdist) {
            Some(name) => format!("{name} @ {url}"),
            None => url.to_string(),
        };
        let mut request = offline_build::request(directory);
        request.requirements.push(Requirement {
            text,
            origin: directory.display().to_string(),
            base: directory.clone(),
            ..Requirement::default()
        });
        request.resolution.no_dependencies = true;
        request.building = self.building.clone();
        Ok(request)
    }
}
