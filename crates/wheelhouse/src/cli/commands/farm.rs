//! The farm of a command: from `--workers`, `--cache-to` and the configuration to a running farm.

use std::ffi::OsString;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use wheelhouse_farm::{Connection, FarmConfig, Kubernetes, Processes, StepRunner, config};
use wheelhouse_fs::input;
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{CacheLocation, Error, Kind, Result};

use crate::cli::args::{FarmOptions, Workers};
use crate::cli::commands::session::RunSession;
use crate::pipeline::{Farm, StepCache};

/// Starts the farm of `options` for `session`; `None` without `--workers`.
///
/// # Errors
/// When the configuration is not valid, `--cache-to` is missing, or the shared cache or the farm is not reached.
pub(crate) async fn start(options: &FarmOptions, session: &RunSession) -> Result<Option<Rc<Farm>>> {
    let Some(workers) = &options.workers else {
        return Ok(None);
    };
    let context = &session.context;
    let cache = location(session)?.to_string();
    let config = configuration(options, &context.process.directory)?;
    let parallelism = config.parallelism;
    let steps = step_cache(session).await?;
    let runner: Box<dyn StepRunner> = match workers {
        Workers::Kubernetes(name) => {
            let environment = &context.process.environment;
            // Kubernetes sets both in every pod.
            let is_pod = environment
                .get_nonempty("KUBERNETES_SERVICE_HOST")
                .is_some();
            let pod = environment.get_nonempty("HOSTNAME").filter(|_| is_pod);
            let connection = Connection::read(name.as_deref(), pod.map(str::to_owned)).await?;
            let observer = Arc::clone(&session.observer);
            let farm = Kubernetes::connect(connection, config, cache, observer).await?;
            context.clean_up(farm.cleanup());
            Box::new(farm)
        }
        Workers::Processes => {
            let program = std::env::current_exe().context(Kind::Input, || {
                "the path of this program cannot be found".to_owned()
            })?;
            Box::new(Processes {
                program,
                cache,
                arguments: vec![OsString::from("--no-cache")],
            })
        }
    };
    Ok(Some(Rc::new(Farm::new(runner, steps, parallelism))))
}

/// Opens the shared cache of a farm.
///
/// # Errors
/// When `--cache-to` is missing, or the location cannot be used.
pub(crate) async fn step_cache(session: &RunSession) -> Result<StepCache> {
    let (context, location) = (&session.context, location(session)?);
    let options = context.shared_options()?;
    let opened = wheelhouse_shared_cache::connect(&location, &options.connect, true).await?;
    Ok(StepCache::new(
        opened,
        options.signing_key,
        options.verifying_key,
        context.settings.shared_cache.timeout,
    ))
}

fn location(session: &RunSession) -> Result<CacheLocation> {
    let location = session.context.settings.shared_cache.to.clone();
    location.ok_or_else(|| {
        Error::new(Kind::Input, "workers require a shared cache").with_hint(
            "Name one that the workers reach, too, with --cache-to LOCATION, such as docker://HOST/NAME or s3://BUCKET/PREFIX.",
        )
    })
}

/// Reads the configuration of the farm.
fn configuration(options: &FarmOptions, directory: &Path) -> Result<FarmConfig> {
    let read = |path: &Path| -> Result<Option<String>> {
        let failed = || format!("failed to read {}", path.display());
        match input::read(path) {
            Ok(bytes) => String::from_utf8(bytes)
                .map(Some)
                .context(Kind::Input, failed),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(Kind::Input, failed),
        }
    };
    let named = options.farm_config.as_deref();
    let path = directory.join(named.unwrap_or(Path::new(config::FILE_NAME)));
    if let Some(text) = read(&path)? {
        return FarmConfig::parse(&text, &path);
    }
    if named.is_some() {
        let message = format!("{} does not exist", path.display());
        return Err(Error::new(Kind::Input, message));
    }
    let path = directory.join("pyproject.toml");
    let of_project = match read(&path)? {
        Some(text) => FarmConfig::of_project(&text, &path)?,
        None => None,
    };
    Ok(of_project.unwrap_or_default())
}
