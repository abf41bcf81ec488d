//! The options of `image`, `extract` and `inspect`.
//!
//! Responsible for their names and help texts, and for handing them on as plain values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{ArgMatches, Args};
use wheelhouse_types::{Error, Kind, Result, names_image};

use super::GlobalOptions;
use super::shared::{NetworkOptions, Options};
use wheelhouse_config::RawOptions;
use wheelhouse_oci::image::builder::ANNOTATION_PREFIX;
use wheelhouse_oci::transport::ImageLocation;

#[expect(clippy::doc_markdown, reason = "a help text is no Markdown")]
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// The wheelhouse [default: wheelhouse], and where its image goes: oci:DIR[:TAG],
    /// oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], docker://HOST/NAME[:TAG] or
    /// docker-daemon:NAME[:TAG]
    #[arg(value_name = "PLACE", required_unless_present = "dry_run")]
    words: Vec<String>,

    /// Build what this file requires first: a requirements file, a pyproject.toml, or a lock
    #[arg(
        short,
        long = "requirement",
        visible_alias = "requirements",
        value_name = "FILE",
        help_heading = "What to build"
    )]
    pub(crate) requirement_files: Vec<String>,

    /// Build what the application in this tree or Git repository requires first
    #[arg(long, value_name = "DIR|GIT-URL[@REF]", help_heading = "What to build")]
    pub(crate) source: Option<String>,

    #[command(flatten)]
    pub(crate) manner: ImageOptionArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "The image")]
pub(crate) struct ImageOptionArgs {
    /// Where the wheelhouse is in the image
    #[arg(long, value_name = "PATH", default_value = "/opt/app-root/wheelhouse")]
    pub(crate) path: String,

    /// Put it upon this image, whose user, command and labels are kept; it is named as a destination is
    #[arg(long, value_name = "IMAGE")]
    pub(crate) base: Option<ImageLocation>,

    /// Put all files into one layer
    #[arg(long)]
    pub(crate) single_layer: bool,

    /// Make one image of what several architectures need, not one for each
    #[arg(long)]
    pub(crate) all_in_one: bool,

    /// Annotate the image; a KEY without a dot is one of OCI's: source, revision, licenses, ...
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    annotations: Vec<String>,

    /// Add a label
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,

    /// Print the digest, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How registries are reached.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Registries")]
pub(crate) struct RegistryOptions {
    /// Take credentials from this file, not from those of docker and podman
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,

    /// Talk to registries without TLS, or with a certificate that nobody vouches for
    #[arg(long)]
    pub(crate) insecure: bool,
}

#[expect(clippy::doc_markdown, reason = "a help text is no Markdown")]
#[derive(Debug, Args)]
pub(crate) struct ExtractArgs {
    /// The image: oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME],
    /// docker://HOST/NAME[:TAG] or docker-daemon:NAME[:TAG]
    pub(crate) image: ImageLocation,

    /// Where the wheelhouse goes
    #[arg(value_name = "DIR", default_value = "wheelhouse")]
    pub(crate) directory: PathBuf,

    #[command(flatten)]
    pub(crate) read_args: ImageReadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A directory, or an image as `extract` takes it
    #[arg(value_name = "DIR|IMAGE", default_value = "wheelhouse")]
    pub(crate) what: String,

    #[command(flatten)]
    pub(crate) read_args: ImageReadArgs,
}

/// How an image is read.
#[derive(Debug, Args)]
pub(crate) struct ImageReadArgs {
    /// Where the wheelhouse is in the image [default: where the image says, else /opt/app-root/wheelhouse]
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,

    /// Which image of several: the one for this architecture, such as amd64 or arm64 [default: this machine's]
    #[arg(long, value_name = "ARCHITECTURE")]
    pub(crate) arch: Option<String>,

    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
    #[command(flatten)]
    network: NetworkOptions,
}

impl ImageArgs {
    pub(crate) fn raw(&self, globals: &GlobalOptions, matches: &ArgMatches) -> RawOptions {
        RawOptions {
            requirement_files: self.requirement_files.clone(),
            ..self.options.raw(globals, matches)
        }
    }

