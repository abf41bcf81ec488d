//! Renders a wheelhouse as HTML pages for people.

#![warn(missing_docs)]
