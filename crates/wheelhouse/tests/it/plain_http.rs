//! Plain HTTP: trusted hosts, and links and redirects from HTTPS.

use std::path::Path;

use crate::certificates::{Server, build, self_signed};
use crate::support::{RunResult, Sandbox, Wheel, sha256, test_python, tree};

const ALPHA: &str = "alpha-1.0-py3-none-any.whl";

fn way(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn plain_http_index_must_be_trusted() {
    let sandbox = Sandbox::new();
    let url = "http://mirror.example:8080/simple/";
    for arguments in [
        &["--index-url", url, "alpha"][..],
        &["--extra-index-url", url, "alpha"],
        &["--no-index", "--find-links", url, "alpha"],
        &["-r", "http://mirror.example:8080/simple/"],
        &[
            "--index-url",
            url,
            "--trusted-host",
            "mirror.example:80",
            "alpha",
        ],
    ] {
        build(&sandbox, &way(arguments), &[])
            .assert_exit(4)
            .assert_error_names(&[url, "--trusted-host mirror.example:8080"]);
    }
    // Nothing is downloaded from the index.
    let wheel = Wheel::new("alpha", "1.0");
    std::fs::write(sandbox.path(ALPHA), wheel.bytes()).unwrap();
    let local = [
        "--no-index",
        "--index-url",
        url,
        "--find-links",
        ".",
        "alpha",
    ];
    build(&sandbox, &way(&local), &[]).assert_success();
}

/// Servers that the sandbox reaches through a proxy, with their files below `http:`.
struct ProxiedServers {
    sandbox: Sandbox,
    proxy: Server,
}

impl ProxiedServers {
    fn start() -> Self {
        let (sandbox, python) = (Sandbox::new(), test_python());
        let none = Path::new("");
        let proxy = Server::start(&python, [&sandbox.path(""), none, none, none]);
        Self { sandbox, proxy }
    }

    fn publish(&self, url: &str, contents: &[u8]) {
        let path = self.sandbox.path(&url.replace("//", "/"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    fn build(&self, arguments: &[&str]) -> RunResult {
        let _ = std::fs::remove_dir_all(self.sandbox.out());
        let proxy = format!("http://127.0.0.1:{}", self.proxy.port);
        build(&self.sandbox, &way(arguments), &["--proxy", &proxy])
    }
}

#[test]
#[cfg_attr(not(feature = "test-python"), ignore = "requires the test Python")]
fn rejects_file_without_digest_from_untrusted_host() {
    let web = ProxiedServers::start();
    let wheel = Wheel::new("alpha", "1.0").bytes();
    let file = format!("http://files.example/{ALPHA}");
    let with_digest = format!("{file}#sha256={}", sha256(&wheel));
    web.publish(&file, &wheel);
    for (link, is_accepted) in [(&file, false), (&with_digest, true)] {
        let page = format!("<!DOCTYPE html><a href='{link}'>{ALPHA}</a>");
        web.publish(
            "http://mirror.example/simple/alpha/index.html",
            page.as_bytes(),
        );
        let index = ["--index-url", "http://mirror.example/simple/", "alpha"];
        let trusting = ["--trusted-host", "mirror.example"];
        let run = web.build(&[&index[..], &trusting].concat());
        if is_accepted {
            run.assert_success();
        } else {
            run.assert_exit(3)
                .assert_error_names(&[ALPHA, "is at plain HTTP and has no digest"]);
        }
        let run = web.build(&["--no-index", link]);
        if is_accepted {
            run.assert_success();
        } else {
            run.assert_exit(4)
                .assert_error_names(&[&file, "--trusted-host files.example"]);
        }
        web.build(&["--no-index", link, "--trusted-host", "files.example"])
            .assert_success();
        assert_eq!(tree::wheels(&web.sandbox.out()), [ALPHA]);
        let all = ["--trusted-host", "*"];
        let run = web.build(&[&index[..], &all].concat());
        run.assert_success();
        assert!(
            run.stderr
                .contains("disables certificate checks for all hosts"),
            "{}",
            run.stderr
        );
    }
}

#[test]
#[cfg_attr(
    not(all(feature = "test-python", feature = "test-tools")),
    ignore = "requires the test Python, curl, openssl, strace"
)]
fn rejects_link_and_redirect_from_https_to_plain_http() {
    let (sandbox, python) = (Sandbox::new(), test_python());
    let server = self_signed(&sandbox, &python, "self.pem", "localhost");
    let base = format!("https://localhost:{}", server.port);
    let digest = sha256(&Wheel::new("alpha", "1.0").bytes());
    let page = |link: &str| {
        let page = format!("<!DOCTYPE html><a href='{link}#sha256={digest}'>{ALPHA}</a>");
        sandbox.write("index/alpha/index.html", &page);
    };
    let trusting = ["--cert", "self.pem"];
    for links in [
        &["--index-url", &format!("{base}/"), "alpha"][..],
        &[
            "--no-index",
            "--find-links",
            &format!("{base}/alpha/"),
            "alpha",
        ],
    ] {
        page(&format!("http://files.example/{ALPHA}"));
        build(&sandbox, &way(links), &trusting)
            .assert_exit(3)
            .assert_error_names(&[ALPHA, "it leads from HTTPS to plain HTTP"]);
        page(&format!("{base}/moved/{ALPHA}"));
        build(&sandbox, &way(links), &trusting)
            .assert_exit(4)
            .assert_error_names(&["redirects to http://files.example/", "plain HTTP"]);
    }
    for redirected in [
        &["--index-url", &format!("{base}/moved/"), "alpha"][..],
        &["--no-index", &format!("{base}/moved/{ALPHA}")],
        &["-r", &format!("{base}/moved/requirements.txt")],
    ] {
        build(&sandbox, &way(redirected), &trusting)
            .assert_exit(4)
            .assert_error_names(&["redirects to http://files.example/", "plain HTTP"]);
    }
}
