//! Builders of both build strategies of `OpenShift`, the wheelhouse that each builds, and the application that uses
//! it.

use std::process::Command;

use crate::builder::assert_is_builder;
use crate::support::containers::{Buildah, Network, output_text, repository, succeed};
use crate::support::openshift::{BuildConfig, ImageSource, succeeded};
use crate::support::s2i_builds::{blog_source, checkout, with_server};

/// `spec.output.imageLabels` of a builder from the Source strategy, which has no other way to set them.
const LABELS: [(&str, &str); 5] = [
    ("io.openshift.s2i.scripts-url", "image:///opt/app-root/s2i"),
    ("io.s2i.scripts-url", "image:///opt/app-root/s2i"),
    ("io.k8s.display-name", "Wheelhouse"),
    ("io.k8s.description", "Makes wheelhouses"),
    ("io.openshift.tags", "builder,python,wheelhouse"),
];

const WHEELHOUSE: &str = "/opt/app-root/wheelhouse/.";

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn source_strategy_builds_builder_wheelhouse_and_application() {
    let buildah = Buildah::find();
    let [builder, wheelhouse, application] = ["builder", "wheelhouse", "application"]
        .map(|it| format!("localhost/source-strategy-{it}"));
    let checkout = checkout();
    let config = BuildConfig {
        labels: &LABELS,
        network: Network::None,
        ..BuildConfig::new(&buildah, checkout.path(), &builder)
    };
    succeeded(&config.source_strategy(&buildah.base()));
    assert_is_builder(&buildah, &builder);

    // From the index: the `assemble` of the application calls that of the builder.
    let source = blog_source();
    let config = BuildConfig::new(&buildah, source.path(), &wheelhouse);
    let first = succeeded(&config.source_strategy(&builder));
    for words in [
        "Built misaka==2.1.1",
        "---> Installed ",
        " pip-",
        "8 wheels",
    ] {
        assert!(first.contains(words), "`{words}` is not in {first}");
    }
    let serves = with_server(
        "/tmp/scripts/run",
        "/health",
        "assert 'misaka' in get('/simple/') and '.whl#sha256=' in get('/simple/django/')",
    );
    let container = buildah.container(&wheelhouse).for_any_user();
    let served = succeeded(&container.bash(&serves, &[], Network::None));
    assert!(served.contains("ended with 0"), "{served}");
    let left = "find /opt/app-root/src -mindepth 1 -newer /opt/app-root/bin/wheelhouse; \
                find /opt/app-root/wheelhouse -links +1 -type f";
    assert_eq!(output_text(&container.bash(left, &[], Network::None)), "");
    drop(container);

    // A change of one line does not cause a rebuild.
    let requirements = source.path().join("requirements.txt");
    let text = std::fs::read_to_string(&requirements).unwrap();
    std::fs::write(
        &requirements,
        text.replace("sqlparse==0.6.1", "sqlparse==0.5.3"),
    )
    .unwrap();
    let config = BuildConfig {
        incremental: true,
        ..config
    };
    let second = succeeded(&config.source_strategy(&builder));
    assert!(
        second.contains("Fetched sqlparse-0.5.3") && !second.contains("Built "),
        "{second}"
    );
    assert!(!second.contains("warning: "), "{second}");

    // The scripts of the source detect that its wheelhouse is complete.
    let config = BuildConfig {
        image_sources: &[ImageSource {
            image: &wheelhouse,
            path: WHEELHOUSE,
            destination: ".s2i/wheelhouse",
        }],
        network: Network::None,
        ..BuildConfig::new(&buildah, source.path(), &application)
    };
    let built = succeeded(&config.source_strategy(&buildah.base()));
    assert!(built.contains("no index is asked"), "{built}");
    let left = "find /tmp /opt/app-root -name wheelhouse";
    let container = buildah.container(&application);
    assert_eq!(output_text(&container.bash(left, &[], Network::None)), "");
    drop(container);
    let page = with_server(
        "SECRET_KEY=secret ALLOWED_HOSTS=127.0.0.1 bash -c 'python manage.py migrate --noinput && \
         python manage.py loaddata initial && exec /tmp/scripts/run'",
        "/health/",
        "page = get('/')\nassert 'Wheelwright' in page and '<article' in page, page",
    );
    let container = buildah.container(&application).for_any_user();
    succeeded(&container.bash(&page, &[], Network::None));
    drop(container);
    for image in [application, wheelhouse, builder] {
        buildah.remove(&image);
    }
}

