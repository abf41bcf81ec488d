//! Building a wheel from an unpacked source with its PEP 517 back end, in an environment of its own.
//!
//! [`environment`] makes the environment, [`session`] calls the hooks in it.

pub(crate) mod build_system;
pub(crate) mod bytecode;
pub(crate) mod constraints;
mod diagnosis;
mod environment;
mod hook;
pub(crate) mod requirements;
mod session;

use std::path::{Path, PathBuf};
use std::time::Duration;

use wheelhouse_types::{Distribution, PackageName, Result, Version};

use crate::artifact_provider::ArtifactProvider;
use crate::build::requirements::BuildRequirements;
use crate::dispatch::BuildDispatch;
use crate::state::EngineState;
pub(crate) use session::{Session, SessionRequest};

/// A source to build.
pub struct BuildRequest<'a> {
    /// `name==version`, for messages and the name of the log.
    pub label: String,
    pub name: PackageName,
    /// As far as it is known before.
    pub version: Option<Version>,
    /// The directory of the project, unpacked, which the build may change.
    pub tree: &'a Path,
    /// Where the wheel is put.
    pub wheel_directory: &'a Path,
}

/// A wheel that a back end built.
#[derive(Clone, Debug)]
pub struct BuiltWheel {
    pub path: PathBuf,
    /// What the build environment held, sorted by name.
    pub requirements: Vec<Distribution>,
    /// The time that the build took, without waiting for a job or for its requirements.
    pub worked: Duration,
}

impl EngineState {
    pub(crate) async fn build_wheel(
        &self,
        request: BuildRequest<'_>,
        artifacts: &dyn ArtifactProvider,
    ) -> Result<BuiltWheel> {
        let dispatch = BuildDispatch::new(self, artifacts);
        let session = Box::pin(Session::set_up(&dispatch, SessionRequest::from(&request))).await?;
        let built = session.build_wheel(request.wheel_directory).await;
        let filename =
            built.inspect_err(|error| self.failures.remember_build(&request.label, error))?;
        let path = request.wheel_directory.join(filename);
        Ok(BuiltWheel {
            path,
            worked: session.worked(),
            requirements: session.into_requirements(),
        })
    }

    pub(crate) async fn build_requirements(
        &self,
        request: BuildRequest<'_>,
        artifacts: &dyn ArtifactProvider,
    ) -> Result<BuildRequirements> {
        let dispatch = BuildDispatch::new(self, artifacts);
        let session = Box::pin(Session::set_up(&dispatch, SessionRequest::from(&request))).await?;
        Ok(session.into_wanted())
    }
}
