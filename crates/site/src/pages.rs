//! The pages as askama templates, and the values that they show.

use askama::Template;
use wheelhouse_types::display;

use crate::assets::{self, ASSETS, Assets};
use crate::commands::{Command, LinkContext, ReportLocation};
use crate::facts::{CheckCount, CheckOutcome};
use crate::metadata::Requirement;
use crate::model::{File, Package, ProvenanceKind, Site, Wheelhouse};
use crate::text;
use crate::treemap;

/// The number of packages that a list of the graph shows before it is opened.
const GRAPH_NODES: usize = 10;

/// The largest number of packages in a list of the graph.
const MOST_GRAPH_NODES: usize = 2_000;

/// The number of rectangles of a treemap, without the one for all other packages.
const TREEMAP_BOXES: usize = 40;

impl Site {
    /// Returns the number of packages.
    #[must_use]
    pub fn packages(&self) -> usize {
        self.packages.len()
    }

    /// Renders the page at `/`.
    ///
    /// # Panics
    /// Never, because the templates cannot fail.
    #[must_use]
    pub fn home(&self, context: &LinkContext) -> String {
        let page = HomePage {
            frame: Frame::new(self, "./", Some("")),
            links: Links::page("./"),
            site: self,
            rows: self.packages.iter().collect(),
            commands: context.commands(None),
        };
        render(&page)
    }

    /// Renders the page at `/package/NAME/`; `name` is normalized. Returns `None` if there is no such package.
    ///
    /// # Panics
    /// Never, because the templates cannot fail.
    #[must_use]
    pub fn package(&self, name: &str, context: &LinkContext) -> Option<String> {
        let index = *self.by_name.get(&name.parse().ok()?)?;
        let package = &self.packages[index];
        let root = "../../";
        let requirement = format!("{}=={}", package.name, package.version());
        Some(render(&PackagePage {
            frame: Frame::new(self, root, None),
            view: PackageView::new(
                self,
                index,
                Links::page(root),
                1,
                context.commands(Some(&requirement)),
            ),
        }))
    }

    /// Renders the page at `/NAME/`. Returns `None` if there is no such wheelhouse.
    ///
    /// # Panics
    /// Never, because the templates cannot fail.
    #[must_use]
    pub fn wheelhouse(&self, name: &str) -> Option<String> {
        let mut wheelhouses = self.wheelhouses.iter();
        let wheelhouse = wheelhouses.find(|wheelhouse| wheelhouse.name == name)?;
        let root = "../";
        Some(render(&WheelhousePage {
            frame: Frame::new(self, root, Some(&wheelhouse.name)),
            links: Links::page(root),
            view: WheelhouseView::new(self, wheelhouse, Links::page(root), 1),
            rows: self.rows(wheelhouse),
        }))
    }

    /// Renders all packages and wheelhouses as one file, with the style and the script in it.
    ///
    /// # Panics
    /// Never, because the templates cannot fail.
    #[must_use]
    pub fn report(&self, location: ReportLocation<'_>) -> String {
        let wheelhouses = self.wheelhouses.iter();
        let packages = 0..self.packages.len();
        let level = if self.has_several() { 2 } else { 1 };
        render(&Report {
            policy: assets::inline_policy(),
            style: assets::STYLE,
            script: assets::SCRIPT,
            version: env!("CARGO_PKG_VERSION"),
            links: Links::REPORT,
            site: self,
            rows: self.packages.iter().collect(),
            commands: location.commands(),
            wheelhouses: wheelhouses
                .map(|wheelhouse| WheelhouseView::new(self, wheelhouse, Links::REPORT, level))
                .collect(),
            packages: packages
                .map(|index| PackageView::new(self, index, Links::REPORT, 3, Vec::new()))
                .collect(),
        })
    }

    fn rows(&self, wheelhouse: &Wheelhouse) -> Vec<&Package> {
        let packages = wheelhouse.packages.iter();
        packages.map(|index| &self.packages[*index]).collect()
    }
}

