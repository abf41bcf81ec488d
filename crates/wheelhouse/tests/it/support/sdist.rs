//! Source distributions as archives and as trees, with a build backend inside the tree that runs a script of the
//! test.

use std::io::{Read as _, Write as _};
use std::path::Path;

use wheelhouse_archive::testing::archives::{Member, gzip, tar};

/// The build backend: `SCRIPT` is replaced by what `build_wheel` runs before it builds the wheel, `WHOSE` by the
/// platform of the wheel.
const BACKEND: &str = include_str!("backend.py");

/// A builder of source distributions.
#[derive(Clone)]
pub(crate) struct Sdist {
    pub(crate) name: String,
    pub(crate) version: String,
    script: String,
    static_metadata: bool,
    platform_wheel: bool,
    requires: Vec<String>,
    reports: Vec<String>,
    report_script: String,
    members: Vec<Member>,
}

impl Sdist {
    pub(crate) fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            script: "pass".to_owned(),
            static_metadata: false,
            platform_wheel: false,
            requires: Vec::new(),
            reports: Vec::new(),
            report_script: "pass".to_owned(),
            members: Vec::new(),
        }
    }

    /// Sets the Python code that `build_wheel` runs first.
    pub(crate) fn script(mut self, python: &str) -> Self {
        python.clone_into(&mut self.script);
        self
    }

    /// Makes the metadata static.
    pub(crate) fn static_metadata(mut self) -> Self {
        self.static_metadata = true;
        self
    }

    /// Makes the wheel specific to the platform that builds it.
    pub(crate) fn platform_wheel(mut self) -> Self {
        self.platform_wheel = true;
        self
    }

    /// Adds a build requirement to `pyproject.toml`.
    pub(crate) fn requires(mut self, requirement: &str) -> Self {
        self.requires.push(requirement.to_owned());
        self
    }

    /// Adds a build requirement that the backend reports.
    pub(crate) fn reports(mut self, requirement: &str) -> Self {
        self.reports.push(requirement.to_owned());
        self
    }

    /// Sets the Python code that `get_requires_for_build_wheel` runs first.
    pub(crate) fn report_script(mut self, python: &str) -> Self {
        python.clone_into(&mut self.report_script);
        self
    }

    /// Adds a member to the archive unchanged.
    pub(crate) fn member(mut self, member: Member) -> Self {
        self.members.push(member);
        self
    }

    pub(crate) fn filename(&self) -> String {
        format!("{}-{}.tar.gz", self.name, self.version)
    }

    pub(crate) fn wheel_filename(&self) -> String {
        format!("{}-{}-py3-none-any.whl", self.name, self.version)
    }

    /// Returns the files by name, without the top-level directory.
    pub(crate) fn files(&self) -> Vec<(&'static str, String)> {
        let version = if self.static_metadata { "2.2" } else { "2.1" };
        let metadata = format!(
            "Metadata-Version: {version}\nName: {}\nVersion: {}\n",
            self.name, self.version
        );
        let pyproject = format!(
            "[build-system]\nrequires = {:?}\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
            self.requires
        );
        let indented = |script: &str| {
            let lines = script.lines().map(|line| format!("    {line}"));
            lines.collect::<Vec<_>>().join("\n")
        };
        let platform = if self.platform_wheel {
            "sysconfig.get_platform().replace('-', '_').replace('.', '_')"
        } else {
            "None"
        };
        let backend = BACKEND
            .replace("WHOSE", platform)
            .replace("    REPORT_SCRIPT", &indented(&self.report_script))
            .replace("    SCRIPT", &indented(&self.script))
            .replace("REPORTS", &format!("{:?}", self.reports));
        vec![
            ("PKG-INFO", metadata),
            ("pyproject.toml", pyproject),
            ("backend.py", backend),
        ]
    }

    /// Writes the files as a source tree.
    pub(crate) fn write_tree(&self, directory: &Path) {
        std::fs::create_dir_all(directory).unwrap();
        for (name, content) in self.files() {
            std::fs::write(directory.join(name), content).unwrap();
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let top = format!("{}-{}", self.name, self.version);
        let files = self.files();
        let own = files
            .iter()
            .map(|(name, content)| Member::file(&format!("{top}/{name}"), content));
        let mut members: Vec<Member> = own.collect();
        members.extend(self.members.iter().cloned());
        gzip(&tar(&members))
    }
}

/// Returns a tar archive `top` with a file of this many zeros.
pub(crate) fn bomb(top: &str, zeros: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(format!("{top}/zeros")).unwrap();
    header.set_size(zeros);
    header.set_mode(0o644);
    header.set_cksum();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(header.as_bytes()).unwrap();
    std::io::copy(
        &mut std::io::repeat(0).take(zeros.next_multiple_of(512) + 1024),
        &mut encoder,
    )
    .unwrap();
    encoder.finish().unwrap()
}

/// Returns a zip archive `top` with a file of this many zeros.
pub(crate) fn zip_bomb(top: &str, zeros: u64) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    writer.start_file(format!("{top}/zeros"), options).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(zeros), &mut writer).unwrap();
    writer.finish().unwrap().into_inner()
}
