//! The pages for people in headless Chromium.

use super::clients::client;
use super::{Server, build};
use crate::support::{RunResult, Sandbox, Wheel};

const WALKS: &str = include_str!("browser.py");

/// Metadata that tries to run scripts, and is longer and stranger than any real one.
fn hostile() -> Wheel {
    let long = "very long ".repeat(3_000);
    Wheel::new("hostile", "1.0").metadata(&format!(
        "Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n\
         Summary: </p></script><script>window.hacked = 1</script><img src=x onerror=window.hacked=2>\"'\n\
         Author: {long}\nLicense: </textarea><svg onload=window.hacked=3>\n\
         Home-page: javascript:window.hacked=4\n\
         Project-URL: Click <b>me</b>, javascript:alert(1)\n\
         Project-URL: data, data:text/html,<script>window.hacked=5</script>\n\
         Project-URL: \u{202e}reversed, https://example.org/\"onmouseover=\"window.hacked=6\n\
         Keywords: {{{{7*7}}}},{{% raw %}},${{window.hacked=7}}\n\
         Classifier: <script>window.hacked = 8</script>\n\
         Requires-Dist: alpha ; extra == \"<script>window.hacked=9</script>\"\n"
    ))
}

fn wheels() -> Vec<Wheel> {
    let beta = Wheel::new("beta_lib", "2.0").metadata(
        "Metadata-Version: 2.1\nName: beta-lib\nVersion: 2.0\nSummary: The second letter\nLicense: MIT\n",
    );
    let mut wheels = vec![
        Wheel::new("alpha", "1.0").requires("beta-lib"),
        beta.padded(50_000),
        hostile(),
    ];
    wheels.extend(
        (0..12).map(|number| Wheel::new(&format!("p{number}"), "1.0").requires("beta-lib")),
    );
    wheels
}

/// Walks through the pages at `url`.
fn walk(sandbox: &Sandbox, walk: &str, url: &str) -> RunResult {
    let script = sandbox.write("browser.py", WALKS);
    let screenshots = std::env::var_os("WHEELHOUSE_TEST_SCREENSHOTS");
    let screenshots = screenshots.map_or_else(
        || sandbox.path("screenshots"),
        |path| std::path::Path::new(&path).join(walk),
    );
    std::fs::create_dir_all(&screenshots).unwrap();
    let mut command = sandbox.command(client("python").to_str().unwrap());
    command.arg(script).args([walk, url]).arg(screenshots);
    sandbox.spawn(command).finish()
}

#[track_caller]
fn walk_through_server(name: &str) {
    let sandbox = Sandbox::new();
    build(&sandbox, "out", &wheels());
    let newer = Wheel::new("alpha", "1.5").requires("beta-lib");
    build(&sandbox, "other", &[newer, wheels()[1].clone()]);
    let server = Server::start(&sandbox, &["out", "other"]);
    walk(&sandbox, name, &server.url("/")).assert_success();
}

/// Declares tests that need a browser.
macro_rules! browser_tests {
    ($(fn $name:ident() $body:block)+) => {$(
        #[test]
        #[cfg_attr(
            not(all(
                feature = "test-browser",
                feature = "test-clients",
                feature = "test-python"
            )),
            ignore = "requires chromium, the test Python, selenium"
        )]
        fn $name() $body
    )+};
}

browser_tests! {
    fn can_be_used_with_the_keyboard() {
        walk_through_server("keyboard");
    }

    fn search_follows_the_keys() {
        walk_through_server("search");
    }

    fn copy_buttons_copy() {
        walk_through_server("copy");
    }

    fn pages_cause_no_error_and_load_nothing_from_elsewhere() {
        walk_through_server("quiet");
    }

    fn can_be_read_without_javascript() {
        walk_through_server("plain");
    }

    fn fit_phones_and_dark_mode() {
        walk_through_server("appearance");
    }

    fn report_is_one_file_that_works_alone() {
        let sandbox = Sandbox::new();
        build(&sandbox, "out", &wheels());
        sandbox
            .wheelhouse(&["report", "out", "-o", "report.html"])
            .assert_success();
        let url = format!("file://{}", sandbox.path("report.html").display());
        walk(&sandbox, "report", &url).assert_success();
    }

    fn page_with_thousands_of_packages_is_quick() {
        let sandbox = Sandbox::new();
        let directory = sandbox.path("plain");
        std::fs::create_dir(&directory).unwrap();
        for number in 0..5_000 {
            let wheel = Wheel::new(&format!("package_{number}"), "1.0");
            std::fs::write(directory.join(wheel.filename()), wheel.bytes()).unwrap();
        }
        let server = Server::start(&sandbox, &["plain"]);
        // The first request reads the metadata of all wheels; the others do not wait for anything.
        let get = || server.request("GET", "/", &[("Accept", "text/html,application/xhtml+xml")]);
        assert!(get().text().contains("package-4321"));
        let begun = std::time::Instant::now();
        assert_eq!(get().status, 200);
        assert!(begun.elapsed().as_secs() < 3, "{:?}", begun.elapsed());
        walk(&sandbox, "large", &server.url("/")).assert_success();
    }
}
