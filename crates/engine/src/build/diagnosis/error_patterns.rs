//! Messages that identify a cause by themselves, with hints.

use super::Confidence::{self, Certain, Tentative};
use super::Remedy::{self, Advice, Install, PythonHeaders};
use super::system_packages::{BLAS, RUST};

/// A message that identifies a cause by itself.
pub(super) struct ErrorPattern {
    pub(super) confidence: Confidence,
    pub(super) remedy: Remedy,
    /// The texts, of which one is in the line; `\n` matches its start or end.
    pub(super) needles: &'static [&'static str],
}

const fn pattern(
    confidence: Confidence,
    remedy: Remedy,
    needles: &'static [&'static str],
) -> ErrorPattern {
    ErrorPattern {
        confidence,
        remedy,
        needles,
    }
}

#[rustfmt::skip]
pub(super) static ERROR_PATTERNS: &[ErrorPattern] = &[
    pattern(Certain, Advice(DISK_FULL), &["No space left on device", "Disk quota exceeded"]),
    pattern(Certain, Advice(OUT_OF_MEMORY), KILLED),
    pattern(Certain, Advice(OFFLINE), UNREACHABLE),
    // Missing tools and libraries that the message does not name.
    pattern(Certain, Install("a C compiler"), NO_C_COMPILER),
    pattern(Certain, Install("a C++ compiler"), NO_CXX_COMPILER),
    pattern(Certain, Install("a Fortran compiler"), NO_FORTRAN_COMPILER),
    pattern(Certain, Install("the linker and its companions"), &["cannot find 'ld'"]),
    pattern(Certain, Install("CMake"), NO_CMAKE),
    pattern(Certain, Install("ninja"), &["Could not detect Ninja", "build program corresponding to \"Ninja\""]),
    pattern(Certain, Install("make"), &["build program corresponding to \"Unix Makefiles\""]),
    pattern(Certain, Install("pkg-config"), NO_PKG_CONFIG),
    pattern(Tentative, Install("pkg-config"), &["The pkg-config command could not be found"]),
    pattern(Certain, Install("autoconf, automake and libtool"), NO_LIBTOOL),
    pattern(Certain, Install("gettext"), &["possibly undefined macro: AM_GNU_GETTEXT", "possibly undefined macro: AM_NLS", "possibly undefined macro: AM_ICONV", "please install gettext"]),
    pattern(Certain, Install(RUST), NO_RUST),
    pattern(Certain, Install("the Protocol Buffers compiler"), &["Could not find `protoc`"]),
    pattern(Certain, Install("libpq (PostgreSQL)"), &["pg_config executable not found"]),
    pattern(Certain, Install("MySQL or MariaDB"), &["mysql_config not found", "Can not find valid pkg-config name"]),
    pattern(Certain, Install("libxml2 and libxslt"), NO_LIBXML2),
    pattern(Certain, Install("OpenSSL"), &["Could not find directory of OpenSSL installation"]),
    pattern(Certain, Install("libcurl"), &["Could not run curl-config"]),
    pattern(Certain, Install("GDAL"), &["A GDAL API version must be specified", "Could not find gdal-config"]),
    pattern(Certain, Install("HDF5"), NO_HDF5),
    pattern(Certain, Install(BLAS), NO_BLAS),
    pattern(Certain, Install("LLVM"), &["Could not find a `llvm-config` binary"]),
    pattern(Certain, PythonHeaders, NO_PYTHON_HEADERS),
    // Rust and CMake that are too old, too new or not set up.
    pattern(Certain, Advice(PYO3_TOO_OLD), &["is newer than PyO3's maximum supported version"]),
    pattern(Certain, Advice(RUST_TOO_OLD), OLD_RUST),
    pattern(Certain, Advice(GO_TOO_OLD), OLD_GO),
    pattern(Certain, Advice(RUSTUP_WITHOUT_DEFAULT), &["rustup could not choose a version of"]),
    pattern(Certain, Advice(CMAKE_TOO_OLD), &["or higher is required.  You are running version"]),
    pattern(Certain, Advice(CMAKE_TOO_NEW), &["Compatibility with CMake < 3.5 has been removed"]),
    // Versions that come from a version control system.
    pattern(Certain, Advice(SCM_VERSION), &["unable to detect version for"]),
    pattern(Certain, Advice(PBR_VERSION), &["Versioning for this project requires either an sdist"]),
    // Pythons, setuptools and others that the package was not made for.
    pattern(Certain, Advice(PYTHON_2), PYTHON_2_SAYS),
    pattern(Certain, Advice(USE_2TO3), &["use_2to3 is invalid"]),
    pattern(Certain, Advice(NUMPY_DISTUTILS), &["No module named 'numpy.distutils'"]),
    pattern(Certain, Advice(MSVCCOMPILER), &["No module named 'distutils.msvccompiler'"]),
    pattern(Certain, Advice(DISTUTILS), &["No module named 'distutils"]),
    pattern(Certain, Advice(PKG_RESOURCES), &["No module named 'pkg_resources'"]),
    pattern(Certain, Advice(SETUPTOOLS_TEST), &["No module named 'setuptools.command.test'"]),
    pattern(Certain, Advice(SETUPTOOLS_PRIVATE), &["module 'setuptools.dist' has no attribute", "module 'setuptools' has no attribute"]),
    pattern(Certain, Advice(SETUPTOOLS_FEATURE), &["cannot import name 'Feature' from 'setuptools'"]),
    pattern(Certain, Advice(OLD_SETUPTOOLS), &["module 'pkgutil' has no attribute 'ImpImporter'"]),
    pattern(Certain, Advice(INVALID_VERSION), &["version.InvalidVersion: Invalid version: "]),
    pattern(Certain, Advice(OLD_PACKAGING), &["unexpected keyword argument 'strip_trailing_zero'"]),
    pattern(Certain, Advice(NO_WHEEL_COMMAND), &["invalid command 'bdist_wheel'"]),
    pattern(Certain, Advice(CYTHON_3), &["AttributeError: cython_sources", "has no attribute 'cython_sources'"]),
    pattern(Certain, Advice(GENERATED_C), OLD_GENERATED_C),
    pattern(Certain, Advice(OLD_CODE), REMOVED_FROM_PYTHON),
    pattern(Certain, Advice(REFUSES_PYTHON), &["Cannot install on Python version"]),
    pattern(Certain, Advice(INCOMPLETE_PYTHON), ABSENT_FROM_PYTHON),
    pattern(Certain, Advice(NUMPY_HEADERS), &["fatal error: numpy/", "fatal error: 'numpy/"]),
    pattern(Certain, Advice(PYBIND11_HEADERS), &["fatal error: pybind11/", "fatal error: 'pybind11/"]),
];