    /// Whether the wheelhouse is to be built first.
    pub(crate) fn builds(&self) -> bool {
        self.source.is_some() || !self.requirement_files.is_empty()
    }

    /// The wheelhouses that are named, and the destinations.
    ///
    /// # Errors
    /// A destination that is none, or a wheelhouse beside requirements.
    pub(crate) fn paths(&self) -> Result<(Vec<PathBuf>, Vec<ImageLocation>)> {
        let first = self.words.iter().position(|word| names_image(word));
        let (wheelhouses, destinations) = self.words.split_at(first.unwrap_or(self.words.len()));
        let destinations: Vec<ImageLocation> = destinations
            .iter()
            .map(|word| word.parse())
            .collect::<Result<_>>()?;
        if destinations.is_empty() && !self.manner.dry_run {
            // What was taken for a wheelhouse is named as what it is not.
            let last = wheelhouses.last().map_or("", String::as_str);
            return last
                .parse::<ImageLocation>()
                .map(|_| (Vec::new(), Vec::new()));
        }
        if self.builds() && !wheelhouses.is_empty() {
            let message = format!("`{}` is named, and what to build, too", wheelhouses[0]);
            let hint = "Name the output with --output, or leave out --requirement and --source.";
            return Err(Error::new(Kind::Input, message).with_hint(hint));
        }
        Ok((
            wheelhouses.iter().map(PathBuf::from).collect(),
            destinations,
        ))
    }
}

impl ImageOptionArgs {
    pub(crate) fn annotations(&self) -> Result<BTreeMap<String, String>> {
        let pairs = pairs("--annotation", &self.annotations)?.into_iter();
        Ok(pairs
            .map(|(key, value)| {
                if key.contains('.') {
                    (key, value)
                } else {
                    (format!("{ANNOTATION_PREFIX}{key}"), value)
                }
            })
            .collect())
    }

    pub(crate) fn labels(&self) -> Result<BTreeMap<String, String>> {
        pairs("--label", &self.labels)
    }
}

fn pairs(option: &str, texts: &[String]) -> Result<BTreeMap<String, String>> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::new(
            Kind::Input,
            format!("{option} `{text}` is not KEY=VALUE"),
        )),
    };
    texts.iter().map(pair).collect()
}

impl ImageReadArgs {
    pub(crate) fn raw(&self, globals: &GlobalOptions) -> RawOptions {
        self.network.raw(globals.raw())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, parse};
    use super::*;

    fn image(arguments: &[&str]) -> ImageArgs {
        let arguments = ["wheelhouse", "image"].iter().chain(arguments);
        let (command_line, _) = parse(arguments.map(Into::into)).unwrap();
        let Command::Image(image) = command_line.command else {
            panic!("not the verb");
        };
        *image
    }

    #[test]
    fn what_is_no_destination_is_a_wheelhouse() {
        let (wheelhouses, destinations) =
            image(&["DIR", "oci:a", "oci-archive:b"]).paths().unwrap();
        assert_eq!(wheelhouses, [PathBuf::from("DIR")]);
        assert_eq!(destinations.len(), 2);
        let (wheelhouses, _) = image(&["oci:a"]).paths().unwrap();
        assert!(wheelhouses.is_empty());
    }

    #[test]
    fn a_destination_is_needed_unless_nothing_is_written() {
        let error = image(&["DIR"]).paths().unwrap_err();
        assert!(error.to_string().contains("`DIR`"), "{error}");
        image(&["DIR", "--dry-run"]).paths().unwrap();
        image(&["-r", "a.txt", "DIR", "oci:a"]).paths().unwrap_err();
    }

    #[test]
    fn short_annotations_are_those_of_oci() {
        let image = image(&[
            "oci:a",
            "--annotation",
            "source=https://x=y",
            "--annotation",
            "a.b=",
        ]);
        let annotations = image.manner.annotations().unwrap();
        assert_eq!(
            annotations["org.opencontainers.image.source"],
            "https://x=y"
        );
        assert_eq!(annotations["a.b"], "");
    }
}
