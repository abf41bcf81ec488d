//! Making layers: each once, several at a time, for all local destinations.
//!
//! Responsible for what a layer is digested and written as. Never knows which files are in which
//! layer, nor what becomes of them.

use std::io::{self, BufWriter, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use wheelhouse_model::error::Context as _;
use wheelhouse_model::{Kind, Result};

use super::blob::{Blob, BlobWriter};
use super::compose::Composed;
use super::layer::{CHUNK, Layer};
use super::stored::StoredGzip;

/// Where layers go while they are digested.
pub trait Destination: Send + Sync {
    /// Whether it takes layers as plain archives, as docker does, and not as they are stored.
    fn wants_plain(&self) -> bool;

    /// Prepares for layers of these sizes, in bytes.
    ///
    /// # Errors
    /// [`Kind::Publish`], when the place cannot be written.
    fn begin(&mut self, sizes: &[u64]) -> Result<()>;

    /// A place for the layer of this index.
    ///
    /// # Errors
    /// As [`Destination::begin`].
    fn open(&self, index: usize) -> Result<Box<dyn Output + '_>>;

    /// Writes the documents, the one that names all others last.
    ///
    /// # Errors
    /// As [`Destination::begin`].
    fn finish(self: Box<Self>, composed: &Composed) -> Result<()>;
}

/// A layer on its way to one destination.
pub trait Output: Write {
    /// Gives what was written its name.
    ///
    /// # Errors
    /// [`Kind::Publish`], when the place cannot be written.
    fn commit(self: Box<Self>, blob: &Blob) -> Result<()>;
}

/// A layer that was made.
#[derive(Clone, Debug)]
pub struct Made {
    pub layer: Layer,
    /// The plain archive.
    pub diff: Blob,
    /// The same as it is stored.
    pub blob: Blob,
}

/// Writes the layers to all destinations, several at a time.
pub(super) fn write_all(
    layers: &[Layer],
    destinations: &[Box<dyn Destination>],
    threads: usize,
) -> Result<Vec<Made>> {
    let next = AtomicUsize::new(0);
    let made = Mutex::new(vec![None; layers.len()]);
    let work = || -> Result<()> {
        while let Some(index) = take(&next, layers.len()) {
            let written = write(&layers[index], index, destinations);
            if written.is_err() {
                // Nobody needs the rest.
                next.store(layers.len(), Ordering::Relaxed);
            }
            made.lock().expect("no thread panics")[index] = Some(written?);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.clamp(1, layers.len()))
            .map(|_| scope.spawn(work))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("no thread panics"))
    })?;
    let made = made.into_inner().expect("no thread panics");
    Ok(made.into_iter().flatten().collect())
}

fn take(next: &AtomicUsize, end: usize) -> Option<usize> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    (index < end).then_some(index)
}

/// Makes a layer once, for those who want it plain and those who want it stored.
fn write(layer: &Layer, index: usize, destinations: &[Box<dyn Destination>]) -> Result<Made> {
    let failed = || "a layer cannot be written".to_owned();
    let outputs = |plain: bool| -> Result<Outputs<'_>> {
        let wanting = destinations
            .iter()
            .filter(|destination| destination.wants_plain() == plain);
        let outputs = wanting.map(|destination| destination.open(index));
        outputs.collect::<Result<_>>().map(Outputs)
    };
    let stored = StoredGzip::new(BlobWriter::new(outputs(false)?));
    let both = Both {
        plain: outputs(true)?,
        stored: stored.context(Kind::Publish, failed)?,
    };
    let mut writer = BufWriter::with_capacity(CHUNK, BlobWriter::new(both));
    layer.write(&mut writer)?;
    let writer = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .context(Kind::Publish, failed)?;
    let (both, diff) = writer.finish();
    let stored = both.stored.finish().context(Kind::Publish, failed)?;
    let (stored, blob) = stored.finish();
    both.plain.commit(&diff)?;
    stored.commit(&blob)?;
    Ok(Made {
        layer: layer.clone(),
        diff,
        blob,
    })
}

/// Writes the same plain and stored.
struct Both<'a> {
    plain: Outputs<'a>,
    stored: StoredGzip<BlobWriter<Outputs<'a>>>,
}

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.plain.write_all(bytes)?;
        self.stored.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.plain.flush()?;
        self.stored.flush()
    }
}

/// Writes the same to all.
struct Outputs<'a>(Vec<Box<dyn Output + 'a>>);

impl Outputs<'_> {
    fn commit(self, blob: &Blob) -> Result<()> {
        self.0
            .into_iter()
            .try_for_each(|output| output.commit(blob))
    }
}

impl Write for Outputs<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for output in &mut self.0 {
            output.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.iter_mut().try_for_each(Write::flush)
    }
}