#[rustfmt::skip]
const KILLED: &[&str] = &[
    "Killed signal terminated program", "internal compiler error: Killed", "signal: 9, SIGKILL",
    "Signals.SIGKILL: 9", "died with signal 9", "terminated by signal 9", "failed with exit code -9",
    "\nKilled\n", "] Killed\n", "Cannot allocate memory", "out of memory allocating",
    "virtual memory exhausted", "LLVM ERROR: out of memory", "std::bad_alloc", "\nMemoryError",
];
#[rustfmt::skip]
const UNREACHABLE: &[&str] = &[
    "Temporary failure in name resolution", "Network is unreachable", "Could not resolve host",
    "Name or service not known", "failed to lookup address information",
];
#[rustfmt::skip]
const NO_C_COMPILER: &[&str] = &[
    "no acceptable C compiler found", "No CMAKE_C_COMPILER could be found",
    "CMAKE_C_COMPILER not set, after EnableLanguage", "No working compiler found",
    "C compiler cannot create executables",
];
#[rustfmt::skip]
const NO_CXX_COMPILER: &[&str] = &[
    "cannot execute 'cc1plus'", "error trying to exec 'cc1plus'",
    "No CMAKE_CXX_COMPILER could be found", "CMAKE_CXX_COMPILER not set, after EnableLanguage",
    "C++ compiler cannot create executables",
];
#[rustfmt::skip]
const NO_FORTRAN_COMPILER: &[&str] = &[
    "Fortran sources but no Fortran compiler found", "No CMAKE_Fortran_COMPILER could be found",
    "CMAKE_Fortran_COMPILER not set, after EnableLanguage", "cannot execute 'f951'",
    "error trying to exec 'f951'",
];
#[rustfmt::skip]
const NO_CMAKE: &[&str] = &[
    "CMake must be installed to build", "Problem with the CMake installation, aborting build",
    "is `cmake` not installed?", "Could not find CMake with version",
];
#[rustfmt::skip]
const NO_PKG_CONFIG: &[&str] = &[
    "Pkg-config for machine", "Pkg-config binary for machine", "pkg-config probably not installed",
    "pkg-config is required for building",
];
#[rustfmt::skip]
const NO_LIBTOOL: &[&str] = &[
    "possibly undefined macro: AC_PROG_LIBTOOL", "possibly undefined macro: LT_INIT",
    "possibly undefined macro: AC_LIBTOOL", "Libtool library used but 'LIBTOOL' is undefined",
    "error: Libtool library used but",
];
#[rustfmt::skip]
const NO_RUST: &[&str] = &[
    "can't find Rust compiler", "Cargo, the Rust package manager, is not installed",
    "Rust not found, installing into a temporary directory",
];
#[rustfmt::skip]
const OLD_RUST: &[&str] = &[
    "cannot be built because it requires rustc", "is not supported by the following package",
    "feature `edition2024` is required", "feature `edition2021` is required",
    "this version of Cargo is older than the `", "requires `-Znext-lockfile-bump`",
    "was found, but this version of Cargo does not understand this lock file",
    "does not match extension requirement", "error[E0658]: use of unstable library feature",
    "error: edition 2024 is unstable", "error: invalid value specified for edition",
    "this version of Cargo only supports edition", "supported edition values are",
];
#[rustfmt::skip]
const OLD_GO: &[&str] = &[
    "go.mod requires go >= ", "note: module requires Go ", "invalid go version '", "unknown directive: toolchain",
];
#[rustfmt::skip]
const NO_LIBXML2: &[&str] = &[
    "make sure the libxml2 and libxslt development packages are installed",
    "make sure the development packages of libxml2 and libxslt are installed",
];
#[rustfmt::skip]
const NO_HDF5: &[&str] = &[
    "Unable to load dependency HDF5", "libhdf5.so: cannot open shared object file",
    "Could not find a local HDF5 installation",
];
#[rustfmt::skip]
const NO_BLAS: &[&str] = &[
    "No BLAS/LAPACK libraries found", "No lapack/blas resources found", "No BLAS library detected",
    "No CBLAS interface detected",
];
#[rustfmt::skip]
const NO_PYTHON_HEADERS: &[&str] = &[
    "fatal error: Python.h", "fatal error: 'Python.h'", "fatal error: pyconfig.h",
    "ERROR: Python dependency not found", "(missing: Python_INCLUDE_DIRS",
    "(missing: Python3_INCLUDE_DIRS",
];
#[rustfmt::skip]
const PYTHON_2_SAYS: &[&str] = &[
    "SyntaxError: Missing parentheses in call to 'print'",
    "SyntaxError: Missing parentheses in call to 'exec'",
    "SyntaxError: multiple exception types must be parenthesized",
    "SyntaxError: leading zeros in decimal integer literals are not permitted",
    "name 'unicode' is not defined", "name 'xrange' is not defined", "name 'basestring' is not defined",
    "name 'raw_input' is not defined", "name 'execfile' is not defined",
    "No module named 'ConfigParser'", "No module named 'urllib2'", "No module named 'StringIO'",
    "No module named 'cPickle'", "No module named '__builtin__'",
];
#[rustfmt::skip]
const OLD_GENERATED_C: &[&str] = &[
    "fatal error: longintrepr.h", "has no member named 'use_tracing'",
    "has no member named 'ob_digit'", "has no member named 'curexc_type'",
    "has no member named 'exc_type'", "has no member named 'tp_print'",
    "too few arguments to function '_PyLong_AsByteArray'",
];
/// From Python 3.10 to 3.14.
#[rustfmt::skip]
const REMOVED_FROM_PYTHON: &[&str] = &[
    "has no attribute 'SafeConfigParser'", "has no attribute 'readfp'",
    "module 'inspect' has no attribute 'getargspec'", "module 'ast' has no attribute 'Str'",
    "module 'collections' has no attribute 'Mapping'", "module 'pkgutil' has no attribute 'find_loader'",
    "module 'collections' has no attribute 'MutableMapping'", "from 'collections' (",
    "No module named 'imp'", "No module named 'asyncore'", "No module named 'asynchat'",
    "No module named 'smtpd'", "No module named 'lib2to3'", "No module named 'cgi'",
    "No module named 'pipes'", "No module named 'crypt'", "No module named 'telnetlib'",
];
#[rustfmt::skip]
const ABSENT_FROM_PYTHON: &[&str] = &[
    "No module named '_ctypes'", "No module named '_ssl'", "No module named '_bz2'",
    "No module named '_lzma'", "No module named '_sqlite3'", "No module named 'zlib'",
];

