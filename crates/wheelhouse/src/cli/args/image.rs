//! The arguments of `image`, `extract` and `inspect`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{ArgMatches, Args};
use wheelhouse_types::{Error, Kind, Result, names_image};

use super::GlobalOptions;
use super::shared::{NetworkOptions, Options};
use wheelhouse_config::RawOptions;
use wheelhouse_oci::image::builder::ANNOTATION_PREFIX;
use wheelhouse_oci::transport::ImageLocation;

#[expect(clippy::doc_markdown, reason = "a help text is not Markdown")]
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// The wheelhouse [default: wheelhouse] and the destinations of its image
    ///
    /// A destination is oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME],
    /// docker://HOST/NAME[:TAG] or docker-daemon:NAME[:TAG].
    #[arg(value_name = "PLACE", required_unless_present = "dry_run")]
    words: Vec<String>,

    /// Build the requirements of a requirements file, pyproject.toml or lock first
    #[arg(
        short,
        long = "requirement",
        visible_alias = "requirements",
        value_name = "FILE",
        help_heading = "Input options"
    )]
    pub(crate) requirement_files: Vec<String>,

    /// Build the requirements of the application in a directory or Git repository first
    #[arg(long, value_name = "DIR|GIT-URL[@REF]", help_heading = "Input options")]
    pub(crate) source: Option<String>,

    #[command(flatten)]
    pub(crate) manner: ImageOptionArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Image options")]
pub(crate) struct ImageOptionArgs {
    /// Place the wheelhouse at this path in the image
    #[arg(long, value_name = "PATH", default_value = "/opt/app-root/wheelhouse")]
    pub(crate) path: String,

    /// Add the wheelhouse to this base image, named like a destination
    ///
    /// The user, command and labels of the base image are kept.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) base: Option<ImageLocation>,

    /// Put all files into one layer
    #[arg(long)]
    pub(crate) single_layer: bool,

    /// Create one image for all architectures instead of one for each
    #[arg(long)]
    pub(crate) all_in_one: bool,

    /// Add an annotation; a KEY without a dot is one of OCI's: source, revision, licenses, ...
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    annotations: Vec<String>,

    /// Add a label
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,

    /// Print the digest without writing the image
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// The options for accessing registries.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct RegistryOptions {
    /// Read registry credentials from this file instead of those of docker and podman
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,

    /// Allow plain HTTP and untrusted certificates for registries
    #[arg(long)]
    pub(crate) insecure: bool,
}

#[expect(clippy::doc_markdown, reason = "a help text is not Markdown")]
#[derive(Debug, Args)]
pub(crate) struct ExtractArgs {
    /// The image, such as oci:DIR[:TAG] or docker://HOST/NAME[:TAG]
    ///
    /// Also oci-archive:FILE[:TAG], docker-archive:FILE[:NAME] and docker-daemon:NAME[:TAG].
    pub(crate) image: ImageLocation,

    /// The output directory of the wheelhouse
    #[arg(value_name = "DIR", default_value = "wheelhouse")]
    pub(crate) directory: PathBuf,

    #[command(flatten)]
    pub(crate) read_args: ImageReadArgs,
}

/// The wheelhouse that a command reads; all the arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct WheelhouseArgs {
    /// A directory, or an image as for `extract`
    #[arg(value_name = "DIR|IMAGE", default_value = "wheelhouse")]
    pub(crate) place: String,

    #[command(flatten)]
    pub(crate) read_args: ImageReadArgs,
}

/// The options for reading an image.
#[derive(Debug, Args)]
// Not that of a group of options before them.
#[command(next_help_heading = None::<&'static str>)]
pub(crate) struct ImageReadArgs {
    /// Find the wheelhouse at this path in the image [default: its label, or /opt/app-root/wheelhouse]
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,

    /// Select the image for this architecture, such as amd64 or arm64 [default: this machine's]
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

    /// Returns whether the wheelhouse is built first.
    pub(crate) fn builds(&self) -> bool {
        self.source.is_some() || !self.requirement_files.is_empty()
    }

    /// Returns the wheelhouses and the destinations.
    ///
    /// # Errors
    /// `Input` if a destination is not valid, or if wheelhouses are combined with requirements.
    pub(crate) fn paths(&self) -> Result<(Vec<PathBuf>, Vec<ImageLocation>)> {
        let first = self.words.iter().position(|word| names_image(word));
        let (wheelhouses, destinations) = self.words.split_at(first.unwrap_or(self.words.len()));
        let destinations: Vec<ImageLocation> = destinations
            .iter()
            .map(|word| word.parse())
            .collect::<Result<_>>()?;
        if destinations.is_empty() && !self.manner.dry_run {
            // The last argument is the destination: its error is the most helpful one.
            let last = wheelhouses.last().map_or("", String::as_str);
            return last
                .parse::<ImageLocation>()
                .map(|_| (Vec::new(), Vec::new()));
        }
        if self.builds() && !wheelhouses.is_empty() {
            let message = format!(
                "the wheelhouse `{}` cannot be combined with requirements to build",
                wheelhouses[0]
            );
            let hint =
                "Pass the output directory with --output, or remove --requirement and --source.";
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
            panic!("not the command");
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
