//! The options of commands that build on a farm.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Build options")]
pub(crate) struct FarmOptions {
    /// Build sdists elsewhere: kubernetes, kubernetes:CONTEXT, or processes
    ///
    /// Each sdist becomes a Job of the Kubernetes cluster of the kubeconfig, or of one of its contexts. The files
    /// go through the shared cache of --cache-to. `processes` runs the same steps as processes of this machine.
    #[arg(long, value_name = "FARM")]
    pub(crate) workers: Option<Workers>,

    /// Read the configuration of the farm from this file [default: farm.toml]
    ///
    /// Without the file, the table [tool.wheelhouse.farm] of pyproject.toml is read.
    #[arg(long, value_name = "FILE", requires = "workers")]
    pub(crate) farm_config: Option<PathBuf>,
}

/// The place where steps are carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Workers {
    /// The Kubernetes of a context of the kubeconfig; `None` is the current one.
    Kubernetes(Option<String>),
    /// Processes of this machine.
    Processes,
}

impl FromStr for Workers {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "kubernetes" => Ok(Self::Kubernetes(None)),
            None if text == "processes" => Ok(Self::Processes),
            Some(("kubernetes", context)) if !context.is_empty() => {
                Ok(Self::Kubernetes(Some(context.to_owned())))
            }
            _ => Err("not `kubernetes`, `kubernetes:CONTEXT` or `processes`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_may_contain_colons() {
        let context = "default/api-example:6443/dev".to_owned();
        let text = format!("kubernetes:{context}");
        assert_eq!(text.parse(), Ok(Workers::Kubernetes(Some(context))));
        assert_eq!("kubernetes".parse(), Ok(Workers::Kubernetes(None)));
        for text in ["", "kubernetes:", "docker", "processes:2"] {
            assert!(text.parse::<Workers>().is_err(), "{text}");
        }
    }
}
