//! The `worker` command: carries out one build step of a farm.

use clap::ArgMatches;
use wheelhouse_oci::find_links::ArchitectureSelection;
use wheelhouse_types::Result;

use crate::cli::args::{GlobalOptions, WorkerArgs};
use crate::cli::commands::farm;
use crate::cli::commands::session::CommandContext;
use crate::pipeline::step::{self, StepJob};

/// Runs the command.
pub(crate) fn run(
    arguments: &WorkerArgs,
    globals: &GlobalOptions,
    matches: &ArgMatches,
) -> Result<()> {
    let mut raw = arguments.raw(globals, matches);
    // A request needs requirements; the step replaces them.
    raw.requirements = vec!["pip".to_owned()];
    let python = raw.python.clone();
    let (digest, sign) = (arguments.step, arguments.sign.clone());
    let mut context = CommandContext::new(raw, None, globals, false)?;
    context.sign = sign;
    context.execute(move |context| {
        Box::pin(async move {
            let session = Box::pin(context.begin(ArchitectureSelection::Native)).await?;
            let steps = farm::step_cache(&session).await?;
            let surroundings = session.context.process.surroundings();
            let job = StepJob {
                step: digest,
                steps,
                store: session.store.clone(),
                python,
                surroundings,
                building: session.request.building.clone(),
                network: session.request.network.clone(),
            };
            Box::pin(step::carry_out(job, session.observer.clone())).await?;
            session.context.renderer.close();
            Ok(())
        })
    })
}
