//! The pages as askama templates.

mod package_view;
mod treemap_image;
mod wheelhouse_view;

use askama::Template;
use wheelhouse_types::display;

use crate::assets::{self, ASSETS, Assets};
use crate::commands::{InstallCommand, LinkContext, ReportLocation};
use crate::model::{ListedPackage, Site, Wheelhouse};
use crate::text;
use package_view::PackageView;
use wheelhouse_view::WheelhouseView;

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

    fn rows(&self, wheelhouse: &Wheelhouse) -> Vec<&ListedPackage> {
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
    rows: Vec<&'a ListedPackage>,
    commands: Vec<InstallCommand>,
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
    rows: Vec<&'a ListedPackage>,
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
    rows: Vec<&'a ListedPackage>,
    commands: Vec<InstallCommand>,
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

    /// Returns the names of the `wheelhouses`, which are indices.
    fn wheelhouse_names(&self, wheelhouses: &[usize]) -> String {
        let names = wheelhouses
            .iter()
            .map(|index| self.wheelhouses[*index].name.as_str());
        names.collect::<Vec<_>>().join(", ")
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
