//! Several wheelhouses in one server.

use super::{Server, build};
use crate::support::{Sandbox, Wheel};

#[test]
fn merges_wheelhouses_and_serves_each() {
    let sandbox = Sandbox::new();
    let ours = Wheel::new("alpha", "1.0").file("ours.py", "1");
    let theirs = Wheel::new("alpha", "1.0").file("theirs.py", "22");
    build(&sandbox, "a", &[ours.clone(), Wheel::new("beta", "1.0")]);
    build(&sandbox, "b", &[theirs.clone(), Wheel::new("gamma", "3.0")]);
    build(&sandbox, "c", &[Wheel::new("alpha", "2.0")]);
    build(&sandbox, "nested/a", &[Wheel::new("delta", "1.0")]);
    build(&sandbox, "simple", &[Wheel::new("epsilon", "1.0")]);
    let server = Server::start(&sandbox, &["a", "b", "c", "nested/a", "simple"]);
    let names = |path| server.project_names(path);
    assert_eq!(
        names("/simple/"),
        ["alpha", "beta", "delta", "epsilon", "gamma"]
    );
    assert_eq!(names("/a/simple/"), ["alpha", "beta"]);
    assert_eq!(names("/b/simple/"), ["alpha", "gamma"]);
    assert_eq!(names("/c/simple/"), ["alpha"]);
    assert_eq!(names("/a-2/simple/"), ["delta"]);
    assert_eq!(names("/simple-2/simple/"), ["epsilon"]);
    let page = server.json("/simple/alpha/");
    assert_eq!(page["versions"], serde_json::json!(["1.0", "2.0"]));
    assert_eq!(page["files"].as_array().unwrap().len(), 2);
    // The first wheelhouse wins, and each serves its own file.
    let filename = ours.filename();
    assert_eq!(server.get(&format!("/{filename}")).body, ours.bytes());
    assert_eq!(server.get(&format!("/a/{filename}")).body, ours.bytes());
    assert_eq!(server.get(&format!("/b/{filename}")).body, theirs.bytes());
    assert_eq!(server.get(&format!("/c/{filename}")).status, 404);
    let digest = &page["files"][0]["hashes"]["sha256"];
    assert_eq!(*digest, crate::support::sha256(&ours.bytes()));
}
