//! The root file system of an image as the result of its layers.
//!
//! It applies whiteouts and opaque directories (OCI image specification), and resolves links. Paths are resolved as in a
//! chroot: `..` stays at the root, and no link leads out of the image. A hard link refers to the file that its target was
//! when the link was added, even if a later layer replaces the target; a symbolic link refers to the final file.
//!
//! Only names are stored here, not contents, and their memory is bounded. Directories are not stored: a directory exists if
//! anything is below it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use wheelhouse_types::{Error, Result};

use wheelhouse_archive::safe_path::{MAX_NAME_LENGTH, escape_for_display, invalid_entry};

/// The maximum number of links in the resolution of a path, as in Linux.
const MAX_LINKS: usize = 40;

/// The maximum total length of all names and link targets, in bytes.
const MAX_NAME_BYTES: u64 = 256 << 20;

/// An entry of the file system.
#[derive(Clone, Debug)]
pub(super) enum FsNode<C> {
    File(C),
    /// A symbolic link to this path.
    Link(String),
    /// A hard link to this path, which was not a file.
    Broken(String),
    /// A device, a pipe or a socket.
    Other,
}

/// The names of an image. Paths are relative to the root, without `.` and `..`.
pub(super) struct RootFs<C> {
    nodes: BTreeMap<String, LayeredNode<C>>,
    layer: usize,
    /// The directory of the last entry and its resolved path, because the next entry usually has the same directory. It is
    /// cleared when a link is added or removed.
    last_directory: Option<(String, String)>,
    names_left: Cell<u64>,
}

struct LayeredNode<C> {
    node: FsNode<C>,
    layer: usize,
}

