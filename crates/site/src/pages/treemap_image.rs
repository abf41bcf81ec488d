//! The treemap of a wheelhouse as an SVG image.

use wheelhouse_types::display;

use crate::text;
use crate::treemap;

/// A package and its part of the size of a wheelhouse.
#[derive(Clone, Copy)]
pub(super) struct Share<'a> {
    pub(super) name: &'a str,
    /// False for the entry of all other packages.
    pub(super) is_package: bool,
    pub(super) size: u64,
    pub(super) per_mille: u64,
    pub(super) is_built: bool,
}

impl Share<'_> {
    pub(super) fn class(&self) -> &'static str {
        match (self.is_package, self.is_built) {
            (false, _) => "rest",
            (true, true) => "built",
            (true, false) => "fetched",
        }
    }

    pub(super) fn shown_size(&self) -> String {
        display::bytes(self.size)
    }

    /// Returns the name, the size and the origin, for those who do not see the picture.
    pub(super) fn description(&self) -> String {
        let origin = if self.is_built { ", built here" } else { "" };
        format!("{}, {}{origin}", self.name, self.shown_size())
    }

    pub(super) fn percent(&self) -> String {
        format!("{}.{} %", self.per_mille / 10, self.per_mille % 10)
    }
}

/// A treemap as an SVG image.
pub(super) struct TreemapImage<'a> {
    pub(super) class: &'static str,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) boxes: Vec<TreemapBox<'a>>,
}

/// A rectangle with its label, as far as it has space for one.
pub(super) struct TreemapBox<'a> {
    pub(super) share: Share<'a>,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) width: String,
    pub(super) height: String,
    pub(super) label: String,
    pub(super) has_size: bool,
}

impl<'a> TreemapImage<'a> {
    pub(super) fn new(class: &'static str, width: u32, height: u32, shares: &[Share<'a>]) -> Self {
        /// The space of a character and of a line, in units of the image.
        const CHARACTER: f64 = 8.4;
        const LINE: f64 = 18.0;
        let mut sorted = shares.to_vec();
        sorted.sort_by_key(|share| std::cmp::Reverse(share.size));
        #[expect(clippy::cast_precision_loss, reason = "a picture needs few digits")]
        let values: Vec<f64> = sorted.iter().map(|share| share.size as f64).collect();
        let rectangles = treemap::squarify(&values, width.into(), height.into());
        let boxes = sorted.into_iter().zip(rectangles).map(|(share, place)| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a few hundred at most"
            )]
            let space = ((place.width - 12.0) / CHARACTER).max(0.0) as usize;
            let is_high = place.height >= LINE + 4.0;
            let label = if space >= 3 && is_high {
                text::line(share.name, space)
            } else {
                String::new()
            };
            TreemapBox {
                has_size: !label.is_empty() && space >= 8 && place.height >= 2.0 * LINE + 6.0,
                label,
                share,
                x: format!("{:.1}", place.x),
                y: format!("{:.1}", place.y),
                // The gap to the next rectangle.
                width: format!("{:.1}", (place.width - 2.0).max(0.5)),
                height: format!("{:.1}", (place.height - 2.0).max(0.5)),
            }
        });
        Self {
            class,
            width,
            height,
            boxes: boxes.collect(),
        }
    }
}
