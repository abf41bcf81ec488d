//! Where an image is or goes, in skopeo's spelling.
//!
//! Responsible for reading and writing these names. Never touches what they name.

mod reference;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::distribution::IMAGE_TRANSPORTS;
use crate::{Error, Kind, Result};
use oci_spec::distribution::Reference;

/// The location of an image, to read it from or to write it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageLocation {
    /// `oci:DIR[:TAG]`: a directory, as the OCI image layout specification describes it.
    Layout {
        /// The directory.
        directory: PathBuf,
        /// The tag, if one is named.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: the same as a tar archive.
    LayoutArchive {
        /// The archive.
        file: PathBuf,
        /// The tag, if one is named.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:NAME[:TAG]]`: what `docker save` writes.
    DockerArchive {
        /// The archive.
        file: PathBuf,
        /// The normalized name.
        name: Option<String>,
    },
    /// `docker://HOST/NAME[:TAG][@DIGEST]`: a registry.
    Registry(Reference),
    /// `docker-daemon:NAME[:TAG]`: docker or podman, through its socket.
    Daemon {
        /// The normalized name.
        name: String,
    },
}

impl ImageLocation {
    /// Returns the same location with its relative path below `directory`.
    #[must_use]
    pub fn below(mut self, directory: &Path) -> Self {
        if let Some(path) = self.path_mut() {
            // Components have neither `.` nor a slash at the end, so that the same is the same.
            *path = directory.join(&*path).components().collect();
        }
        self
    }

    /// Returns the directory or file of the image; `None` for a registry or a daemon.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Layout {
                directory: path, ..
            }
            | Self::LayoutArchive { file: path, .. }
            | Self::DockerArchive { file: path, .. } => Some(path),
            Self::Registry(_) | Self::Daemon { .. } => None,
        }
    }

    /// Returns the host (and port) of the registry, if the image is in one.
    #[must_use]
    pub fn registry(&self) -> Option<&str> {
        match self {
            Self::Registry(reference) => Some(reference.registry()),
            _ => None,
        }
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Layout {
                directory: path, ..
            }
            | Self::LayoutArchive { file: path, .. }
            | Self::DockerArchive { file: path, .. } => Some(path),
            Self::Registry(_) | Self::Daemon { .. } => None,
        }
    }
}

impl FromStr for ImageLocation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let transport = IMAGE_TRANSPORTS
            .into_iter()
            .find(|transport| text.starts_with(transport))
            .ok_or_else(|| unknown(text))?;
        let rest = &text[transport.len()..];
        if rest.is_empty() || rest.starts_with(':') {
            let message = format!("`{text}` names nothing behind `{transport}`");
            return Err(Error::new(Kind::Input, message));
        }
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) => (PathBuf::from(path), Some(name.to_owned())),
            None => (PathBuf::from(rest), None),
        };
        Ok(match transport {
            "docker://" => Self::Registry(reference(rest)?),
            "docker-daemon:" => Self::Daemon {
                name: familiar(&reference(rest)?),
            },
            "docker-archive:" => Self::DockerArchive {
                file: path,
                name: name
                    .map(|name| reference(&name).map(|name| familiar(&name)))
                    .transpose()?,
            },
            "oci:" => Self::Layout {
                directory: path,
                tag: checked_tag(name)?,
            },
            _ => Self::LayoutArchive {
                file: path,
                tag: checked_tag(name)?,
            },
        })
    }
}

fn unknown(text: &str) -> Error {
    // Said in the message as well: hints do not reach usage errors.
    let message = format!(
        "`{text}` does not say where the image is: `{}` was probably meant",
        meant(text)
    );
    Error::new(Kind::Input, message).with_hint(
        "Name it as skopeo does: oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], \
         docker://HOST/NAME[:TAG] or docker-daemon:NAME:TAG.",
    )
}

/// Suggests the image that `text`, which has no transport, probably names.
#[must_use]
pub fn meant(text: &str) -> String {
    for scheme in ["https://", "http://", "docker:", "registry:"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return format!("docker://{}", rest.trim_start_matches('/'));
        }
    }
    let (first, rest) = text.split_once('/').unwrap_or((text, ""));
    let is_archive = Path::new(text.split(':').next().unwrap_or(text))
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("tar"));
    let is_path = matches!(first, "" | "." | ".." | "~") || text.ends_with('/');
    let is_host = first.contains(['.', ':']) || first == "localhost";
    if is_archive {
        format!("oci-archive:{text}")
    } else if is_path {
        format!("oci:{text}")
    } else if !rest.is_empty() && is_host {
        format!("docker://{text}")
    } else if !rest.is_empty() {
        format!("docker://docker.io/{text}")
    } else if text.contains(':') {
        format!("docker-daemon:{text}")
    } else {
        format!("oci:{text}")
    }
}

