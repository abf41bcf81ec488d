//! Records which build waits for which other, so that build cycles fail instead of waiting forever.

use std::cell::RefCell;

use wheelhouse_types::limits;

/// The edges from builds to the builds that they wait for, as identities of distributions.
#[derive(Default)]
pub(super) struct WaitGraph(RefCell<Vec<(String, String)>>);

/// An edge of the graph, which is removed on drop.
pub(super) struct WaitGuard<'a> {
    graph: &'a WaitGraph,
    edge: (String, String),
}

impl WaitGraph {
    /// Adds the edge from `builder` to `required`. Returns `None` if `required` waits for `builder`,
    /// directly or through other builds.
    pub(super) fn wait(&self, builder: &str, required: &str) -> Option<WaitGuard<'_>> {
        if self.has_path(required, builder) {
            return None;
        }
        let edge = (builder.to_owned(), required.to_owned());
        self.0.borrow_mut().push(edge.clone());
        Some(WaitGuard { graph: self, edge })
    }

    /// Returns whether `from` waits for `to`, directly or through other builds.
    fn has_path(&self, from: &str, to: &str) -> bool {
        let edges = self.0.borrow();
        let (mut reached, mut next) = (vec![from], 0);
        while let Some(node) = reached.get(next).copied() {
            if node == to {
                return true;
            }
            for (waiting, required) in &*edges {
                if waiting == node && !reached.contains(&required.as_str()) {
                    reached.push(required);
                }
            }
            next += 1;
        }
        false
    }

    /// Returns whether a chain of [`limits::BUILD_DEPTH`] builds waits for `builder`.
    pub(super) fn is_too_deep(&self, builder: &str) -> bool {
        let edges = self.0.borrow();
        let mut level = vec![builder];
        for _ in 0..limits::BUILD_DEPTH {
            let waiting = edges
                .iter()
                .filter(|(_, required)| level.contains(&required.as_str()));
            level = waiting.map(|(waiting, _)| waiting.as_str()).collect();
            level.sort_unstable();
            level.dedup();
            if level.is_empty() {
                return false;
            }
        }
        true
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        let mut edges = self.graph.0.borrow_mut();
        if let Some(position) = edges.iter().position(|edge| *edge == self.edge) {
            edges.swap_remove(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_chain_of_builds() {
        let edge = |builder: usize| (builder.to_string(), (builder + 1).to_string());
        let graph = WaitGraph(RefCell::new((0..limits::BUILD_DEPTH).map(edge).collect()));
        assert!(graph.is_too_deep(&limits::BUILD_DEPTH.to_string()));
        assert!(!graph.is_too_deep(&(limits::BUILD_DEPTH - 1).to_string()));
    }

    #[test]
    fn rejects_edges_that_close_a_cycle() {
        let graph = WaitGraph::default();
        assert!(graph.wait("a", "a").is_none());
        let first = graph.wait("a", "b").unwrap();
        let second = graph.wait("b", "c").unwrap();
        assert!(graph.wait("c", "a").is_none());
        assert!(graph.wait("d", "a").is_some());
        drop(second);
        let third = graph.wait("c", "a");
        assert!(third.is_some());
        drop((first, third));
        assert!(graph.0.borrow().is_empty());
    }
}
