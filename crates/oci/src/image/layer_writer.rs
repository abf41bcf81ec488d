//! Writes layers: each once, on several threads, to all local destinations.
//!
//! The digests of a layer of distributions are cached in the store, and are valid as long as none of its files was
//! modified.

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
use crate::transport::image_writer::{BlobOutput, ImageWriter};
use wheelhouse_fs::threads::on_threads;
use wheelhouse_store::Store;

/// Writes layers to destinations.
#[derive(Clone, Debug)]
pub struct LayerWriter {
    /// The number of threads.
    pub threads: usize,
    /// The store in which digests are cached.
    pub store: Option<Store>,
}

impl LayerWriter {
    /// Writes the layers to all destinations, on several threads.
    pub(crate) fn write_all(
        &self,
        layers: &[Layer],
        destinations: &[Box<dyn ImageWriter>],
    ) -> Result<Vec<WrittenLayer>> {
        let next = AtomicUsize::new(0);
        let written = Mutex::new(vec![None; layers.len()]);
        let work = || -> Result<()> {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= layers.len() {
                    return Ok(());
                }
                let result = self.write(&layers[index], index, destinations);
                if result.is_err() {
                    // Stops the other threads.
                    next.store(layers.len(), Ordering::Relaxed);
                }
                written.lock().expect("no thread panics")[index] = Some(result?);
            }
        };
        let workers = vec![(); self.threads.clamp(1, layers.len())];
        on_threads(&workers, |()| work())
            .into_iter()
            .collect::<Result<()>>()?;
        let written = written.into_inner().expect("no thread panics");
        Ok(written.into_iter().flatten().collect())
    }

    /// Writes a layer. Its digests are taken from the cache if possible.
    fn write(
        &self,
        layer: &Layer,
        index: usize,
        destinations: &[Box<dyn ImageWriter>],
    ) -> Result<WrittenLayer> {
        let cache_key = layer.cache_key();
        let cached = cache_key.and_then(|key| self.cached(layer, &key));
        if let Some(cached) = cached
            && write_cached(&cached, index, destinations)?
        {
            tracing::debug!(
                index,
                digest = cached.blob.digest(),
                bytes = cached.blob.size,
                "took the digests of a layer from the cache"
            );
            return Ok(cached);
        }
        let written = write_layer(layer, index, destinations)?;
        tracing::debug!(
            index,
            digest = written.blob.digest(),
            bytes = written.blob.size,
            "wrote a layer"
        );
        if let (Some(store), Some(key)) = (&self.store, cache_key) {
            let record = LayerRecord {
                diff: written.diff,
                blob: written.blob,
            };
            let record = serde_json::to_vec(&record).expect("a record is serializable");
            store.save_layer(&key, &record);
        }
        Ok(written)
    }

    /// Returns the cached digests of the layer if none of its files was modified since.
    fn cached(&self, layer: &Layer, key: &Sha256) -> Option<WrittenLayer> {
        let record = self.store.as_ref()?.layer(key)?;
        let LayerRecord { diff, blob } = serde_json::from_slice(&record).ok()?;
        layer.is_unmodified().then(|| WrittenLayer {
            layer: layer.clone(),
            diff,
            blob,
        })
    }
}

/// The cached digests of a layer.
#[derive(Serialize, Deserialize)]
struct LayerRecord {
    diff: Blob,
    blob: Blob,
}

/// Writes a layer with cached digests, for which one digest is sufficient, if all destinations store gzip files. Returns
/// `false` if the layer must be written by [`write_layer`] instead, because it has changed or a destination stores tar
/// archives.
fn write_cached(
    cached: &WrittenLayer,
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
    cached.layer.write_stored(&mut writer)?;
    let (outputs, blob) = writer.finish();
    if blob != cached.blob {
        return Ok(false);
    }
    outputs.commit(&blob)?;
    Ok(true)
}

/// Reads the files of a layer once, and writes it as a tar archive and as a gzip file.
fn write_layer(
    layer: &Layer,
    index: usize,
    destinations: &[Box<dyn ImageWriter>],
) -> Result<WrittenLayer> {
    let failed = || "failed to write a layer".to_owned();
    let outputs = |plain: bool| -> Result<FanOutWriter<'_>> {
        destinations
            .iter()
            .filter(|destination| destination.wants_plain() == plain)
            .map(|destination| destination.open(index))
            .collect::<Result<_>>()
            .map(FanOutWriter)
    };
    let stored = StoredGzip::new(BlobWriter::new(outputs(false)?));
    let tee = TeeWriter {
        plain: outputs(true)?,
        stored: stored.context(Kind::Publish, failed)?,
    };
    let mut writer = BufWriter::with_capacity(CHUNK, BlobWriter::new(tee));
    layer.write(&mut writer)?;
    let writer = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .context(Kind::Publish, failed)?;
    let (tee, diff) = writer.finish();
    let stored = tee.stored.finish().context(Kind::Publish, failed)?;
    let (stored, blob) = stored.finish();
    tee.plain.commit(&diff)?;
    stored.commit(&blob)?;
    Ok(WrittenLayer {
        layer: layer.clone(),
        diff,
        blob,
    })
}

/// Writes the same bytes to tar archives and gzip files.
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

/// Writes the same bytes to several outputs.
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