const DISK_FULL: &str = "The disk is full (or a quota is used up). Free some space, or use a file system that has \
     some: --cache-dir is where builds run, TMPDIR is for their temporary files.";
const OUT_OF_MEMORY: &str = "The build ran out of memory: a compiler was killed, or got no more. Build fewer packages at \
     once with a lower --jobs, or give the machine or container more memory.";
const OFFLINE: &str = "The build tried to reach the network and could not. Put what it downloads in place beforehand, \
     or build where the network can be reached.";
const PYO3_TOO_OLD: &str = "The package's PyO3 does not know this Python, which is newer. Ask for a newer release of the \
     package, use an older Python, or try PYO3_USE_ABI3_FORWARD_COMPATIBILITY=1 in the environment.";
const RUST_TOO_OLD: &str = "The installed Rust is too old for this package. Install a current one from https://rustup.rs \
     (or `rustup update`), or ask for an older release of the package.";
const GO_TOO_OLD: &str = "The installed Go is too old for this package. Install a current one from https://go.dev/dl, or ask \
     for an older release of the package.";
const RUSTUP_WITHOUT_DEFAULT: &str = "rustup is installed without a toolchain for this user. Run `rustup default stable`, or set \
     RUSTUP_HOME to where the toolchain is.";
const CMAKE_TOO_OLD: &str = "The installed CMake is too old for this package. Install a newer one, for instance the \
     distribution `cmake` from the Python package index.";
