//! The names of lock files (PEP 751).

/// The name of the lock of the only target or set.
pub(super) const LOCK_NAME: &str = "pylock.toml";

/// Returns the name of a lock: `pylock.NAME.toml`, or `pylock.toml` without a name.
pub(super) fn lock_name(name: Option<&str>) -> String {
    match name {
        Some(name) => format!("pylock.{name}.toml"),
        None => LOCK_NAME.to_owned(),
    }
}
