//! Simulates a farm: how long the steps of a plan take with 1 to 128 workers, by the scheduler that a run uses.
//!
//! `simulate STEPS.json` reads a list of `{"id", "seconds", "requires"}`, as `bench/farm-steps` writes it; `simulate COUNTxTARGETS`
//! makes up a plan. Prints a Markdown table: the time, the speedup over one worker, and the ratio to the lower bound, which
//! is the larger of the critical path and the work divided by the workers; then the same ratio if the durations differ from
//! the expected ones, and if steps start in the order in which they can.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::error::Error;
use std::time::Duration;

use serde::Deserialize;
use wheelhouse_farm::schedule::{ExpectedStep, Queue, StepGraph};

const WORKERS: [usize; 6] = [1, 2, 4, 8, 32, 128];

/// The time to start a pod, and to get inputs and store outputs.
const OVERHEAD: Duration = Duration::from_secs(3);

/// By how much the duration of a step may differ from that of the earlier run, as a factor.
const DEVIATION: f64 = 1.5;

#[derive(Deserialize)]
struct RecordedStep {
    id: String,
    seconds: f64,
    requires: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1);
    let argument = argument.ok_or("usage: simulate STEPS.json|COUNTxTARGETS")?;
    let sizes = argument
        .split_once('x')
        .map(|(count, targets)| (count.parse(), targets.parse()));
    let steps = if let Some((Ok(count), Ok(targets))) = sizes {
        synthetic(count, targets)
    } else {
        let recorded: Vec<RecordedStep> = serde_json::from_slice(&fs_err::read(&argument)?)?;
        let step = |step: RecordedStep| ExpectedStep {
            id: step.id,
            duration: Duration::from_secs_f64(step.seconds) + OVERHEAD,
            requires: step.requires,
        };
        recorded.into_iter().map(step).collect()
    };
    print(steps)?;
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "the table is the output of this program"
)]
fn print(steps: Vec<ExpectedStep>) -> Result<(), Box<dyn Error>> {
    let graph = StepGraph::new(steps)?;
    println!(
        "{} steps, {} of work, critical path {}\n",
        graph.steps().len(),
        minutes(graph.work()),
        minutes(graph.critical_path())
    );
    println!(
        "| workers | time | speedup | ratio to the bound | durations off by up to {DEVIATION} | without the order |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    let as_expected = |step: &ExpectedStep| step.duration;
    for workers in WORKERS {
        let time = simulate(&graph, Some(&graph), workers, as_expected);
        let unordered = simulate(&graph, None, workers, as_expected);
        let mut random = Random(7);
        let actual: BTreeMap<_, _> = (graph.steps().iter())
            .map(|step| (&step.id, step.duration.mul_f64(random.deviation())))
            .collect();
        let deviating = simulate(&graph, Some(&graph), workers, |step| actual[&step.id]);
        let exact = actual_graph(&graph, |step| actual[&step.id])?;
        println!(
            "| {workers} | {} | {:.1} | {:.2} | {:.2} | {:.2} |",
            minutes(time),
            graph.work().as_secs_f64() / time.as_secs_f64(),
            time.as_secs_f64() / graph.bound(workers).as_secs_f64(),
            deviating.as_secs_f64() / exact.bound(workers).as_secs_f64(),
            unordered.as_secs_f64() / graph.bound(workers).as_secs_f64(),
        );
    }
    Ok(())
}

/// Returns the time until the last step ends, if the steps take as long as `duration` returns. Without a `plan`, steps start in
/// the order in which they can.
fn simulate(
    graph: &StepGraph,
    plan: Option<&StepGraph>,
    workers: usize,
    duration: impl Fn(&ExpectedStep) -> Duration,
) -> Duration {
    let steps = graph.steps();
    let positions: BTreeMap<_, _> = steps
        .iter()
        .zip(0..)
        .map(|(step, at)| (&step.id, at))
        .collect();
    let mut dependents = vec![Vec::new(); steps.len()];
    let mut missing = vec![0; steps.len()];
    for (at, step) in steps.iter().enumerate() {
        for required in step.requires.iter().filter_map(|id| positions.get(id)) {
            let required: &usize = required;
            dependents[*required].push(at);
            missing[at] += 1;
        }
    }
    let mut queue = Queue::new(workers);
    for step in plan.into_iter().flat_map(StepGraph::steps) {
        // The graph has no cycles.
        let _ = queue.expect(step.clone());
    }
    for (at, step) in steps.iter().enumerate().filter(|&(at, _)| missing[at] == 0) {
        queue.ask(&step.id, at);
    }
    let mut now = Duration::ZERO;
    let mut running = BinaryHeap::new();
    loop {
        while let Some(at) = queue.start() {
            running.push(Reverse((now + duration(&steps[at]), at)));
        }
        let Some(Reverse((end, at))) = running.pop() else {
            return now;
        };
        now = end;
        queue.finish();
        for &dependent in &dependents[at] {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                queue.ask(&steps[dependent].id, dependent);
            }
        }
    }
}

/// Returns the graph with other durations, for its bound.
fn actual_graph(
    graph: &StepGraph,
    duration: impl Fn(&ExpectedStep) -> Duration,
) -> Result<StepGraph, Box<dyn Error>> {
    let steps = graph.steps().iter().map(|step| ExpectedStep {
        duration: duration(step),
        ..step.clone()
    });
    Ok(StepGraph::new(steps)?)
}

/// Makes up a plan of `count` packages for each of `targets`: ten build backends that the others need, mostly short builds,
/// and one in fifty that takes 5 to 25 minutes. Three of these need each other, as scikit-learn needs scipy and that numpy.
fn synthetic(count: usize, targets: usize) -> Vec<ExpectedStep> {
    let mut steps = Vec::new();
    for target in 0..targets {
        let mut random = Random(41 + target as u64);
        for package in 0..count {
            let is_long = package % 50 == 49;
            let seconds = if is_long {
                300.0 + 1200.0 * random.fraction()
            } else {
                2.0 * (1.4 * random.normal()).exp()
            };
            let mut requires = Vec::new();
            if package >= 10 {
                requires.push(random.below(10));
                if random.below(4) == 0 {
                    requires.push(random.below(10.max(package.min(40))));
                }
            }
            if is_long && (package / 50) % 3 > 0 {
                requires.push(package - 50);
            }
            let id = |package| format!("{target}/{package}");
            steps.push(ExpectedStep {
                id: id(package),
                duration: Duration::from_secs_f64(seconds) + OVERHEAD,
                requires: requires.into_iter().map(id).collect(),
            });
        }
    }
    steps
}

fn minutes(duration: Duration) -> String {
    format!("{:.1} min", duration.as_secs_f64() / 60.0)
}

/// `SplitMix64`: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit into the mantissa")]
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or_default()
    }

    /// Returns a number that is normally distributed, nearly.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.fraction()).sum::<f64>() - 6.0
    }

    /// Returns a factor from `1 / DEVIATION` to `DEVIATION`.
    fn deviation(&mut self) -> f64 {
        DEVIATION.powf(2.0 * self.fraction() - 1.0)
    }
}
