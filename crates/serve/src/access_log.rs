//! One record for each request, made when its response has been sent.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use axum::http::{Method, StatusCode, Version};

/// A request and its response.
#[derive(Clone, Debug)]
pub struct AccessRecord {
    /// The time of the request.
    pub time: SystemTime,
    /// The address of the client; `None` for a Unix socket.
    pub client: Option<IpAddr>,
    /// The authenticated user.
    pub user: Option<String>,
    /// The method.
    pub method: Method,
    /// The path with the query, as it was sent: printable ASCII without spaces.
    pub path: String,
    /// The version of HTTP.
    pub version: Version,
    /// The status.
    pub status: StatusCode,
    /// The number of bytes of the body that were sent.
    pub bytes: u64,
    /// The time from the end of the request's head to the end of the response's body.
    pub duration: Duration,
    /// The header `User-Agent`, as it was sent.
    pub user_agent: Option<String>,
    /// False if the client closed the connection before the end.
    pub complete: bool,
}
