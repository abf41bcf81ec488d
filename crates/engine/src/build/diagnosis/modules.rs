//! Modules that builds import, and the distributions that provide them.

/// Distributions whose modules have other names, by module.
#[rustfmt::skip]
pub(super) static DISTRIBUTIONS: &[(&str, &str)] = &[
    ("Crypto", "pycryptodome"), ("Cython", "Cython"), ("OpenSSL", "pyOpenSSL"), ("PIL", "Pillow"),
    ("attr", "attrs"), ("bs4", "beautifulsoup4"), ("cv2", "opencv-python"), ("dateutil", "python-dateutil"),
    ("dotenv", "python-dotenv"), ("flit_core", "flit-core"), ("flit_scm", "flit-scm"), ("git", "GitPython"),
    ("google.protobuf", "protobuf"), ("grpc_tools", "grpcio-tools"), ("hatch_vcs", "hatch-vcs"),
    ("jwt", "PyJWT"), ("mesonpy", "meson-python"), ("pdm.backend", "pdm-backend"), ("pdm.pep517", "pdm-pep517"),
    ("poetry.core", "poetry-core"), ("poetry_dynamic_versioning", "poetry-dynamic-versioning"),
    ("psycopg2", "psycopg2"), ("pythran", "pythran"), ("scikit_build_core", "scikit-build-core"),
    ("serial", "pyserial"), ("setuptools_git_versioning", "setuptools-git-versioning"),
    ("setuptools_golang", "setuptools-golang"), ("setuptools_rust", "setuptools-rust"),
    ("setuptools_scm", "setuptools-scm"), ("skbuild", "scikit-build"), ("sklearn", "scikit-learn"),
    ("sipbuild", "sip"), ("pyqtbuild", "PyQt-builder"), ("vcs_versioning", "vcs-versioning"), ("yaml", "PyYAML"), ("zmq", "pyzmq"),
];

/// Modules that a build imports, of distributions of the same name.
#[rustfmt::skip]
pub(super) static BUILD_MODULES: &[&str] = &[
    "cffi", "cmake", "cppy", "cython", "expandvars", "extension_helpers", "hatchling", "incremental",
    "jinja2", "jupyter_packaging", "mako", "maturin", "mpi4py", "mypy", "mypyc", "nanobind", "ninja",
    "numpy", "packaging", "pbr", "pip", "pkgconfig", "psutil", "pybind11", "pytest", "requests",
    "scipy", "setuptools", "six", "toml", "tomli", "torch", "tqdm", "versioneer", "versioningit",
    "wheel",
];
