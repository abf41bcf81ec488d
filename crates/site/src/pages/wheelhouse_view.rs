//! Wheelhouses as pages show them: the shares of their packages, and the checks of a verification.

use super::treemap_image::{Share, TreemapImage};
use super::{Links, totals};
use crate::facts::{CheckCount, CheckOutcome};
use crate::model::{Site, Wheelhouse};
use crate::text;

/// The number of rectangles of a treemap, without the one for all other packages.
const TREEMAP_BOXES: usize = 40;

/// A wheelhouse with its treemap.
pub(super) struct WheelhouseView<'a> {
    pub(super) site: &'a Site,
    pub(super) wheelhouse: &'a Wheelhouse,
    pub(super) links: Links,
    pub(super) level: u8,
    /// For wide and for narrow screens.
    pub(super) maps: [TreemapImage<'a>; 2],
    /// The largest packages, as the treemap has them.
    pub(super) largest: Vec<Share<'a>>,
}

impl<'a> WheelhouseView<'a> {
    pub(super) fn new(site: &'a Site, wheelhouse: &'a Wheelhouse, links: Links, level: u8) -> Self {
        let largest = shares(site, wheelhouse);
        Self {
            site,
            wheelhouse,
            links,
            level,
            maps: [
                TreemapImage::new("wide", 1040, 420, &largest),
                TreemapImage::new("narrow", 360, 520, &largest),
            ],
            largest,
        }
    }

    pub(super) fn totals(&self) -> String {
        let wheelhouse = self.wheelhouse;
        totals(wheelhouse.packages.len(), wheelhouse.files, wheelhouse.size)
    }

    /// Returns the link to the package `name`, if there is one.
    pub(super) fn package_href(&self, name: &str) -> Option<String> {
        let is_here = self.site.by_name.contains_key(&name.parse().ok()?);
        is_here.then(|| self.links.package(name))
    }

    /// Returns the classes of the treemap with their meanings, as far as they occur.
    pub(super) fn legend(&self) -> Vec<(&'static str, &'static str)> {
        let classes = [
            ("fetched", "fetched"),
            ("built", "built here"),
            ("rest", "all others"),
        ];
        let occurs = |class| self.largest.iter().any(|share| share.class() == class);
        classes
            .into_iter()
            .filter(|(class, _)| occurs(*class))
            .collect()
    }

    pub(super) fn id(&self) -> String {
        if self.links.is_report {
            format!("w-{}-", self.wheelhouse.href)
        } else {
            String::new()
        }
    }
}

/// Returns the largest packages by descending size, and one entry for the others.
fn shares<'a>(site: &'a Site, wheelhouse: &'a Wheelhouse) -> Vec<Share<'a>> {
    let total = wheelhouse.size.max(1);
    let per_mille =
        |size: u64| u64::try_from(u128::from(size) * 1000 / u128::from(total)).unwrap_or(1000);
    let mut sized: Vec<(usize, u64)> = wheelhouse
        .packages
        .iter()
        .copied()
        .zip(wheelhouse.sizes.iter().copied())
        .filter(|(_, size)| *size > 0)
        .collect();
    sized.sort_by_key(|(index, size)| (std::cmp::Reverse(*size), *index));
    let rest = sized.split_off(sized.len().min(TREEMAP_BOXES));
    let mut shares: Vec<Share<'a>> = sized
        .into_iter()
        .map(|(index, size)| Share {
            name: site.packages[index].name.as_ref(),
            is_package: true,
            size,
            per_mille: per_mille(size),
            is_built: site.packages[index].origin.starts_with("built"),
        })
        .collect();
    if !rest.is_empty() {
        let size = rest.iter().map(|(_, size)| size).sum();
        shares.push(Share {
            name: "others",
            is_package: false,
            size,
            per_mille: per_mille(size),
            is_built: false,
        });
    }
    shares
}

impl CheckCount {
    pub(super) fn shown(&self) -> String {
        text::count(self.number, &text::line(&self.noun, 40))
    }
}

impl CheckOutcome {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotChecked => "skipped",
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotChecked => "not checked",
        }
    }
}
