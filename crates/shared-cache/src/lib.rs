//! A build cache that machines share: built wheels by the inputs of their builds, and files by digest, in a registry, a
//! bucket, an HTTP server or a directory.
