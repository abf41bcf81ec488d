//! The cache and the output directory: failing filesystems, corruption and concurrent runs.

mod concurrent_runs;
mod corruption;
mod disk_errors;

use crate::support::{Index, Sdist, Wheel};

fn index() -> Index {
    let index = Index::start();
    index.add(&Wheel::new("alpha", "1.0").padded(1_500_000));
    index.add_sdist(&Sdist::new("gamma", "1.0"));
    index
}

const WANTED: [&str; 2] = ["alpha", "gamma"];
