//! Wheels of other packages on the page of a package. pip skips them; uv treats each as a version of the package, and fails
//! without an error if it chooses one.

use std::str::FromStr as _;

use url::Url;
use uv_client::MetadataFormat;
use uv_normalize::PackageName;

/// Returns whether the wheel `filename` is one of `package`, or `None` if it is not a wheel.
pub(crate) fn is_wheel_of(filename: &str, package: &PackageName) -> Option<bool> {
    let name = filename.strip_suffix(".whl")?.split('-').next()?;
    let normalized = |one: u8| match one {
        b'_' | b'.' => b'-',
        other => other.to_ascii_lowercase(),
    };
    let name_bytes = name.bytes().map(normalized);
    Some(
        name_bytes.eq(package.as_ref().bytes())
            || PackageName::from_str(name).is_ok_and(|name| name == *package),
    )
}

/// Finds the foreign wheels on a page, judged by the package in the URL that was requested. They are removed only if the page
/// has a wheel of the package, too: a page without any is that of another package, and is refused.
pub(crate) struct ForeignWheels {
    package: Option<PackageName>,
    has_own: bool,
    has_foreign: bool,
}

impl ForeignWheels {
    pub(crate) fn new(requested: &Url) -> Self {
        let mut segments = requested.path_segments();
        let last = segments
            .as_mut()
            .and_then(|segments| segments.rfind(|segment| !segment.is_empty()));
        Self {
            package: last.and_then(|last| PackageName::from_str(last).ok()),
            has_own: false,
            has_foreign: false,
        }
    }

    /// Adds the file `filename`.
    pub(crate) fn see(&mut self, filename: &str) {
        let package = self.package.as_ref();
        if let Some(is_own) = package.and_then(|package| is_wheel_of(filename, package)) {
            self.has_own |= is_own;
            self.has_foreign |= !is_own;
        }
    }

    /// Returns whether there are foreign wheels.
    pub(crate) fn finds_foreign(&self) -> bool {
        self.has_own && self.has_foreign
    }

    /// Returns whether the file `filename` is foreign.
    pub(crate) fn refuses(&self, filename: &str) -> bool {
        let package = self.package.as_ref().filter(|_| self.has_own);
        package.and_then(|package| is_wheel_of(filename, package)) == Some(false)
    }
}

/// Returns the first wheel on the parsed `page` of a directory that is not one of `package`.
pub(crate) fn first(page: &MetadataFormat, package: &PackageName) -> Option<String> {
    find(page, package, usize::MAX)
}

/// Returns a wheel on the parsed `page` of a server that is not one of `package`. Examines one wheel of each version, because
/// [`ForeignWheels`] are removed before uv reads a page, except from a page to which those of several packages redirect.
pub(crate) fn remaining(page: &MetadataFormat, package: &PackageName) -> Option<String> {
    find(page, package, 1)
}

/// Finds a wheel that is not one of `package` among the first `count` wheels of each version.
fn find(page: &MetadataFormat, package: &PackageName, count: usize) -> Option<String> {
    let MetadataFormat::Simple(page) = page else {
        return None;
    };
    let wheels = page
        .iter()
        .flat_map(|datum| datum.files.wheels.iter().take(count));
    let mut wheels = wheels.map(|wheel| {
        let wheel = rkyv::deserialize::<_, rkyv::rancor::Error>(wheel);
        wheel.expect("uv wrote it")
    });
    let foreign = wheels.find(|wheel| is_wheel_of(wheel.filename(), package) == Some(false));
    foreign.map(|wheel| wheel.filename().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_normalized_names() {
        let package = "a-b".parse().unwrap();
        for (filename, is_own) in [
            ("A_B-1.0-py3-none-any.whl", Some(true)),
            ("a.b-1.0-py3-none-any.whl", Some(true)),
            ("a__b-1.0-py3-none-any.whl", Some(true)),
            ("a_c-1.0-py3-none-any.whl", Some(false)),
            ("a-1.0-py3-none-any.whl", Some(false)),
            ("a_b-1.0.tar.gz", None),
        ] {
            assert_eq!(is_wheel_of(filename, &package), is_own, "{filename}");
        }
    }
}