const CMAKE_TOO_NEW: &str = "The package was written for a CMake older than 4. Set CMAKE_POLICY_VERSION_MINIMUM=3.5 in the \
     environment, or pass a file with the line `cmake<4` as --build-constraint.";
const SCM_VERSION: &str = "setuptools-scm takes the version from Git, but the source has no Git data or there is no `git` \
     program. Build from the sdist or a Git checkout, install git, or set \
     SETUPTOOLS_SCM_PRETEND_VERSION to the version.";
const PBR_VERSION: &str = "pbr takes the version from Git, but the source has no Git data or there is no `git` program. \
     Build from the sdist or a Git checkout, install git, or set PBR_VERSION to the version.";
const PYTHON_2: &str =
    "The source is written for Python 2. Ask for a release of the package that supports Python 3.";
const USE_2TO3: &str = "The source is written for Python 2 and converted with 2to3, which setuptools 58 removed. Ask for \
     a newer release of the package, or pass a file with the line `setuptools<58` as \
     --build-constraint (with Python 3.9 or older).";
const NUMPY_DISTUTILS: &str = "The build uses `numpy.distutils`, which does not exist on Python 3.12 and newer. Ask for a newer \
     release of the package, or use Python 3.11 or older.";
const MSVCCOMPILER: &str = "The build imports `distutils.msvccompiler`, which setuptools 74 removed (old releases of NumPy \
     do). Ask for a newer release of the package, or pass a file with the line `setuptools<74` as \
     --build-constraint.";
