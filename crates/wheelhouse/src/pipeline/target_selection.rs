//! The targets that a lock or a download is for.

use wheelhouse_types::target::RequestedTargets;
use wheelhouse_types::{Result, Target};

/// The targets of a job, and the check that its inputs serve each of them.
pub struct TargetSelection {
    /// The targets.
    pub targets: RequestedTargets,
    /// The check that the inputs serve a target.
    pub filter: TargetFilter,
}

/// Returns an error for a target that the inputs do not serve.
pub type TargetFilter = Box<dyn Fn(&Target) -> Result<()> + Send>;

impl TargetSelection {
    /// Returns the selected targets on a machine whose own target is `host`.
    ///
    /// # Errors
    /// When the inputs do not serve one of them.
    pub(super) fn resolve(&self, host: &Target) -> Result<Vec<Target>> {
        let targets = self.targets.targets(host);
        targets.iter().try_for_each(&self.filter)?;
        Ok(targets)
    }
}
