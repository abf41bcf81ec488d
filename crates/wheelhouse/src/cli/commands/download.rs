//! The `download` command.

use clap::ArgMatches;
use wheelhouse_types::Result;

use crate::cli::args::{DownloadArgs, GlobalOptions};
use crate::cli::commands::after_build::AfterBuild;
use crate::cli::commands::session::CommandContext;
use crate::cli::commands::{dry_run, farm};
use crate::pipeline::TargetSelection;
use crate::pipeline::download::{self, DownloadJob};
use wheelhouse_oci::find_links::ArchitectureSelection;

/// Runs the command.
pub(crate) fn run(
    download: DownloadArgs,
    globals: &GlobalOptions,
    matches: &ArgMatches,
) -> Result<()> {
    let raw = download.raw(globals, matches);
    let (source, dry_run) = (download.inputs.source.clone(), download.run_options.dry_run);
    let context = CommandContext::new(raw, source, globals, dry_run)?;
    context.execute(move |context| Box::pin(execute(context, download)))
}

async fn execute(mut context: CommandContext, arguments: DownloadArgs) -> Result<()> {
    let after = AfterBuild::new(&arguments.run_options, &mut context)?;
    let mut session = context.begin(ArchitectureSelection::All).await?;
    let (run_options, scope) = (&arguments.run_options, session.scope.clone());
    if !run_options.dry_run {
        session.farm = farm::start(&arguments.farm, &session).await?;
    }
    let job = DownloadJob {
        inputs: session.inputs(run_options.lock_policy(), run_options.keep_going),
        output: session.context.settings.output.clone(),
        link_mode: run_options.link_mode(),
        targets: TargetSelection {
            targets: arguments
                .targets
                .choice(&session.context.settings.targets)?,
            filter: Box::new(move |target| scope.check(target)),
        },
        // A wheelhouse has what its requirements need.
        bootstrap: !arguments.no_bootstrap && !arguments.build,
        sdists: arguments.sources(),
        same_versions: arguments.same_versions,
        attestations: run_options.attestations,
        build: arguments.build,
    };
    if run_options.dry_run {
        let previews = download::preview(job, session.observer).await?;
        session.context.renderer.close();
        dry_run::print_targets(&previews, session.context.json);
        return Ok(());
    }
    let report = download::download(job, session.observer.clone()).await;
    session.shared.finish().await;
    let report = report?;
    after.finish(session, &report).await
}