impl<C: Clone> RootFs<C> {
    pub(super) fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
            layer: 0,
            last_directory: None,
            names_left: Cell::new(MAX_NAME_BYTES),
        }
    }

    /// Starts the next layer. Whiteouts apply to the layers before.
    pub(super) fn begin_layer(&mut self) {
        self.layer += 1;
    }

    /// Returns the path at which the entry `path` is added: links in its directory are resolved, and a parent that is not a
    /// directory is removed.
    ///
    /// # Errors
    /// Fails if the path has too many links or is too long.
    pub(super) fn resolve_entry(&mut self, path: &str) -> Result<String> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let cached = self
            .last_directory
            .take()
            .filter(|(called, _)| called == parent);
        let (called, directory) = if let Some(cached) = cached {
            cached
        } else {
            let resolved = self.resolve_links(parent, true);
            let directory = resolved.map_err(|reason| reason.to_error(path, ""))?;
            let ends = directory.match_indices('/').map(|(end, _)| end);
            for end in ends.chain([directory.len()]) {
                self.nodes.remove(&directory[..end]);
            }
            (parent.to_owned(), directory)
        };
        let place = format!("{}{name}", directory_prefix(&directory));
        self.last_directory = Some((called, directory));
        Ok(place)
    }

    /// Resolves the links in `path`, or returns `None` if that is not possible. The resulting path need not exist.
    pub(super) fn resolve(&self, path: &str) -> Option<String> {
        self.resolve_links(path, true).ok()
    }

    /// Adds a file, a link or another node, which replaces the existing one.
    ///
    /// # Errors
    /// Fails if the total length of names exceeds the limit.
    pub(super) fn put(&mut self, path: String, node: FsNode<C>) -> Result<()> {
        let target = match &node {
            FsNode::Link(target) | FsNode::Broken(target) => target.len(),
            FsNode::File(_) | FsNode::Other => 0,
        };
        self.spend(path.len() + target)
            .map_err(|reason| reason.to_error(&path, ""))?;
        self.remove_if(&path, |_| true);
        if matches!(node, FsNode::Link(_)) {
            self.last_directory = None;
        }
        let layer = self.layer;
        self.nodes.insert(path, LayeredNode { node, layer });
        Ok(())
    }

    /// Adds a hard link to the file at `target`.
    ///
    /// # Errors
    /// As [`RootFs::put`].
    pub(super) fn put_hard_link(&mut self, path: String, target: &str) -> Result<()> {
        // A hard link to a symbolic link is a copy of that link.
        let place = self
            .resolve_links(target, false)
            .map_err(|reason| reason.to_error(&path, target))?;
        if place == path {
            return Ok(());
        }
        let node = match self.nodes.get(&place) {
            Some(placed) => placed.node.clone(),
            None => FsNode::Broken(target.to_owned()),
        };
        self.put(path, node)
    }

    /// Adds a directory, which replaces any other node.
    pub(super) fn put_directory(&mut self, path: &str) {
        self.remove(path);
    }

    /// Removes the nodes of lower layers at `path` and below it.
    pub(super) fn white_out(&mut self, path: &str) {
        let layer = self.layer;
        self.remove_if(path, |placed| placed.layer < layer);
    }

    /// Removes the nodes of lower layers in the directory at `path`.
    pub(super) fn make_opaque(&mut self, path: &str) {
        let layer = self.layer;
        self.remove_below_if(path, |placed| placed.layer < layer);
    }

    /// Returns the files of the directory at `path`, by their paths relative to it.
    ///
    /// # Errors
    /// Fails on a broken link, on too many links, and on a node that is neither a file, a link nor a directory.
    pub(super) fn files(&self, path: &str) -> Result<BTreeMap<String, C>> {
        let mut files = BTreeMap::new();
        let start = self
            .resolve_links(path, true)
            .map_err(|reason| reason.to_error(path, ""))?;
        // Directories with their names relative to the first one, and the number of links on the way.
        let mut directories = vec![(start, String::new(), 0)];
        while let Some((directory, prefix, links)) = directories.pop() {
            for (path, placed) in self.below(&directory) {
                let inner = path[directory.len()..].trim_start_matches('/');
                let name = format!("{prefix}{inner}");
                self.spend(name.len())
                    .map_err(|reason| reason.to_error(path, ""))?;
                match &placed.node {
                    FsNode::File(content) => {
                        files.insert(name, content.clone());
                    }
                    FsNode::Link(target) => {
                        let end = match self.resolve_links(path, true) {
                            Ok(end) if links < MAX_LINKS => end,
                            Ok(_) => return Err(PathError::Links.to_error(path, target)),
                            Err(reason) => return Err(reason.to_error(path, target)),
                        };
                        match self.nodes.get(&end).map(|placed| &placed.node) {
                            Some(FsNode::File(content)) => {
                                files.insert(name, content.clone());
                            }
                            None if self.below(&end).next().is_some() => {
                                directories.push((end, format!("{name}/"), links + 1));
                            }
                            _ => return Err(dangling(path, target)),
                        }
                    }
                    FsNode::Broken(target) => return Err(dangling(path, target)),
                    FsNode::Other => {
                        return Err(invalid_entry(path, "is neither a file nor a directory"));
                    }
                }
            }
        }
        Ok(files)
    }

    /// Returns the directories that contain files or links whose names satisfy `is_match`.
    pub(super) fn directories_with(&self, is_match: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let names = self.nodes.keys().map(|path| path.rsplit_once('/'));
        names
            .flatten()
            .filter(|(_, name)| is_match(name))
            .map(|(directory, _)| directory.to_owned())
            .collect()
    }

    fn resolve_links(&self, path: &str, follow_last: bool) -> Result<String, PathError> {
        let mut pending: Vec<&str> = components(path).rev().collect();
        let mut real = String::new();
        let mut links = 0;
        while let Some(component) = pending.pop() {
            let parent = real.len();
            if component == ".." {
                real.truncate(real.rfind('/').unwrap_or(0));
                continue;
            }
            if !real.is_empty() {
                real.push('/');
            }
            real.push_str(component);
            if real.len() > MAX_NAME_LENGTH {
                return Err(PathError::Length);
            }
            if (follow_last || !pending.is_empty())
                && let Some(LayeredNode {
                    node: FsNode::Link(target),
                    ..
                }) = self.nodes.get(&real)
            {
                links += 1;
                if links > MAX_LINKS {
                    return Err(PathError::Links);
                }
                self.spend(target.len())?;
                real.truncate(if target.starts_with('/') { 0 } else { parent });
                pending.extend(components(target).rev());
            }
        }
        Ok(real)
    }

    /// Returns all nodes below the directory at `path`.
    fn below(&self, path: &str) -> impl Iterator<Item = (&String, &LayeredNode<C>)> {
        let start = directory_prefix(path);
        self.nodes
            .range(start.clone()..)
            .take_while(move |(path, _)| path.starts_with(&start))
    }

    fn remove_if(&mut self, path: &str, gone: impl Fn(&LayeredNode<C>) -> bool) {
        if self.nodes.get(path).is_some_and(&gone) {
            self.remove(path);
        }
        self.remove_below_if(path, gone);
    }

    fn remove_below_if(&mut self, path: &str, gone: impl Fn(&LayeredNode<C>) -> bool) {
        let below = self.below(path).filter(|(_, placed)| gone(placed));
        let paths: Vec<String> = below.map(|(path, _)| path.clone()).collect();
        for path in paths {
            self.remove(&path);
        }
    }

    fn remove(&mut self, path: &str) {
        if self.nodes.remove(path).is_some() {
            self.last_directory = None;
        }
    }

    fn spend(&self, bytes: usize) -> Result<(), PathError> {
        let left = self.names_left.get().checked_sub(bytes as u64);
        self.names_left.set(left.ok_or(PathError::Names)?);
        Ok(())
    }
}

