//! Making layers: each once, several at a time, for all local destinations.
//!
//! Responsible for what a layer is digested and written as. A layer of distributions is digested
//! once: what it turned out to be is kept in the store, and believed as long as nobody has written to
//! its files. Never knows which files are in which layer, nor what becomes of them.

use std::io::{self, BufWriter, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use wheelhouse_types::error::Context as _;
use wheelhouse_types::{Kind, Result, Sha256};

use crate::image::blob::{Blob, BlobWriter};
use crate::image::image_set::WrittenLayer;
use crate::image::layer::{CHUNK, Layer};
use crate::image::stored_gzip::StoredGzip;
use crate::transport::{BlobOutput, ImageWriter};
use wheelhouse_fs::threads::on_threads;
use wheelhouse_store::Store;

/// What makes layers.
#[derive(Clone, Debug)]
pub struct LayerWriter {
    /// How many are made at once.
    pub threads: usize,
    /// Where it is kept what they turn out to be.
    pub store: Option<Store>,
}

impl LayerWriter {
    /// Writes the layers to all destinations, several at a time.
    pub(crate) fn make_all(
        &self,
        layers: &[Layer],
        destinations: &[Box<dyn ImageWriter>],
    ) -> Result<Vec<WrittenLayer>> {
        let next = AtomicUsize::new(0);
        let made = Mutex::new(vec![None; layers.len()]);
        let work = || -> Result<()> {
            while let Some(index) = take(&next, layers.len()) {
                let written = self.make(&layers[index], index, destinations);
                if written.is_err() {
                    // Nobody needs the rest.
                    next.store(layers.len(), Ordering::Relaxed);
                }
                made.lock().expect("no thread panics")[index] = Some(written?);
            }
            Ok(())
        };
        let workers = vec![(); self.threads.clamp(1, layers.len())];
        let worked = on_threads(&workers, |()| work());
        worked.into_iter().collect::<Result<()>>()?;
        let made = made.into_inner().expect("no thread panics");
        Ok(made.into_iter().flatten().collect())
    }

    fn make(
        &self,
        layer: &Layer,
        index: usize,
        destinations: &[Box<dyn ImageWriter>],
    ) -> Result<WrittenLayer> {
        let recipe = layer.recipe();
        let known = recipe.and_then(|recipe| self.recall(layer, &recipe));
        if let Some(made) = known
            && write_again(&made, index, destinations)?
        {
            return Ok(made);
        }
        let made = write(layer, index, destinations)?;
        if let (Some(store), Some(recipe)) = (&self.store, recipe) {
            let note = LayerRecord {
                diff: made.diff,
                blob: made.blob,
            };
            let note = serde_json::to_vec(&note).expect("a note is JSON");
            store.save_layer(&recipe, &note);
        }
        Ok(made)
    }

    /// What the layer turned out to be before, if nobody has written to its files since.
    fn recall(&self, layer: &Layer, recipe: &Sha256) -> Option<WrittenLayer> {
        let note = self.store.as_ref()?.layer(recipe)?;
        let LayerRecord { diff, blob } = serde_json::from_slice(&note).ok()?;
        layer.is_untouched().then(|| WrittenLayer {
            layer: layer.clone(),
            diff,
            blob,
        })
    }
}

/// What is kept of a layer.
#[derive(Serialize, Deserialize)]
struct LayerRecord {
    diff: Blob,
    blob: Blob,
}

/// Writes a layer that is known, which takes but one digest, if all want it stored; tells whether
/// it still is what it was.
fn write_again(
    made: &WrittenLayer,
    index: usize,
    destinations: &[Box<dyn ImageWriter>],
) -> Result<bool> {
    if destinations.is_empty() {
        return Ok(true);
    }
    if destinations
        .iter()
        .any(|destination| destination.wants_plain())
    {
        return Ok(false);
    }
    let outputs = destinations
        .iter()
        .map(|destination| destination.open(index));
    let mut writer = BlobWriter::new(FanOutWriter(outputs.collect::<Result<_>>()?));
    made.layer.write_stored(&mut writer)?;
    let (outputs, blob) = writer.finish();
    if blob != made.blob {
        return Ok(false);
    }
    outputs.commit(&blob)?;
    Ok(true)
}

fn take(next: &AtomicUsize, end: usize) -> Option<usize> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    (index < end).then_some(index)
}

/// Makes a layer once, for those who want it plain and those who want it stored.
fn write(
    layer: &Layer,
    index: usize,
    destinations: &[Box<dyn ImageWriter>],
) -> Result<WrittenLayer> {
    let failed = || "a layer cannot be written".to_owned();
    let outputs = |plain: bool| -> Result<FanOutWriter<'_>> {
        let wanting = destinations
            .iter()
            .filter(|destination| destination.wants_plain() == plain);
        let outputs = wanting.map(|destination| destination.open(index));
        outputs.collect::<Result<_>>().map(FanOutWriter)
    };
    let stored = StoredGzip::new(BlobWriter::new(outputs(false)?));
    let both = TeeWriter {
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
    Ok(WrittenLayer {
        layer: layer.clone(),
        diff,
        blob,
    })
}

/// Writes the same plain and stored.
struct TeeWriter<'a> {
    plain: FanOutWriter<'a>,
    stored: StoredGzip<BlobWriter<FanOutWriter<'a>>>,
}

impl Write for TeeWriter<'_> {
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
struct FanOutWriter<'a>(Vec<Box<dyn BlobOutput + 'a>>);

impl FanOutWriter<'_> {
    fn commit(self, blob: &Blob) -> Result<()> {
        self.0
            .into_iter()
            .try_for_each(|output| output.commit(blob))
    }
}

impl Write for FanOutWriter<'_> {
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
