//! HTTP: the clients, the rules that every request and response goes through, and downloads.

pub(crate) mod cached_secrets;
pub(crate) mod client;
pub(crate) mod clients;
pub(crate) mod download;
pub(crate) mod plain_http;
pub(crate) mod redirect;
pub(crate) mod remote_file;
pub(crate) mod response_limits;
pub(crate) mod retries;
pub(crate) mod url_credentials;