/// The reason why a path is rejected.
enum PathError {
    Links,
    Length,
    Names,
}

impl PathError {
    /// Creates the error for the path `name`, which is a link to `target` unless that is empty.
    fn to_error(&self, name: &str, target: &str) -> Error {
        let link = if target.is_empty() {
            String::new()
        } else {
            format!("is a link to `{}`, which ", escape_for_display(target))
        };
        match self {
            Self::Links => invalid_entry(
                name,
                &format!("{link}leads through more than {MAX_LINKS} links"),
            ),
            Self::Length => {
                invalid_entry(name, &format!("{link}resolves to a name that is too long"))
            }
            Self::Names => invalid_entry(name, "exceeds the size limit of the names of the image")
                .with_hint("It looks like a decompression bomb."),
        }
    }
}

fn dangling(name: &str, target: &str) -> Error {
    let fault = format!(
        "is a link to `{}`, which is not a file of the image",
        escape_for_display(target)
    );
    invalid_entry(name, &fault)
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/')
        .filter(|component| !matches!(*component, "" | "."))
}

/// Returns the prefix of all paths below the directory at `path`.
fn directory_prefix(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("{path}/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a root of layers, each a list of `NAME`, `NAME/`, `NAME -> TARGET` (a symbolic link) and `NAME =
    /// TARGET` (a hard link). The content of a file names its layer and path.
    fn root(layers: &[&[&str]]) -> RootFs<String> {
        let mut root = RootFs::new();
        for (number, layer) in layers.iter().enumerate() {
            root.begin_layer();
            for entry in *layer {
                if let Some((name, target)) = entry.split_once(" -> ") {
                    let path = root.resolve_entry(name).unwrap();
                    root.put(path, FsNode::Link(target.to_owned())).unwrap();
                } else if let Some((name, target)) = entry.split_once(" = ") {
                    let path = root.resolve_entry(name).unwrap();
                    root.put_hard_link(path, target).unwrap();
                } else if let Some(directory) = entry.strip_suffix("/.wh..wh..opq") {
                    root.make_opaque(directory);
                } else if let Some((directory, name)) = entry.split_once(".wh.") {
                    root.white_out(&format!("{directory}{name}"));
                } else if let Some(directory) = entry.strip_suffix('/') {
                    let path = root.resolve_entry(directory).unwrap();
                    root.put_directory(&path);
                } else {
                    let path = root.resolve_entry(entry).unwrap();
                    root.put(path, FsNode::File(format!("{number}:{entry}")))
                        .unwrap();
                }
            }
        }
        root
    }

    /// Checks the files at `path` with their contents, or the error.
    #[track_caller]
    fn assert_files(layers: &[&[&str]], path: &str, expected: &[&str]) {
        let files = match root(layers).files(path) {
            Ok(files) => files,
            Err(error) => panic!("{error}"),
        };
        let files = files.iter().map(|(name, file)| format!("{name} {file}"));
        assert_eq!(files.collect::<Vec<_>>(), expected);
    }

    #[track_caller]
    fn assert_fault(layers: &[&[&str]], path: &str, expected: &str) {
        let error = root(layers).files(path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn layers_hide_and_replace_files_of_lower_layers() {
        let below: &[&str] = &["w/a", "w/b", "w/c/d"];
        assert_files(
            &[below, &["w/b"]],
            "w",
            &["a 0:w/a", "b 1:w/b", "c/d 0:w/c/d"],
        );
        assert_files(&[below, &["w/.wh.a", "w/.wh.c"]], "w", &["b 0:w/b"]);
        assert_files(&[below, &["w/e", "w/.wh..wh..opq"]], "w", &["e 1:w/e"]);
        assert_files(&[below, &["w/e", ".wh.w"]], "w", &["e 1:w/e"]);
        assert_files(&[below, &["w"]], "w", &[]);
        assert_files(&[below, &["w/c"]], "w/c", &[]);
        assert_files(&[&["w"], &["w/a"]], "w", &["a 1:w/a"]);
        assert_files(&[&["w/a", "wa"], &[".wh.w"]], "", &["wa 0:wa"]);
        assert_files(
            &[&["w/a -> x", "x"], &["w/a/", "w/a/b"]],
            "w",
            &["a/b 1:w/a/b"],
        );
    }

    #[test]
    fn hard_link_keeps_its_file() {
        let linked: &[&str] = &["c/x", "w/a = c/x"];
        let kept = ["a 0:c/x"];
        assert_files(&[linked], "w", &kept);
        assert_files(&[&["c/x"], &["w/a = /c/x"]], "w", &kept);
        assert_files(&[linked, &["c/x"]], "w", &kept);
        assert_files(&[linked, &["c/.wh.x"]], "w", &kept);
        assert_files(&[linked, &["c/.wh..wh..opq"]], "w", &kept);
        assert_files(
            &[linked, &[".wh.c", "w/b = w/a"]],
            "w",
            &["a 0:c/x", "b 0:c/x"],
        );
        assert_files(&[linked, &["w/a"]], "w", &["a 1:w/a"]);
        assert_files(
            &[&["c/x"], &["c/x", "w/a = c/x"], &["c/x"]],
            "w",
            &["a 1:c/x"],
        );
        // A hard link to a symbolic link is another symbolic link, which is relative to its own directory.
        assert_files(
            &[&["x -> y", "w/y", "w/a = x"]],
            "w",
            &["a 0:w/y", "y 0:w/y"],
        );
        // The directory of the target may be a link.
        assert_files(&[&["d/x", "c -> d", "w/a = c/x"]], "w", &["a 0:d/x"]);
        assert_files(&[&["w/a", "w/a = w/a"]], "w", &["a 0:w/a"]);
    }

    #[test]
    fn symbolic_links_resolve_to_final_files() {
        for target in ["../c/x", "/c/x", "../../../c/./x", "/../c/x", "//c//x"] {
            let link = format!("w/a -> {target}");
            let layer = ["c/x", &link];
            assert_files(&[&layer], "w", &["a 0:c/x"]);
            assert_files(&[&layer, &["c/x"]], "w", &["a 1:c/x"]);
            assert_fault(&[&layer, &["c/.wh.x"]], "w", "`w/a` is a link to");
        }
        let chain = ["w/a -> b", "w/b -> ../l/x", "l -> /c", "c/x"];
        assert_files(&[&chain], "w", &["a 0:c/x", "b 0:c/x"]);
        // Link and target in separate layers, in either order.
        assert_files(&[&["w/a -> ../x"], &["x"]], "w", &["a 1:x"]);
        // A directory of the wheelhouse may be a link.
        assert_files(
            &[&["w/s -> ../i", "i/p/index.html"]],
            "w",
            &["s/p/index.html 0:i/p/index.html"],
        );
    }

    #[test]
    fn parent_directories_may_be_links() {
        let layer: &[&str] = &["opt/other/w/a", "opt/app -> /opt/other"];
        assert_files(&[layer], "opt/app/w", &["a 0:opt/other/w/a"]);
        // An entry below a link is created in the target of the link.
        assert_files(
            &[layer, &["opt/app/w/b", "opt/app/w/.wh.a"]],
            "opt/other/w",
            &["a 0:opt/other/w/a", "b 1:opt/app/w/b"],
        );
        // A directory that replaces the link hides its target.
        assert_files(
            &[layer, &["opt/app/", "opt/app/w/b"]],
            "opt/app/w",
            &["b 1:opt/app/w/b"],
        );
        assert_files(&[layer, &["opt/.wh.app"]], "opt/app/w", &[]);
        assert_files(&[&["w -> x"]], "w", &[]);
    }

    #[test]
    fn rejects_loops_and_long_chains_of_links() {
        assert_fault(&[&["w/a -> a"]], "w", "more than 40 links");
        assert_fault(&[&["w/a -> b", "w/b -> /w/a"]], "w", "more than 40 links");
        assert_fault(&[&["w/x", "w/a -> ."]], "w", "more than 40 links");
        assert_fault(
            &[&["w/x", "w/a -> .", "w/b -> ."]],
            "w",
            "more than 40 links",
        );
        assert_fault(&[&["w -> w"]], "w", "more than 40 links");
        let chain = |length: usize| -> Vec<String> {
            let links = (0..length).map(|number| format!("l{number} -> l{}", number + 1));
            links
                .chain([format!("l{length}"), "w/a -> ../l0".to_owned()])
                .collect()
        };
        let files = |length: usize| {
            let chain = chain(length);
            let entries: Vec<&str> = chain.iter().map(String::as_str).collect();
            root(&[&entries]).files("w")
        };
        assert!(files(39).is_ok());
        assert!(files(40).is_err());
    }

    #[test]
    fn special_file_is_an_error_only_inside_wheelhouse() {
        assert_fault(
            &[&["w/a = gone"]],
            "w",
            "`w/a` is a link to `gone`, which is not a file",
        );
        assert_fault(&[&["w/a -> /etc/passwd"]], "w", "`/etc/passwd`");
        assert_files(&[&["x = gone", "y -> y", "w/a"]], "w", &["a 0:w/a"]);
        let mut root = root(&[&["w/a"]]);
        root.put("x".to_owned(), FsNode::Other).unwrap();
        assert_eq!(root.files("w").unwrap().len(), 1);
        root.put("w/pipe".to_owned(), FsNode::Other).unwrap();
        assert!(root.files("w").is_err());
    }

    #[test]
    fn limits_memory_of_names() {
        let mut root = RootFs::new();
        root.names_left.set(1000);
        let paths = (0..).map(|number| format!("{number}{}", "x".repeat(90)));
        let fault = paths
            .map(|path| root.put(path, FsNode::File(())))
            .find_map(Result::err);
        assert!(fault.unwrap().to_string().contains("names"));
        let held: usize = root.nodes.keys().map(String::len).sum();
        assert!(held <= 1000);
        // Branching links expand to many names.
        let links = (0..100).map(|number| format!("w/{number} -> ."));
        let links: Vec<String> = links.chain(["w/x".to_owned()]).collect();
        let links: Vec<&str> = links.iter().map(String::as_str).collect();
        assert!(self::root(&[&links]).files("w").is_err());
    }
}
