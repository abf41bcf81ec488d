//! Checks that publishers that a policy accepts have attested the files (PEP 740), without network.

use std::collections::BTreeMap;

use wheelhouse_attest::{AttestationPolicy, MissingAttestations, Provenance};
use wheelhouse_publish::simple_index;
use wheelhouse_types::{PackageName, Sha256};

use super::super::inventory::{self, DirectoryInventory};
use super::super::job::AttestationInputs;
use super::super::report::{Check, CheckBuilder, CheckName, Finding};
use super::super::wheel_contents::{WheelContents, digest};

const FETCH_HINT: &str = "Build or download it again with --attestations, or accept files without attestations in the policy.";

const RULE_HINT: &str = "Add a [[package]] for it to the policy.";

/// Checks the attestations of all wheels and source distributions. Wheels that the manifest states as built are exempt only if
/// the manifest `is_signed`: their statements are.
pub(crate) fn check(
    inventory: &DirectoryInventory,
    wheels: &BTreeMap<String, WheelContents>,
    inputs: &AttestationInputs,
    is_signed: bool,
) -> Check {
    let mut check = CheckBuilder::new(CheckName::Attestations);
    let mut attested = 0;
    let wheels = wheels.iter().filter_map(|(name, contents)| {
        let package = contents
            .filename
            .as_ref()
            .map(|filename| filename.name.clone());
        // The check of wheels reports one that cannot be read.
        Some((name, package, contents.sha256()?))
    });
    let sdists = inventory.sdists.iter().filter_map(|name| {
        let package = inventory::sdist(name).and_then(|(package, _)| package.parse().ok());
        let (sha256, _) = digest(&inventory.directory.join(name)).ok()?;
        Some((name, package, sha256))
    });
    for (filename, package, sha256) in wheels.chain(sdists) {
        let Some(package) = package else {
            check.fail(Finding::new(filename, "has a name without a package"));
            continue;
        };
        if is_signed && is_built(inventory, filename, sha256) {
            continue;
        }
        let file = File {
            filename,
            package: &package,
            sha256,
        };
        let object = simple_index::attestations_name(filename);
        match object.and_then(|object| inventory.read_file(&object)) {
            None => file.check_missing(&inputs.policy, &mut check),
            Some(bytes) => match file.verify(&bytes, inputs) {
                Ok(()) => attested += 1,
                Err(finding) => check.fail(finding),
            },
        }
    }
    check.count(attested, "attested file");
    check.finish()
}

fn is_built(inventory: &DirectoryInventory, filename: &str, sha256: Sha256) -> bool {
    let manifest = inventory.manifest.iter();
    let mut wheels = manifest.flat_map(|manifest| &manifest.wheels);
    wheels
        .any(|wheel| wheel.filename == filename && wheel.sha256 == sha256 && wheel.built.is_some())
}

/// A file of the directory.
struct File<'a> {
    filename: &'a str,
    package: &'a PackageName,
    sha256: Sha256,
}

impl File<'_> {
    fn check_missing(&self, policy: &AttestationPolicy, check: &mut CheckBuilder) {
        let finding = Finding::new(self.filename, "has no attestations").hint(FETCH_HINT);
        match policy.without_attestations(self.package) {
            MissingAttestations::Fail => check.fail(finding),
            MissingAttestations::Warn => check.warn(finding),
            MissingAttestations::Accept => {}
        }
    }

    /// Checks that one attestation of the provenance object `bytes` is valid and by an accepted publisher.
    fn verify(&self, bytes: &[u8], inputs: &AttestationInputs) -> Result<(), Finding> {
        let filename = self.filename;
        let provenance = Provenance::parse(bytes).map_err(|error| {
            let about = format!("the file with the attestations of {filename}");
            Finding::new(about, error.to_string()).hint(FETCH_HINT)
        })?;
        let rule = inputs.policy.rule(self.package).ok_or_else(|| {
            let message = "is of a package for which the policy has no rule";
            Finding::new(filename, message).hint(RULE_HINT)
        })?;
        let verified = provenance.verify(&inputs.root, filename, self.sha256);
        let mut reasons = Vec::new();
        for (number, attestation) in (1..).zip(verified) {
            match attestation {
                Ok(identity) if rule.accepts(&identity) => return Ok(()),
                Ok(identity) => reasons.push(format!(
                    "attestation {number} is by a publisher that the policy does not accept: {identity}"
                )),
                Err(error) => reasons.push(format!("attestation {number} {error}")),
            }
        }
        let message = "has no valid attestation by an accepted publisher";
        Err(Finding::new(filename, message).detail(reasons.join("\n")))
    }
}