pub(crate) fn reference(text: &str) -> Result<Reference> {
    reference::parse(text).ok_or_else(|| {
        let message = format!("`{text}` is not an image name");
        Error::new(Kind::Input, message)
            .with_hint("It is HOST/NAME, NAME in small letters, and then :TAG or @sha256:DIGEST.")
    })
}

/// Returns the name as docker shows it: without the registry and the `library` that it would add itself.
fn familiar(reference: &Reference) -> String {
    let whole = reference.whole();
    let short = whole.strip_prefix("docker.io/").unwrap_or(&whole);
    short.strip_prefix("library/").unwrap_or(short).to_owned()
}

/// Refuses what no reference of a layout can be (OCI image specification, annotations).
fn checked_tag(tag: Option<String>) -> Result<Option<String>> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:@/+".contains(&byte);
    match tag {
        Some(tag) if tag.is_empty() || !tag.bytes().all(allowed) => {
            let message = format!("`{tag}` is not a valid image tag");
            Err(Error::new(Kind::Input, message))
        }
        tag => Ok(tag),
    }
}

impl fmt::Display for ImageLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, name) = match self {
            Self::Layout { directory, tag } => ("oci", directory, tag),
            Self::LayoutArchive { file, tag } => ("oci-archive", file, tag),
            Self::DockerArchive { file, name } => ("docker-archive", file, name),
            Self::Registry(reference) => return write!(formatter, "docker://{reference}"),
            Self::Daemon { name } => return write!(formatter, "docker-daemon:{name}"),
        };
        write!(formatter, "{transport}:{}", path.display())?;
        match name {
            Some(name) => write!(formatter, ":{name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names_image;

    #[test]
    fn every_transport_round_trips() {
        for text in [
            "oci:some/dir:1.0",
            "oci:dir",
            "oci-archive:image.tar:tag",
            "docker-archive:image.tar:acme/wheels:1",
            "docker://localhost:5000/acme/wheels:1",
            "docker-daemon:acme/wheels:1",
        ] {
            let location: ImageLocation = text.parse().unwrap();
            assert_eq!(location.to_string(), text);
            assert!(names_image(text));
        }
    }

    #[test]
    fn shortens_names_for_docker() {
        let location: ImageLocation = "docker-daemon:wheels:1".parse().unwrap();
        assert_eq!(location.to_string(), "docker-daemon:wheels:1");
        let location: ImageLocation = "docker-archive:a.tar:docker.io/library/wheels"
            .parse()
            .unwrap();
        assert_eq!(location.to_string(), "docker-archive:a.tar:wheels:latest");
    }

    #[test]
    fn suggests_transport_for_bare_name() {
        for (text, expected) in [
            ("registry.example/x:1", "docker://registry.example/x:1"),
            ("localhost:5000/x", "docker://localhost:5000/x"),
            (
                "https://registry.example/x:1",
                "docker://registry.example/x:1",
            ),
            ("docker:registry.example/x", "docker://registry.example/x"),
            ("acme/x:1", "docker://docker.io/acme/x:1"),
            ("foo:1", "docker-daemon:foo:1"),
            ("image.tar", "oci-archive:image.tar"),
            ("./layout", "oci:./layout"),
            ("layout", "oci:layout"),
        ] {
            assert_eq!(meant(text), expected);
            let error = text.parse::<ImageLocation>().unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(expected.parse::<ImageLocation>().is_ok());
        }
    }

    #[test]
    fn rejects_invalid_locations() {
        for text in [
            "wheelhouse",
            "dir:x",
            "oci:",
            "oci::tag",
            "oci:dir:bad tag",
            "docker://",
            "docker://host/UPPER",
        ] {
            let error = text.parse::<ImageLocation>().unwrap_err();
            assert_eq!(error.kind(), Kind::Input, "{text}");
            assert!(error.to_string().contains('`'), "{error}");
        }
    }
}