fn render(template: &impl Template) -> String {
    template
        .render()
        .expect("writing to a string does not fail")
}

/// The common parts of all served pages.
struct Frame<'a> {
    /// The path to `/` relative to the page.
    root: &'static str,
    assets: &'static Assets,
    wheelhouses: &'a [Wheelhouse],
    /// The name of the wheelhouse whose page it is; empty for the list of packages.
    current: Option<&'a str>,
    version: &'static str,
}

impl<'a> Frame<'a> {
    fn new(site: &'a Site, root: &'static str, current: Option<&'a str>) -> Self {
        Self {
            root,
            assets: &ASSETS,
            wheelhouses: &site.wheelhouses,
            current,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// The links of a page to others, or of a report to its sections.
#[derive(Clone, Copy)]
struct Links {
    root: &'static str,
    is_report: bool,
}

impl Links {
    const REPORT: Self = Self {
        root: "",
        is_report: true,
    };

    fn page(root: &'static str) -> Self {
        Self {
            root,
            is_report: false,
        }
    }

    /// Returns the text before and after the name of a package.
    fn around_package(&self) -> (String, &'static str) {
        if self.is_report {
            ("#p-".to_owned(), "")
        } else {
            (format!("{}package/", self.root), "/")
        }
    }

    fn package(&self, name: &str) -> String {
        let (before, after) = self.around_package();
        format!("{before}{name}{after}")
    }

    fn wheelhouse(&self, wheelhouse: &Wheelhouse) -> String {
        if self.is_report {
            format!("#w-{}", wheelhouse.href)
        } else {
            format!("{}{}/", self.root, wheelhouse.href)
        }
    }
}

#[derive(Template)]
#[template(path = "home.html", whitespace = "minimize")]
struct HomePage<'a> {
    frame: Frame<'a>,
    links: Links,
    site: &'a Site,
    rows: Vec<&'a Package>,
    commands: Vec<Command>,
}

#[derive(Template)]
#[template(path = "package.html", whitespace = "minimize")]
struct PackagePage<'a> {
    frame: Frame<'a>,
    view: PackageView<'a>,
}

#[derive(Template)]
#[template(path = "wheelhouse.html", whitespace = "minimize")]
struct WheelhousePage<'a> {
    frame: Frame<'a>,
    links: Links,
    view: WheelhouseView<'a>,
    rows: Vec<&'a Package>,
}

#[derive(Template)]
#[template(path = "report.html", whitespace = "minimize")]
struct Report<'a> {
    policy: String,
    style: &'static str,
    script: &'static str,
    version: &'static str,
    links: Links,
    site: &'a Site,
    rows: Vec<&'a Package>,
    commands: Vec<Command>,
    wheelhouses: Vec<WheelhouseView<'a>>,
    packages: Vec<PackageView<'a>>,
}

impl Site {
    /// Returns `12 packages, 14 files, 30.1 MB`.
    fn totals(&self) -> String {
        totals(self.packages.len(), self.files, self.size)
    }

    fn has_several(&self) -> bool {
        self.wheelhouses.len() > 1
    }

    fn title(&self) -> String {
        match self.wheelhouses.as_slice() {
            [one] => one.name.clone(),
            several => text::count(several.len(), "wheelhouse"),
        }
    }

    /// Returns the distinct targets of all wheelhouses.
    fn targets(&self) -> Vec<&str> {
        let mut targets: Vec<&str> = Vec::new();
        for target in self.wheelhouses.iter().flat_map(|each| &each.targets) {
            if !targets.contains(&target.as_str()) {
                targets.push(target);
            }
        }
        targets
    }

    fn wheelhouse_names(&self, package: &Package) -> String {
        let names = package.wheelhouses.iter();
        let names: Vec<&str> = names
            .map(|index| self.wheelhouses[*index].name.as_str())
            .collect();
        names.join(", ")
    }
}

fn totals(packages: usize, files: usize, size: u64) -> String {
    format!(
        "{}, {}, {}",
        text::count(packages, "package"),
        text::count(files, "file"),
        display::bytes(size)
    )
}

