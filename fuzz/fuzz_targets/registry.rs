//! Reads responses of a registry: a header in the first line, and a body in the rest.
#![no_main]

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use oci_spec::image::{Descriptor, MediaType};
use wheelhouse_oci::image::blob::Blob;
use wheelhouse_oci::image::manifest::{self, BaseConfiguration, Document, ImageDescription};
use wheelhouse_oci::inspect::inspect_image;
use wheelhouse_oci::registry::fuzzing;
use wheelhouse_oci::transport::{ImageReader, find_image};
use wheelhouse_types::Result;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let header = parts.next().unwrap_or_default();
    let body = parts.next().unwrap_or_default();
    fuzzing::response(header, body);

    // The body as a manifest or index, as a configuration, and as a layer. The digests of the others are correct.
    inspect(Response {
        root: body.to_vec(),
        blobs: Vec::new(),
    });
    inspect(Response {
        root: manifest_of(body, &[]),
        blobs: vec![body.to_vec()],
    });
    let diff_id = Blob::of(body).digest();
    let config = format!(r#"{{"rootfs": {{"diff_ids": ["{diff_id}"]}}}}"#);
    inspect(Response {
        root: manifest_of(config.as_bytes(), &[body]),
        blobs: vec![config.into_bytes(), body.to_vec()],
    });
});

/// Inspects an image, and uses it as a base image.
fn inspect(response: Response) {
    let Ok(image) = find_image(Arc::new(response), None) else {
        return;
    };
    let _ = inspect_image(&image, None);
    let description = ImageDescription {
        architecture: "amd64".to_owned(),
        created: "1980-01-01T00:00:00Z".to_owned(),
        labels: BTreeMap::from([("key".to_owned(), "value".to_owned())]),
    };
    if let Ok(base) = BaseConfiguration::new(&image.config, image.layers.len()) {
        let _ = manifest::configuration(Some(&base), &description, &[]);
    }
}

/// Returns the manifest of an image.
fn manifest_of(config: &[u8], layers: &[&[u8]]) -> Vec<u8> {
    let config = Document {
        bytes: config.to_vec(),
        blob: Blob::of(config),
        media_type: MediaType::ImageConfig,
    };
    let layers = layers.iter().map(|layer| Blob::of(layer));
    let layers = layers.map(|blob| blob.descriptor(MediaType::ImageLayer));
    manifest::manifest(&config, layers.collect(), &BTreeMap::new()).bytes
}

/// A registry with one image.
struct Response {
    root: Vec<u8>,
    blobs: Vec<Vec<u8>>,
}

impl ImageReader for Response {
    fn name(&self) -> String {
        "docker://registry.example/image".to_owned()
    }

    fn root(&self) -> Result<Vec<u8>> {
        Ok(self.root.clone())
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let digest = descriptor.digest().to_string();
        let mut blobs = self.blobs.iter();
        let found = blobs.find(|blob| Blob::of(blob).digest() == digest);
        Ok(Box::new(Cursor::new(found.cloned().unwrap_or_default())))
    }
}
