//! Markers of locks: what they say of extras and groups decided, and when a package of a graph is
//! wanted.
//!
//! Never evaluates a marker against an environment: what a lock gives serves any target.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use uv_normalize::{ExtraName, GroupName};
use uv_pep508::{
    ExtraOperator, MarkerExpression, MarkerTree, MarkerTreeKind, MarkerValueExtra, MarkerValueList,
};

use crate::{Error, Kind, Result, limits};

/// Parses a marker.
///
/// # Errors
/// It is none, or exceeds the [limits].
pub fn parse(text: &str) -> Result<MarkerTree> {
    let invalid = || {
        let message = format!("`{}` is not a marker", limits::excerpt(text));
        Error::new(Kind::Input, message)
    };
    limits::requirement(text).map_err(|excess| invalid().caused_by(excess))?;
    MarkerTree::from_str(text).map_err(|error| invalid().caused_by(error.message.to_string()))
}

/// Decides what `marker` says of extras (`extra == 'name'`, `'name' in extras`) and of groups
/// (`'name' in dependency_groups`, PEP 751): those that are `chosen` hold, and no others.
#[must_use]
pub fn decide(
    marker: MarkerTree,
    is_extra: &dyn Fn(&ExtraName) -> bool,
    is_group: &dyn Fn(&GroupName) -> bool,
) -> MarkerTree {
    let (mut extras, mut listed) = (BTreeSet::new(), BTreeSet::new());
    marker.visit_extras(|_, name| _ = extras.insert(name.clone()));
    collect_listed(marker, &mut listed);
    let mut decided = marker;
    for name in extras {
        let chosen = is_extra(&name);
        decided = assume(decided, extra(name), chosen);
    }
    for (is_list_of_groups, name) in listed {
        let chosen = if is_list_of_groups {
            GroupName::from_str(&name).is_ok_and(|name| is_group(&name))
        } else {
            ExtraName::from_str(&name).is_ok_and(|name| is_extra(&name))
        };
        let list = if is_list_of_groups {
            "dependency_groups"
        } else {
            "extras"
        };
        if let Ok(fact) = MarkerTree::from_str(&format!("'{name}' in {list}")) {
            decided = assume(decided, fact, chosen);
        }
    }
    decided
}

fn assume(marker: MarkerTree, fact: MarkerTree, holds: bool) -> MarkerTree {
    marker.restrict(if holds { fact } else { fact.negate() })
}

fn extra(name: ExtraName) -> MarkerTree {
    MarkerTree::expression(MarkerExpression::Extra {
        name: MarkerValueExtra::Extra(name),
        operator: ExtraOperator::Equal,
    })
}

/// Collects the members of lists that `marker` speaks of, with whether the list is that of groups.
fn collect_listed(marker: MarkerTree, listed: &mut BTreeSet<(bool, String)>) {
    let mut children = Vec::new();
    match marker.kind() {
        MarkerTreeKind::True | MarkerTreeKind::False => {}
        MarkerTreeKind::Version(node) => children.extend(node.edges().map(|(_, child)| child)),
        MarkerTreeKind::String(node) => children.extend(node.children().map(|(_, child)| child)),
        MarkerTreeKind::In(node) => children.extend(node.children().map(|(_, child)| child)),
        MarkerTreeKind::Contains(node) => children.extend(node.children().map(|(_, child)| child)),
        MarkerTreeKind::Extra(node) => children.extend(node.children().map(|(_, child)| child)),
        MarkerTreeKind::List(node) => {
            let is_list_of_groups = node.key() == MarkerValueList::DependencyGroups;
            listed.insert((is_list_of_groups, node.value()));
            children.extend(node.children().map(|(_, child)| child));
        }
    }
    for child in children {
        collect_listed(child, listed);
    }
}

/// A directed edge to the node with this index, followed where the marker holds.
pub type Edge = (usize, MarkerTree);

/// Computes when each node of a graph is reached: the OR over all paths to it, from any of `roots`, of the
/// AND of the markers on the way. `edges` has the edges that leave each node.
#[must_use]
pub fn reach(roots: &[Edge], edges: &[Vec<Edge>]) -> Vec<MarkerTree> {
    let mut reached = vec![MarkerTree::FALSE; edges.len()];
    let mut waiting = BTreeSet::new();
    for (node, marker) in roots {
        reached[*node] = reached[*node].or(*marker);
        waiting.insert(*node);
    }
    while let Some(node) = waiting.pop_first() {
        for (to, marker) in &edges[node] {
            let wider = reached[*to].or(reached[node].and(*marker));
            if wider != reached[*to] {
                reached[*to] = wider;
                waiting.insert(*to);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(text: &str) -> MarkerTree {
        parse(text).unwrap()
    }

    fn decided(text: &str) -> MarkerTree {
        let is_extra = |name: &ExtraName| name.as_ref() == "yes";
        let is_group = |name: &GroupName| name.as_ref() == "test";
        decide(marker(text), &is_extra, &is_group)
    }

    #[test]
    fn evaluates_only_extras_and_groups() {
        let linux = marker("sys_platform == 'linux'");
        assert_eq!(decided("sys_platform == 'linux' and extra == 'yes'"), linux);
        assert!(decided("sys_platform == 'linux' and extra == 'no'").is_false());
        assert_eq!(decided("sys_platform == 'linux' or extra == 'no'"), linux);
        assert!(decided("extra != 'no'").is_true());
        assert!(decided("'yes' in extras and 'test' in dependency_groups").is_true());
        assert!(decided("'no' in extras or 'docs' in dependency_groups").is_false());
        assert!(decided("'docs' not in dependency_groups").is_true());
        let both = decided("python_version < '3.9' and ('yes' in extras or os_name == 'nt')");
        assert_eq!(both, marker("python_version < '3.9'"));
    }

    #[test]
    fn combines_markers_of_all_paths() {
        let (old, linux) = (
            marker("python_version < '3.9'"),
            marker("sys_platform == 'linux'"),
        );
        let edges = vec![
            vec![(1, old), (2, MarkerTree::TRUE)],
            vec![(3, MarkerTree::TRUE)],
            vec![(3, linux)],
            // A cycle terminates.
            vec![(0, MarkerTree::TRUE)],
            vec![],
        ];
        let reached = reach(&[(0, MarkerTree::TRUE)], &edges);
        assert!(reached[0].is_true() && reached[2].is_true());
        assert_eq!(reached[1], old);
        assert_eq!(reached[3], old.or(linux));
        assert!(reached[4].is_false());
    }

    #[test]
    fn invalid_marker_is_an_error() {
        let error = parse("python_version ?").unwrap_err();
        assert_eq!(error.to_string(), "`python_version ?` is not a marker");
    }
}