impl Package {
    fn shown_size(&self) -> String {
        display::bytes(self.size)
    }
}

/// A package with its neighbors in the graph.
struct PackageView<'a> {
    package: &'a Package,
    site: &'a Site,
    links: Links,
    /// The level of the heading with the name.
    level: u8,
    /// The commands that install it, unless the page has them elsewhere.
    commands: Vec<Command>,
    requires: Neighbors<'a>,
    required_by: Neighbors<'a>,
    /// `12 packages, 30.1 MB`: the package with all that it requires here.
    closure: Option<String>,
}

/// One side of the graph.
struct Neighbors<'a> {
    shown: Vec<Neighbor<'a>>,
    more: Vec<Neighbor<'a>>,
    /// The number of packages that are left out.
    omitted: usize,
    total: usize,
    /// The number of these that only extras connect.
    extras: usize,
}

/// A package in the graph.
struct Neighbor<'a> {
    name: &'a str,
    /// `None` if it is not here.
    href: Option<String>,
    is_extra: bool,
    conditions: &'a [String],
}

impl<'a> Neighbors<'a> {
    fn new(mut all: Vec<Neighbor<'a>>) -> Self {
        let total = all.len();
        let extras = all.iter().filter(|neighbor| neighbor.is_extra).count();
        let omitted = total.saturating_sub(MOST_GRAPH_NODES);
        // What is always installed, and what is here, comes first.
        all.sort_by_key(|neighbor| (neighbor.is_extra, neighbor.href.is_none()));
        all.truncate(MOST_GRAPH_NODES);
        // A list that hides one entry saves no space.
        let shown = if total <= GRAPH_NODES + 1 {
            total
        } else {
            GRAPH_NODES
        };
        let more = all.split_off(shown.min(all.len()));
        Self {
            shown: all,
            more,
            omitted,
            total,
            extras,
        }
    }
}

impl<'a> PackageView<'a> {
    fn new(site: &'a Site, index: usize, links: Links, level: u8, commands: Vec<Command>) -> Self {
        let package = &site.packages[index];
        let edges = package.metadata.requirements.iter().zip(&package.requires);
        let requires = edges.map(|(requirement, target): (&Requirement, _)| Neighbor {
            name: requirement.name.as_ref(),
            href: target.map(|_| links.package(requirement.name.as_ref())),
            is_extra: requirement.is_extra,
            conditions: &requirement.conditions,
        });
        let dependents = package.required_by.iter().map(|(dependent, is_extra)| {
            let name = site.packages[*dependent].name.as_ref();
            Neighbor {
                name,
                href: Some(links.package(name)),
                is_extra: *is_extra,
                conditions: &[],
            }
        });
        let (count, size) = site.closure(index);
        Self {
            package,
            site,
            links,
            level,
            commands,
            requires: Neighbors::new(requires.collect()),
            required_by: Neighbors::new(dependents.collect()),
            closure: (count > 0).then(|| {
                format!(
                    "{}, {}",
                    text::count(count + 1, "package"),
                    display::bytes(size)
                )
            }),
        }
    }

    /// Returns the prefix of the ids in the section of the package.
    fn id(&self) -> String {
        if self.links.is_report {
            format!("p-{}-", self.package.name)
        } else {
            String::new()
        }
    }

    fn wheelhouses(&self) -> impl Iterator<Item = &'a Wheelhouse> {
        let site = self.site;
        self.package
            .wheelhouses
            .iter()
            .map(|index| &site.wheelhouses[*index])
    }

    /// Returns the wheelhouses that have `file`, if it is not in all that have the package.
    fn holders(&self, file: &File) -> Option<String> {
        (file.wheelhouses.len() < self.package.wheelhouses.len()).then(|| {
            let names = file.wheelhouses.iter();
            let names: Vec<&str> = names
                .map(|index| self.site.wheelhouses[*index].name.as_str())
                .collect();
            names.join(", ")
        })
    }

    fn facts(&self) -> bool {
        let metadata = &self.package.metadata;
        !metadata.license.is_empty()
            || !metadata.author.is_empty()
            || metadata.requires_python.is_some()
            || !metadata.links.is_empty()
            || !metadata.keywords.is_empty()
            || !metadata.extras.is_empty()
    }
}