#[test]
#[cfg_attr(
    not(feature = "test-containers"),
    ignore = "requires root, container tools"
)]
fn docker_strategy_builds_wheelhouse_and_application_offline() {
    let buildah = Buildah::find();
    let [builder, wheelhouse, application] = ["builder", "wheelhouse", "application"]
        .map(|it| format!("localhost/docker-strategy-{it}"));
    let checkout = checkout();
    let offline = |source, output| BuildConfig {
        network: Network::None,
        ..BuildConfig::new(&buildah, source, output)
    };
    succeeded(&offline(checkout.path(), &builder).docker_strategy(&buildah.base()));
    assert_is_builder(&buildah, &builder);
    let places =
        "cd /opt/app-root; stat -c '%n %u:%g %a' wheelhouse s2i bin/wheelhouse; ls -d /tmp/src";
    let output = buildah.container(&builder).bash(places, &[], Network::None);
    assert_eq!(
        output_text(&output).split("ls: ").next(),
        Some("wheelhouse 1001:0 775\ns2i 1001:0 775\nbin/wheelhouse 1001:0 775\n")
    );

    // Packages in the source, and the variables of its .s2i/environment.
    let source = blog_source();
    let download = [
        "download",
        "-r",
        "requirements.txt",
        "pip",
        "setuptools",
        "wheel",
        "-d",
        "packages",
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_wheelhouse"));
    command
        .args(download)
        .args(["--python", "/usr/bin/python3"]);
    succeed(command.current_dir(source.path()));
    std::fs::remove_dir_all(source.path().join(".s2i/bin")).unwrap();
    let environment = source.path().join(".s2i/environment");
    std::fs::write(&environment, "PIP_NO_INDEX=1\nPIP_FIND_LINKS=packages\n").unwrap();
    let built = succeeded(&offline(source.path(), &wheelhouse).source_strategy(&builder));
    assert!(
        built.contains("---> Installed ") && built.contains("8 wheels"),
        "{built}"
    );

    // The wheelhouse as a separate image, and the `assemble` of the base image.
    let carried = build_wheelhouse_image(&buildah, &wheelhouse);
    std::fs::write(
        &environment,
        "PIP_NO_INDEX=1\nPIP_FIND_LINKS=.s2i/wheelhouse\n",
    )
    .unwrap();
    std::fs::remove_dir_all(source.path().join("packages")).unwrap();
    let config = BuildConfig {
        image_sources: &[ImageSource {
            image: &carried,
            path: WHEELHOUSE,
            destination: ".s2i/wheelhouse",
        }],
        ..offline(source.path(), &application)
    };
    succeeded(&config.source_strategy(&buildah.base()));
    for image in [application, carried, wheelhouse, builder] {
        buildah.remove(&image);
    }
}

/// Builds an image of the wheelhouse in the image `wheelhouse` with `wheelhouse image` and returns its id.
fn build_wheelhouse_image(buildah: &Buildah, wheelhouse: &str) -> String {
    let (container, directory) = (buildah.container(wheelhouse), tempfile::tempdir().unwrap());
    let mut image = Command::new(env!("CARGO_BIN_EXE_wheelhouse"));
    image
        .arg("image")
        .arg(container.mount().join("opt/app-root/wheelhouse"));
    succeed(image.arg("oci:layout:1").current_dir(directory.path()));
    let anything = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
    std::fs::write(directory.path().join("policy.json"), anything).unwrap();
    let pull = [
        "pull",
        "--quiet",
        "--signature-policy",
        "policy.json",
        "oci:layout:1",
    ];
    succeed(buildah.buildah(pull).current_dir(directory.path()))
}

/// `oc new-build --strategy=docker` looks up the last `FROM` literally, and a cluster replaces only that one.
#[test]
fn dockerfile_has_one_base_image_that_oc_can_look_up() {
    let dockerfile = std::fs::read_to_string(repository().join("Dockerfile")).unwrap();
    let bases = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("FROM "));
    assert_eq!(
        bases.collect::<Vec<_>>(),
        ["registry.access.redhat.com/ubi9/python-312"]
    );
}
