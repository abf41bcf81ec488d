//! Build steps on other machines: the order in which they start, and the Kubernetes Jobs that carry them out.

pub mod schedule;