const DISTUTILS: &str = "The build imports `distutils`, which Python 3.12 removed and setuptools provides. Ask for a newer \
     release of the package, use Python 3.11 or older, or install `setuptools` and the other build \
     requirements beside Python and build with --no-build-isolation.";
const PKG_RESOURCES: &str = "The build imports `pkg_resources`, which setuptools 82 removed. Pass a file with the line \
     `setuptools<81` as --build-constraint.";
const SETUPTOOLS_TEST: &str = "The build imports `setuptools.command.test`, which setuptools 72 removed. Pass a file with the \
     line `setuptools<72` as --build-constraint.";
const SETUPTOOLS_PRIVATE: &str = "The build uses a part of setuptools that newer ones do not have. Ask for a newer release of the \
     package, or pass a file that names an older one, such as `setuptools<58`, as --build-constraint.";
const SETUPTOOLS_FEATURE: &str = "The build imports `Feature`, which setuptools 46 removed. Ask for a newer release of the package, \
     or pass a file with the line `setuptools<46` as --build-constraint.";
const OLD_SETUPTOOLS: &str = "The package asks for a setuptools that is too old for Python 3.12 and newer. Ask for a newer \
     release of the package, or use Python 3.11 or older.";
const INVALID_VERSION: &str = "The package has a version, or asks for one, that is not valid (PEP 440), which setuptools refuses \
     since 66. Ask for a newer release of it, or pass a file with the line `setuptools<66` as \
     --build-constraint.";
const OLD_PACKAGING: &str = "The installed `packaging` is too old for the installed setuptools. Install `packaging>=22` beside \
     it.";
const NO_WHEEL_COMMAND: &str = "setuptools before 70.1 cannot make wheels without the distribution `wheel`. Install `wheel`, or \
     `setuptools>=70.1`, among the build requirements.";
const CYTHON_3: &str = "The package does not build with Cython 3. Pass a file with the line `cython<3` as \
     --build-constraint, or ask for a newer release of the package.";
const GENERATED_C: &str = "The C code in the source was generated for older Pythons and does not compile for this one. Ask \
     for a newer release of the package, or use an older Python.";
const OLD_CODE: &str = "The build uses something that this version of Python no longer has. Ask for a newer release of \
     the package, or use an older Python.";
const REFUSES_PYTHON: &str = "The package refuses this version of Python. Ask for a newer release of the package, or use a \
     Python that it names.";
const INCOMPLETE_PYTHON: &str = "This Python was built without a part of its standard library. Use another one, or rebuild it with \
     the development files that the part needs (libffi for `_ctypes`, OpenSSL for `_ssl`, zlib, bzip2, \
     liblzma, SQLite).";
const NUMPY_HEADERS: &str = "The compiler did not find NumPy's headers, so NumPy is probably not among the package's build \
     requirements. Install `numpy` and the other build requirements beside Python and build with \
     --no-build-isolation.";
const PYBIND11_HEADERS: &str = "The compiler did not find pybind11's headers. Install `pybind11` and the other build requirements \
     beside Python and build with --no-build-isolation, or fetch the source with its Git submodules.";
