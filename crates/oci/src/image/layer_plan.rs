//! Which files share a layer.
//!
//! A large wheel has a layer of its own; small ones share a fixed number of layers, each where its
//! name puts it. What is added, changed or removed so changes one layer and moves nothing between
//! others. Never looks into a file.

use wheelhouse_types::Sha256;

/// From this size on, in bytes, a wheel has its own layer, unless there are too many of them.
const LARGE: u64 = 1 << 20;

/// The most layers of one wheel. Docker allows 127 in all, and a base image has some, too.
const MOST_ALONE: usize = 48;

/// How many layers small wheels share.
const SHARED: usize = 12;

/// What a grouping looks at.
#[derive(Clone, Copy, Debug)]
pub struct PlannedFile<'a> {
    /// The name of the package, which outlives its versions.
    pub package: &'a str,
    pub filename: &'a str,
    /// In bytes.
    pub size: u64,
}

/// The indices of `items` by layer, the same for whatever order they come in.
#[must_use]
pub fn group(items: &[PlannedFile<'_>]) -> Vec<Vec<usize>> {
    let threshold = threshold(items);
    let mut shared = vec![Vec::new(); SHARED];
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

/// The size that makes a wheel large: doubled until the layers suffice, so that it hardly ever
/// moves.
fn threshold(items: &[PlannedFile<'_>]) -> u64 {
    let mut threshold = LARGE;
    while items.iter().filter(|item| item.size >= threshold).count() > MOST_ALONE {
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
    number % SHARED
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
        let mut groups: Vec<Vec<String>> = group(&list)
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
            prop_assert!(groups.len() <= MOST_ALONE + SHARED);
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