impl File {
    fn shown_size(&self) -> String {
        display::bytes(self.size)
    }

    /// Returns what the file can be installed on: `CPython 3.12 · Linux x86_64, glibc 2.17+`.
    fn fits(&self) -> String {
        match &self.tags {
            None => "Source distribution".to_owned(),
            Some(tags) => tags.words(),
        }
    }

    fn is_built(&self) -> bool {
        self.provenance.kind == ProvenanceKind::Built
    }

    fn is_fetched(&self) -> bool {
        self.provenance.kind == ProvenanceKind::Fetched
    }
}

/// A wheelhouse with its treemap.
struct WheelhouseView<'a> {
    site: &'a Site,
    wheelhouse: &'a Wheelhouse,
    links: Links,
    level: u8,
    /// For wide and for narrow screens.
    maps: [Treemap<'a>; 2],
    /// The largest packages, as the treemap has them.
    largest: Vec<Share<'a>>,
}

/// A package and its part of the size of a wheelhouse.
#[derive(Clone, Copy)]
struct Share<'a> {
    name: &'a str,
    /// False for the entry of all other packages.
    is_package: bool,
    size: u64,
    per_mille: u64,
    is_built: bool,
}

impl Share<'_> {
    fn class(&self) -> &'static str {
        match (self.is_package, self.is_built) {
            (false, _) => "rest",
            (true, true) => "built",
            (true, false) => "fetched",
        }
    }

    fn shown_size(&self) -> String {
        display::bytes(self.size)
    }

    /// Returns the name, the size and the origin, for those who do not see the picture.
    fn description(&self) -> String {
        let origin = if self.is_built { ", built here" } else { "" };
        format!("{}, {}{origin}", self.name, self.shown_size())
    }

    fn percent(&self) -> String {
        format!("{}.{} %", self.per_mille / 10, self.per_mille % 10)
    }
}

/// A treemap as an SVG image.
struct Treemap<'a> {
    class: &'static str,
    width: u32,
    height: u32,
    boxes: Vec<TreemapBox<'a>>,
}

/// A rectangle with its label, as far as it has space for one.
struct TreemapBox<'a> {
    share: Share<'a>,
    x: String,
    y: String,
    width: String,
    height: String,
    label: String,
    has_size: bool,
}

impl<'a> WheelhouseView<'a> {
    fn new(site: &'a Site, wheelhouse: &'a Wheelhouse, links: Links, level: u8) -> Self {
        let largest = shares(site, wheelhouse);
        Self {
            site,
            wheelhouse,
            links,
            level,
            maps: [
                Treemap::new("wide", 1040, 420, &largest),
                Treemap::new("narrow", 360, 520, &largest),
            ],
            largest,
        }
    }

    fn totals(&self) -> String {
        let wheelhouse = self.wheelhouse;
        totals(wheelhouse.packages.len(), wheelhouse.files, wheelhouse.size)
    }

    /// Returns the link to the package `name`, if there is one.
    fn package_href(&self, name: &str) -> Option<String> {
        let is_here = self.site.by_name.contains_key(&name.parse().ok()?);
        is_here.then(|| self.links.package(name))
    }

    /// Returns the classes of the treemap with their meanings, as far as they occur.
    fn legend(&self) -> Vec<(&'static str, &'static str)> {
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

    fn id(&self) -> String {
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

impl<'a> Treemap<'a> {
    fn new(class: &'static str, width: u32, height: u32, shares: &[Share<'a>]) -> Self {
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

impl CheckCount {
    fn shown(&self) -> String {
        text::count(self.number, &text::line(&self.noun, 40))
    }
}

impl CheckOutcome {
    fn class(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotChecked => "skipped",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotChecked => "not checked",
        }
    }
}
