//! The assignment of files to layers.
//!
//! A large wheel has a layer of its own; small wheels share a fixed number of layers by the hash of their name. An added,
//! changed or removed file therefore changes one layer and moves no files between others.

use wheelhouse_types::Sha256;

/// The size in bytes from which a wheel has its own layer, unless there are too many of them.
const OWN_LAYER_SIZE: u64 = 1 << 20;

/// The maximum number of layers with a single wheel. Docker allows 127 layers including those of the base image.
const MAX_OWN_LAYERS: usize = 48;

/// The number of layers that small wheels share.
const SHARED_LAYERS: usize = 12;

/// A file to assign to a layer.
#[derive(Clone, Copy, Debug)]
pub struct PlannedFile<'a> {
    /// The name of the package, which does not change with its version.
    pub package: &'a str,
    /// The file name.
    pub filename: &'a str,
    /// The size in bytes.
    pub size: u64,
}

/// Groups the indices of `items` by layer. The groups do not depend on the order of `items`.
#[must_use]
pub fn assign_layers(items: &[PlannedFile<'_>]) -> Vec<Vec<usize>> {
    let threshold = threshold(items);
    let mut shared = vec![Vec::new(); SHARED_LAYERS];
    let mut groups = Vec::new();
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|index| (items[*index].package, items[*index].filename));
    for index in order {
        if items[index].size >= threshold {
            groups.push(vec![index]);
        } else {
            shared[bucket(items[index].package)].push(index);
        }
    }
    shared.retain(|group| !group.is_empty());
    groups.append(&mut shared);
    groups
}

/// Returns the size from which a wheel has its own layer. It is doubled until the layers suffice, so that it rarely changes.
fn threshold(items: &[PlannedFile<'_>]) -> u64 {
    let mut threshold = OWN_LAYER_SIZE;
    while items.iter().filter(|item| item.size >= threshold).count() > MAX_OWN_LAYERS {
        threshold = match u64::checked_mul(threshold, 2) {
            Some(doubled) => doubled,
            None => break,
        };
    }
    threshold
}

fn bucket(package: &str) -> usize {
    let digest = Sha256::of(package.as_bytes()).to_string();
    let number = usize::from_str_radix(&digest[..4], 16).expect("a digest is hexadecimal");
    number % SHARED_LAYERS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the names of the groups, sorted.
    fn named(items: &[(String, u64)]) -> Vec<Vec<String>> {
        let list: Vec<_> = items
            .iter()
            .map(|(name, size)| PlannedFile {
                package: name,
                filename: name,
                size: *size,
            })
            .collect();
        let mut groups: Vec<Vec<String>> = assign_layers(&list)
            .into_iter()
            .map(|group| {
                group
                    .into_iter()
                    .map(|index| items[index].0.clone())
                    .collect()
            })
            .collect();
        groups.sort();
        groups
    }

    proptest! {
        #[test]
        fn every_item_is_in_one_of_few_groups(sizes in proptest::collection::vec(0u64..1 << 26, 0..200)) {
            let items: Vec<_> = sizes.iter().enumerate().map(|(index, size)| (format!("package-{index}"), *size)).collect();
            let groups = named(&items);
            prop_assert!(groups.len() <= MAX_OWN_LAYERS + SHARED_LAYERS);
            let mut all: Vec<_> = groups.into_iter().flatten().collect();
            all.sort();
            let mut expected: Vec<_> = items.iter().map(|(name, _)| name.clone()).collect();
            expected.sort();
            prop_assert_eq!(all, expected);
        }

        #[test]
        fn order_of_items_does_not_matter(sizes in proptest::collection::vec(0u64..1 << 22, 1..60), turn in 0usize..60) {
            let items: Vec<_> = sizes.iter().enumerate().map(|(index, size)| (format!("package-{index}"), *size)).collect();
            let mut turned = items.clone();
            turned.rotate_left(turn % items.len());
            prop_assert_eq!(named(&items), named(&turned));
        }
    }

    #[test]
    fn change_affects_one_group() {
        let items: Vec<_> = (0..40u64)
            .map(|index| (format!("package-{index}"), index * 50_000))
            .collect();
        let mut grown = items.clone();
        grown.push(("another".to_owned(), 17));
        let (before, after) = (named(&items), named(&grown));
        let same = after.iter().filter(|group| before.contains(group)).count();
        assert!(after.len() - same <= 1, "{before:?} {after:?}");
    }
}
