//! Well-known causes of failed builds, recognised in what a build said.
//!
//! The output is read line by line. A line either *names something that is missing* (a program, a
//! header, a library, a module; see [`PHRASES`]), which is then looked up among [`TOOLS`],
//! [`LIBRARIES`] and [`DISTRIBUTIONS`], or it is one of the [`SAYINGS`] that tell of a cause by
//! themselves. The first line that is decisive explains the failure, because what follows it mostly
//! follows from it; a line that a build may well have survived (a shell that did not find a program
//! that was only tried) counts when no other line is decisive.
//!
//! This module never guesses: output without a known cause has no hint. It is pure, and never reads
//! a file or asks the system what is installed.

use Kind::{Dependency, Header, Library, Module, Package, Program};
use Remedy::{Advice, Install, PythonHeaders};
use Weight::{Decisive, Tentative};

/// What to do about the failure that `output` tells of, if it is a well-known one.
pub(crate) fn hint(output: &str) -> Option<String> {
    let output = plain(output);
    let mut tentative = None;
    for line in telling_lines(after_last_fallback(&output)) {
        match diagnose(line) {
            Some((Decisive, cause)) => return Some(explain(cause, &output)),
            Some((Tentative, cause)) => _ = tentative.get_or_insert(cause),
            None => {}
        }
    }
    tentative.map(|cause| explain(cause, &output))
}

/// How much one line says about the failure.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Weight {
    /// A build does not get past this.
    Decisive,
    /// A build may have tried something that it can do without.
    Tentative,
}

/// What a line can name as missing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Program,
    Header,
    /// By its pkg-config name.
    Package,
    /// By its name on the linker's command line.
    Library,
    /// By a name that a build system made up.
    Dependency,
    Module,
}

/// What helps.
#[derive(Clone, Copy, Debug)]
enum Remedy {
    /// A [`Need`], by its name.
    Install(&'static str),
    PythonHeaders,
    Advice(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Cause<'a> {
    Known(Remedy),
    Need(&'static Need),
    Missing(Kind, &'a str),
}

/// How tools say that something is missing: its name stands between `before` and `after`, which is
/// the end of the line if empty.
struct Phrase {
    kind: Kind,
    weight: Weight,
    before: &'static str,
    after: &'static str,
}

const fn phrase(weight: Weight, kind: Kind, before: &'static str, after: &'static str) -> Phrase {
    Phrase {
        kind,
        weight,
        before,
        after,
    }
}

#[rustfmt::skip]
static PHRASES: &[Phrase] = &[
    // setuptools, old and new; Python; meson; the cc crate; rustc.
    phrase(Decisive, Program, "unable to execute '", "': No such file"),
    phrase(Decisive, Program, "command '", "' failed: No such file"),
    phrase(Decisive, Program, "No such file or directory: '", "'"),
    phrase(Decisive, Program, "Unknown compiler(s): [['", "'"),
    phrase(Decisive, Program, "ERROR: Program '", "' not found"),
    phrase(Decisive, Program, "failed to find tool \"", "\""),
    phrase(Decisive, Program, "Failed to find tool. Is `", "` installed"),
    phrase(Decisive, Program, "error: linker `", "` not found"),
    // make, env, bash, dash.
    phrase(Decisive, Program, "make: ", ": No such file or directory"),
    phrase(Decisive, Program, "make: ", ": Command not found"),
    phrase(Decisive, Program, "make[1]: ", ": No such file or directory"),
    phrase(Tentative, Program, "env: '", "': No such file or directory"),
    phrase(Tentative, Program, ": ", ": command not found"),
    phrase(Tentative, Program, "sh: ", ": not found"),
    // GCC, clang.
    phrase(Decisive, Header, "fatal error: ", ": No such file or directory"),
    phrase(Decisive, Header, "fatal error: '", "' file not found"),
    // meson, CMake, Pillow.
    phrase(Decisive, Package, "ERROR: Dependency \"", "\" not found"),
    phrase(Decisive, Dependency, "Dependency lookup for ", " with method"),
    phrase(Decisive, Dependency, "Could NOT find ", ","),
    phrase(Decisive, Dependency, "Could NOT find ", " (missing:"),
    phrase(Decisive, Dependency, "package configuration file provided by \"", "\""),
    phrase(Decisive, Dependency, "headers or library files could not be found for ", ","),
    phrase(Decisive, Dependency, "RequiredDependencyException: ", ""),
    // pkg-config, pkgconf.
    phrase(Tentative, Package, "Package ", " was not found in the pkg-config search path"),
    phrase(Tentative, Package, "Package '", "' not found"),
    phrase(Tentative, Package, "Package '", "', required by"),
    phrase(Tentative, Package, "No package '", "' found"),
    // GNU ld, old and new.
    phrase(Tentative, Library, "cannot find -l", ": No such file or directory"),
    phrase(Tentative, Library, "cannot find -l", ""),
    // Python 3, Python 2 and `python -m`.
    phrase(Decisive, Module, "No module named '", "'"),
    phrase(Decisive, Module, "No module named ", ""),
];

/// Something to be had from the system's packages.
#[derive(Debug)]
struct Need {
    name: &'static str,
    /// Package names, separated by spaces.
    debian: &'static str,
    fedora: &'static str,
    /// What is missing when this is, as people write it: `program`, `header.h`, `directory/` of
    /// headers, `package.pc` (as pkg-config and others call it), `-llibrary`.
    signs: &'static str,
}

const fn need(
    name: &'static str,
    debian: &'static str,
    fedora: &'static str,
    signs: &'static str,
) -> Need {
    Need {
        name,
        debian,
        fedora,
        signs,
    }
}

const RUST: &str = "Rust's `cargo` and `rustc` (the newest are at https://rustup.rs)";
const BLAS: &str = "OpenBLAS (or another BLAS and LAPACK)";

#[rustfmt::skip]
static TOOLS: &[Need] = &[
    need("a C compiler", "build-essential", "gcc", "gcc cc clang x86_64-linux-gnu-gcc"),
    need("a C++ compiler", "g++", "gcc-c++", "g++ c++ clang++ cc1plus iostream cstdint cstddef vector"),
    need("the headers of the C library", "libc6-dev", "glibc-devel", "stdio.h stdlib.h string.h limits.h errno.h math.h assert.h"),
    need("the kernel's headers", "linux-libc-dev", "kernel-headers", "linux/ asm/"),
    need("a Fortran compiler", "gfortran", "gcc-gfortran", "gfortran f77 f95 flang"),
    need("the linker and its companions", "binutils", "binutils", "ld ar as ranlib"),
    need("pkg-config", "pkg-config", "pkgconf-pkg-config", "pkg-config pkgconf PkgConfig.pc"),
    need("make", "make", "make", "make gmake"),
    need("CMake", "cmake", "cmake", "cmake cmake3"),
    need("ninja", "ninja-build", "ninja-build", "ninja ninja-build samu"),
    need("meson", "meson", "meson", "meson"),
    need("SWIG", "swig", "swig", "swig swig3.0 swig4.0 SWIG.pc"),
    need("autoconf, automake and libtool", "autoconf automake libtool", "autoconf automake libtool", "autoconf autoreconf automake aclocal libtoolize libtool"),
    need("bison and flex", "bison flex", "bison flex", "bison flex yacc lex"),
    need("Git", "git", "git", "git Git.pc"),
    need(RUST, "cargo", "cargo", "cargo rustc"),
    need("Go", "golang", "golang", "go"),
    need("Perl", "perl", "perl-core", "perl"),
    need("patch", "patch", "patch", "patch"),
    need("patchelf", "patchelf", "patchelf", "patchelf"),
    need("the Protocol Buffers compiler", "protobuf-compiler", "protobuf-compiler", "protoc"),
];

/// Libraries, of which a build needs the development files.
#[rustfmt::skip]
static LIBRARIES: &[Need] = &[
    need("libpq (PostgreSQL)", "libpq-dev", "libpq-devel", "pg_config libpq-fe.h libpq.pc -lpq PostgreSQL.pc"),
    need("MySQL or MariaDB", "default-libmysqlclient-dev pkg-config", "mariadb-connector-c-devel pkgconf-pkg-config", "mysql_config mariadb_config mysql.h mysql/ mariadb/ mysqlclient.pc mariadb.pc libmariadb.pc -lmysqlclient -lmariadb"),
    need("libxml2 and libxslt", "libxml2-dev libxslt1-dev", "libxml2-devel libxslt-devel", "xml2-config xslt-config libxml/ libxslt/ libexslt/ libxml-2.0.pc libxslt.pc libexslt.pc LibXml2.pc LibXslt.pc -lxml2 -lxslt -lexslt"),
    need("xmlsec", "libxmlsec1-dev pkg-config", "xmlsec1-devel xmlsec1-openssl-devel libtool-ltdl-devel", "xmlsec1-config xmlsec/ xmlsec1.pc"),
    need("libffi", "libffi-dev", "libffi-devel", "ffi.h libffi.pc -lffi"),
    need("OpenSSL", "libssl-dev pkg-config", "openssl-devel pkgconf-pkg-config", "openssl/ openssl.pc libssl.pc libcrypto.pc -lssl -lcrypto"),
    need("zlib", "zlib1g-dev", "zlib-devel", "zlib.h zlib.pc zconf.h -lz"),
    need("bzip2", "libbz2-dev", "bzip2-devel", "bzlib.h bzip2.pc -lbz2"),
    need("liblzma", "liblzma-dev", "xz-devel", "lzma.h liblzma.pc -llzma"),
    need("Zstandard", "libzstd-dev", "libzstd-devel", "zstd.h libzstd.pc -lzstd"),
    need("LZ4", "liblz4-dev", "lz4-devel", "lz4.h liblz4.pc -llz4"),
    need("LZO", "liblzo2-dev", "lzo-devel", "lzo/ lzo2.pc -llzo2"),
    need("snappy", "libsnappy-dev", "snappy-devel", "snappy-c.h snappy.h snappy.pc -lsnappy"),
    need("Brotli", "libbrotli-dev", "brotli-devel", "brotli/ libbrotlienc.pc libbrotlidec.pc"),
    need("libjpeg", "libjpeg-dev", "libjpeg-turbo-devel", "jpeglib.h jpeg.pc libjpeg.pc -ljpeg"),
    need("libpng", "libpng-dev", "libpng-devel", "png.h libpng.pc png.pc -lpng"),
    need("libtiff", "libtiff-dev", "libtiff-devel", "tiff.h tiffio.h tiff.pc libtiff-4.pc -ltiff"),
    need("libwebp", "libwebp-dev", "libwebp-devel", "webp/ webp.pc libwebp.pc -lwebp"),
    need("Little CMS", "liblcms2-dev", "lcms2-devel", "lcms2.h lcms.pc lcms2.pc -llcms2"),
    need("OpenJPEG", "libopenjp2-7-dev", "openjpeg2-devel", "openjpeg.h openjpeg-2.0/ jpeg2000.pc libopenjp2.pc"),
    need("FreeType", "libfreetype-dev pkg-config", "freetype-devel pkgconf-pkg-config", "freetype-config ft2build.h freetype/ freetype.pc freetype2.pc -lfreetype"),
    need("ImageMagick", "libmagickwand-dev", "ImageMagick-devel", "MagickWand/ wand/ MagickWand.pc"),
    need("cairo", "libcairo2-dev pkg-config", "cairo-devel pkgconf-pkg-config", "cairo.h cairo/ cairo.pc -lcairo"),
    need("Pango", "libpango1.0-dev pkg-config", "pango-devel pkgconf-pkg-config", "pango/ pango.pc pangocairo.pc"),
    need("GLib", "libglib2.0-dev pkg-config", "glib2-devel pkgconf-pkg-config", "glib.h glib-2.0.pc gobject-2.0.pc gio-2.0.pc"),
    need("GObject introspection", "libgirepository1.0-dev libgirepository-2.0-dev pkg-config", "gobject-introspection-devel glib2-devel pkgconf-pkg-config", "girepository.h g-ir-scanner gobject-introspection-1.0.pc girepository-2.0.pc"),
    need("OpenLDAP and Cyrus SASL", "libldap2-dev libsasl2-dev", "openldap-devel cyrus-sasl-devel", "lber.h ldap.h -lldap -lldap_r -llber"),
    need("Cyrus SASL", "libsasl2-dev", "cyrus-sasl-devel", "sasl/ sasl.h libsasl2.pc -lsasl2"),
    need("Kerberos (GSSAPI)", "libkrb5-dev", "krb5-devel", "krb5-config gssapi.h gssapi/ krb5.h krb5/ krb5.pc krb5-gssapi.pc -lgssapi_krb5 -lkrb5"),
    need("libcurl", "libcurl4-openssl-dev libssl-dev", "libcurl-devel openssl-devel", "curl-config curl/ libcurl.pc CURL.pc -lcurl"),
    need("GDAL", "libgdal-dev gdal-bin", "gdal-devel gdal", "gdal-config gdal.h gdal_version.h gdal/ gdal.pc -lgdal"),
    need("GEOS", "libgeos-dev", "geos-devel", "geos-config geos_c.h geos.pc -lgeos_c"),
    need("PROJ", "libproj-dev proj-bin", "proj-devel proj", "proj.h proj_api.h proj.pc -lproj"),
    need("libspatialindex", "libspatialindex-dev", "spatialindex-devel", "spatialindex/"),
    need("HDF5", "libhdf5-dev pkg-config", "hdf5-devel pkgconf-pkg-config", "h5cc hdf5.h hdf5.pc -lhdf5"),
    need("netCDF", "libnetcdf-dev", "netcdf-devel", "nc-config netcdf.h netcdf.pc -lnetcdf"),
    need("PortAudio", "portaudio19-dev", "portaudio-devel", "portaudio.h portaudio-2.0.pc -lportaudio"),
    need("ALSA", "libasound2-dev", "alsa-lib-devel", "alsa/ alsa.pc -lasound"),
    need("libsndfile", "libsndfile1-dev", "libsndfile-devel", "sndfile.h sndfile.pc"),
    need("FFmpeg", "libavformat-dev libavcodec-dev libavdevice-dev libavutil-dev libavfilter-dev libswscale-dev libswresample-dev pkg-config", "ffmpeg-free-devel pkgconf-pkg-config", "libavformat/ libavcodec/ libavutil/ libavformat.pc libavcodec.pc libavdevice.pc libavutil.pc libavfilter.pc libswscale.pc libswresample.pc"),
    need("SQLite", "libsqlite3-dev", "sqlite-devel", "sqlite3.h sqlite3.pc -lsqlite3"),
    need("librdkafka", "librdkafka-dev", "librdkafka-devel", "librdkafka/ rdkafka.pc -lrdkafka"),
    need("unixODBC", "unixodbc-dev", "unixODBC-devel", "odbc_config sql.h sqlext.h odbc.pc -lodbc"),
    need("FreeTDS", "freetds-dev", "freetds-devel", "sybdb.h sqlfront.h -lsybdb"),
    need("Firebird", "firebird-dev", "libfbclient2-devel", "ibase.h"),
    need("systemd", "libsystemd-dev pkg-config", "systemd-devel pkgconf-pkg-config", "systemd/ libsystemd.pc libsystemd-journal.pc -lsystemd"),
    need("D-Bus", "libdbus-1-dev libglib2.0-dev pkg-config", "dbus-devel glib2-devel pkgconf-pkg-config", "dbus/ dbus-1.pc dbus-glib-1.pc -ldbus-1"),
    need("libudev", "libudev-dev pkg-config", "systemd-devel pkgconf-pkg-config", "libudev.h libudev.pc -ludev"),
    need("libusb", "libusb-1.0-0-dev libudev-dev", "libusb1-devel systemd-devel", "libusb.h libusb-1.0/ libusb-1.0.pc -lusb-1.0"),
    need("BlueZ", "libbluetooth-dev", "bluez-libs-devel", "bluetooth/ bluez.pc -lbluetooth"),
    need("libvirt", "libvirt-dev pkg-config", "libvirt-devel pkgconf-pkg-config", "libvirt/ libvirt.pc"),
    need("libgit2", "libgit2-dev", "libgit2-devel", "git2.h libgit2.pc -lgit2"),
    need("libyaml", "libyaml-dev", "libyaml-devel", "yaml.h yaml-0.1.pc -lyaml"),
    need(BLAS, "libopenblas-dev liblapack-dev pkg-config", "openblas-devel lapack-devel pkgconf-pkg-config", "cblas.h lapacke.h openblas.pc OpenBLAS.pc BLAS.pc LAPACK.pc -lopenblas -lblas -llapack -lcblas"),
    need("FFTW", "libfftw3-dev", "fftw-devel", "fftw3.h fftw3.pc -lfftw3 -lfftw3f"),
    need("the GNU Scientific Library", "libgsl-dev", "gsl-devel", "gsl-config gsl/ gsl.pc -lgsl"),
    need("SuiteSparse", "libsuitesparse-dev", "suitesparse-devel", "cholmod.h umfpack.h suitesparse/"),
    need("GMP", "libgmp-dev", "gmp-devel", "gmp.h gmp.pc -lgmp"),
    need("MPFR", "libmpfr-dev", "mpfr-devel", "mpfr.h mpfr.pc -lmpfr"),
    need("MPC", "libmpc-dev", "libmpc-devel", "mpc.h -lmpc"),
    need("MPI", "libopenmpi-dev", "openmpi-devel", "mpicc mpicxx mpi.h mpi.pc MPI_C.pc"),
    need("Boost", "libboost-all-dev", "boost-devel", "boost/ Boost.pc"),
    need("Eigen", "libeigen3-dev", "eigen3-devel", "Eigen/ eigen3/ Eigen3.pc"),
    need("LLVM", "llvm-dev", "llvm-devel", "llvm-config LLVM.pc"),
    need("Expat", "libexpat1-dev", "expat-devel", "expat.h expat.pc -lexpat"),
    need("PCRE2", "libpcre2-dev", "pcre2-devel", "pcre2.h libpcre2-8.pc"),
    need("ICU", "libicu-dev pkg-config", "libicu-devel pkgconf-pkg-config", "icu-config unicode/ icu-i18n.pc icu-uc.pc -licuuc"),
    need("ncurses", "libncurses-dev", "ncurses-devel", "curses.h ncurses.h -lncurses -lncursesw -ltinfo"),
    need("readline", "libreadline-dev", "readline-devel", "readline/ -lreadline"),
    need("libuuid", "uuid-dev", "libuuid-devel", "uuid/ uuid.pc -luuid"),
    need("libcrypt", "libcrypt-dev", "libxcrypt-devel", "crypt.h -lcrypt"),
    need("libsodium", "libsodium-dev", "libsodium-devel", "sodium.h libsodium.pc -lsodium"),
    need("GPGME", "libgpgme-dev", "gpgme-devel", "gpgme-config gpgme.h gpgme.pc"),
    need("ZeroMQ", "libzmq3-dev", "zeromq-devel", "zmq.h libzmq.pc -lzmq"),
    need("libev", "libev-dev", "libev-devel", "ev.h -lev"),
    need("libpcap", "libpcap-dev", "libpcap-devel", "pcap.h pcap/ libpcap.pc -lpcap"),
    need("Net-SNMP", "libsnmp-dev", "net-snmp-devel", "net-snmp-config net-snmp/"),
    need("libacl", "libacl1-dev", "libacl-devel", "sys/acl.h acl/ -lacl"),
    need("libattr", "libattr1-dev", "libattr-devel", "attr/"),
    need("PAM", "libpam0g-dev", "pam-devel", "security/pam_appl.h -lpam"),
    need("libseccomp", "libseccomp-dev", "libseccomp-devel", "seccomp.h libseccomp.pc"),
    need("CUPS", "libcups2-dev", "cups-devel", "cups/ cups-config"),
    need("LevelDB", "libleveldb-dev", "leveldb-devel", "leveldb/ -lleveldb"),
    need("RocksDB", "librocksdb-dev", "rocksdb-devel", "rocksdb/ -lrocksdb"),
    need("Berkeley DB", "libdb-dev", "libdb-devel", "db.h -ldb"),
    need("Graphviz", "libgraphviz-dev", "graphviz-devel", "graphviz/ libcgraph.pc -lcgraph"),
    need("Tcl and Tk", "tk-dev", "tk-devel", "tk.h tcl.h"),
    need("X11", "libx11-dev", "libX11-devel", "X11/ x11.pc -lX11"),
    need("OpenGL", "libgl-dev", "mesa-libGL-devel", "GL/ gl.pc OpenGL.pc -lGL"),
    need("SDL 2", "libsdl2-dev", "SDL2-devel", "sdl-config sdl2-config SDL.h sdl2.pc"),
    need("poppler", "libpoppler-cpp-dev pkg-config", "poppler-cpp-devel pkgconf-pkg-config", "poppler/ poppler-cpp.pc"),
    need("libmagic", "libmagic-dev", "file-devel", "magic.h"),
    need("libsecret", "libsecret-1-dev", "libsecret-devel", "libsecret-1.pc"),
];

/// A message that tells of a cause by itself.
struct Saying {
    weight: Weight,
    remedy: Remedy,
    /// Any of them, in one line; `\n` stands for the start or the end of it.
    needles: &'static [&'static str],
}

const fn saying(weight: Weight, remedy: Remedy, needles: &'static [&'static str]) -> Saying {
    Saying {
        weight,
        remedy,
        needles,
    }
}

#[rustfmt::skip]
static SAYINGS: &[Saying] = &[
    saying(Decisive, Advice(DISK_FULL), &["No space left on device", "Disk quota exceeded"]),
    saying(Decisive, Advice(OUT_OF_MEMORY), KILLED),
    saying(Decisive, Advice(OFFLINE), UNREACHABLE),
    // Tools and libraries whose absence is told of in other words.
    saying(Decisive, Install("a C compiler"), NO_C_COMPILER),
    saying(Decisive, Install("a C++ compiler"), NO_CXX_COMPILER),
    saying(Decisive, Install("a Fortran compiler"), NO_FORTRAN_COMPILER),
    saying(Decisive, Install("the linker and its companions"), &["cannot find 'ld'"]),
    saying(Decisive, Install("CMake"), NO_CMAKE),
    saying(Decisive, Install("ninja"), &["Could not detect Ninja", "build program corresponding to \"Ninja\""]),
    saying(Decisive, Install("make"), &["build program corresponding to \"Unix Makefiles\""]),
    saying(Decisive, Install("pkg-config"), NO_PKG_CONFIG),
    saying(Tentative, Install("pkg-config"), &["The pkg-config command could not be found"]),
    saying(Decisive, Install(RUST), NO_RUST),
    saying(Decisive, Install("the Protocol Buffers compiler"), &["Could not find `protoc`"]),
    saying(Decisive, Install("libpq (PostgreSQL)"), &["pg_config executable not found"]),
    saying(Decisive, Install("MySQL or MariaDB"), &["mysql_config not found", "Can not find valid pkg-config name"]),
    saying(Decisive, Install("libxml2 and libxslt"), NO_LIBXML2),
    saying(Decisive, Install("OpenSSL"), &["Could not find directory of OpenSSL installation"]),
    saying(Decisive, Install("libcurl"), &["Could not run curl-config"]),
    saying(Decisive, Install("GDAL"), &["A GDAL API version must be specified", "Could not find gdal-config"]),
    saying(Decisive, Install("HDF5"), NO_HDF5),
    saying(Decisive, Install(BLAS), NO_BLAS),
    saying(Decisive, Install("LLVM"), &["Could not find a `llvm-config` binary"]),
    saying(Decisive, PythonHeaders, NO_PYTHON_HEADERS),
    // Rust and CMake that are too old, too new or not set up.
    saying(Decisive, Advice(PYO3_TOO_OLD), &["is newer than PyO3's maximum supported version"]),
    saying(Decisive, Advice(RUST_TOO_OLD), OLD_RUST),
    saying(Decisive, Advice(RUSTUP_WITHOUT_DEFAULT), &["rustup could not choose a version of"]),
    saying(Decisive, Advice(CMAKE_TOO_OLD), &["or higher is required.  You are running version"]),
    saying(Decisive, Advice(CMAKE_TOO_NEW), &["Compatibility with CMake < 3.5 has been removed"]),
    // Versions that come from a version control system.
    saying(Decisive, Advice(SCM_VERSION), &["unable to detect version for"]),
    saying(Decisive, Advice(PBR_VERSION), &["Versioning for this project requires either an sdist"]),
    // Pythons, setuptools and others that the package was not made for.
    saying(Decisive, Advice(PYTHON_2), PYTHON_2_SAYS),
    saying(Decisive, Advice(USE_2TO3), &["use_2to3 is invalid"]),
    saying(Decisive, Advice(NUMPY_DISTUTILS), &["No module named 'numpy.distutils'"]),
    saying(Decisive, Advice(MSVCCOMPILER), &["No module named 'distutils.msvccompiler'"]),
    saying(Decisive, Advice(DISTUTILS), &["No module named 'distutils"]),
    saying(Decisive, Advice(PKG_RESOURCES), &["No module named 'pkg_resources'"]),
    saying(Decisive, Advice(SETUPTOOLS_TEST), &["No module named 'setuptools.command.test'"]),
    saying(Decisive, Advice(SETUPTOOLS_FEATURE), &["cannot import name 'Feature' from 'setuptools'"]),
    saying(Decisive, Advice(OLD_SETUPTOOLS), &["module 'pkgutil' has no attribute 'ImpImporter'"]),
    saying(Decisive, Advice(INVALID_VERSION), &["version.InvalidVersion: Invalid version: "]),
    saying(Decisive, Advice(OLD_PACKAGING), &["unexpected keyword argument 'strip_trailing_zero'"]),
    saying(Decisive, Advice(NO_WHEEL_COMMAND), &["invalid command 'bdist_wheel'"]),
    saying(Decisive, Advice(CYTHON_3), &["AttributeError: cython_sources", "has no attribute 'cython_sources'"]),
    saying(Decisive, Advice(GENERATED_C), OLD_GENERATED_C),
    saying(Decisive, Advice(OLD_CODE), REMOVED_FROM_PYTHON),
    saying(Decisive, Advice(REFUSES_PYTHON), &["Cannot install on Python version"]),
    saying(Decisive, Advice(INCOMPLETE_PYTHON), ABSENT_FROM_PYTHON),
    saying(Decisive, Advice(NUMPY_HEADERS), &["fatal error: numpy/", "fatal error: 'numpy/"]),
    saying(Decisive, Advice(PYBIND11_HEADERS), &["fatal error: pybind11/", "fatal error: 'pybind11/"]),
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
    "does not match extension requirement",
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

const DISK_FULL: &str = "The disk is full (or a quota is used up). Free some space, or set TMPDIR to a directory \
     on a file system that has some.";
const OUT_OF_MEMORY: &str = "The build ran out of memory: a compiler was killed, or got no more. Build fewer packages at \
     once with a lower --jobs, or give the machine or container more memory.";
const OFFLINE: &str = "The build tried to reach the network and could not. Put what it downloads in place beforehand, \
     or build where the network can be reached.";
const PYO3_TOO_OLD: &str = "The package's PyO3 does not know this Python, which is newer. Ask for a newer release of the \
     package, use an older Python, or try PYO3_USE_ABI3_FORWARD_COMPATIBILITY=1 in the environment.";
const RUST_TOO_OLD: &str = "The installed Rust is too old for this package. Install a current one from https://rustup.rs \
     (or `rustup update`), or ask for an older release of the package.";
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

/// Distributions whose modules have other names, by module.
#[rustfmt::skip]
static DISTRIBUTIONS: &[(&str, &str)] = &[
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
static BUILD_MODULES: &[&str] = &[
    "cffi", "cmake", "cppy", "cython", "expandvars", "extension_helpers", "hatchling", "incremental",
    "jinja2", "jupyter_packaging", "mako", "maturin", "mpi4py", "mypy", "mypyc", "nanobind", "ninja",
    "numpy", "packaging", "pbr", "pip", "pkgconfig", "psutil", "pybind11", "pytest", "requests",
    "scipy", "setuptools", "six", "toml", "tomli", "torch", "tqdm", "versioneer", "versioningit",
    "wheel",
];

/// Announcements that a build goes on without what has just failed, which is then not the cause.
static FALLBACKS: &[&str] = &[
    "forcing --without-libyaml",
    "alling back to pure Python",
    "speedups are not enabled",
    "Plain-Python build succeeded",
    "warning: build_ext: building extension",
];

/// Names of files that are compiled only to see whether they can be.
static PROBES: &[&str] = &[
    "conftest.c",
    "_configtest.c",
    "_configtest.cpp",
    "check_libyaml.c",
];

/// `output` with straight quotes, one kind of line end, and a line end at either side.
fn plain(output: &str) -> String {
    let output = output.replace(['\u{2018}', '\u{2019}'], "'");
    format!("\n{}\n", output.replace('\r', "\n"))
}

/// What follows the last announcement that the build goes on without something.
fn after_last_fallback(output: &str) -> &str {
    let last = FALLBACKS
        .iter()
        .filter_map(|fallback| output.rfind(fallback))
        .max();
    let line_end = last.and_then(|start| Some(start + output[start..].find('\n')?));
    line_end.map_or(output, |line_end| &output[line_end..])
}

/// The lines that can tell of the cause, each with the line ends at either side of it.
fn telling_lines(output: &str) -> impl Iterator<Item = &str> {
    let ends = output.match_indices('\n').map(|(position, _)| position);
    let mut file = "";
    ends.clone()
        .zip(ends.skip(1))
        .map(|(start, end)| &output[start..=end])
        .filter(move |line| {
            if line.trim_start().starts_with("File \"") {
                file = line;
            }
            !is_noise(line, file)
        })
}

/// Whether a line is about something that builds survive; `file` is the last one that a traceback
/// named.
fn is_noise(line: &str, file: &str) -> bool {
    let status = line.starts_with("\n-- ");
    let probe = PROBES
        .iter()
        .any(|probe| line.contains(probe) && line.contains("error: "));
    // setuptools compiles all modules to bytecode and ignores those that it cannot.
    let bytecode = line.contains("SyntaxError: ") && file.contains("File \"build/");
    status || probe || bytecode
}

/// The cause that one line tells of, if any.
fn diagnose(line: &str) -> Option<(Weight, Cause<'_>)> {
    missing(line, known)
        .or_else(|| said(line))
        .or_else(|| missing(line, unknown))
}

fn said(line: &str) -> Option<(Weight, Cause<'_>)> {
    let saying = SAYINGS
        .iter()
        .find(|saying| saying.needles.iter().any(|needle| line.contains(needle)))?;
    Some((saying.weight, Cause::Known(saying.remedy)))
}

/// The first thing that the line names as missing and that `classify` takes.
fn missing<'a>(
    line: &'a str,
    classify: impl Fn(Kind, &'a str) -> Option<Cause<'a>>,
) -> Option<(Weight, Cause<'a>)> {
    PHRASES.iter().find_map(|phrase| {
        let cause = classify(phrase.kind, captured(line, phrase)?)?;
        Some((phrase.weight, cause))
    })
}

/// The name that `line` has in the place where `phrase` expects one.
fn captured<'a>(line: &'a str, phrase: &Phrase) -> Option<&'a str> {
    let (_, rest) = line.split_once(phrase.before)?;
    let text = match phrase.after {
        "" => rest,
        after => rest.split_once(after)?.0,
    };
    let text = text.trim();
    // A shell names itself and the number of the line before the program: `sh: 1: gcc: not found`.
    let name = match phrase.kind {
        Program => text.split_whitespace().next_back()?,
        _ => text,
    };
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-+./".contains(letter);
    (!name.is_empty() && name.chars().all(is_plain)).then_some(name)
}

/// Looks a name up in the tables.
fn known(kind: Kind, name: &str) -> Option<Cause<'_>> {
    let is_missing = |need: &&Need| need.signs.split(' ').any(|sign| is_sign(sign, kind, name));
    TOOLS
        .iter()
        .chain(LIBRARIES)
        .find(is_missing)
        .map(Cause::Need)
}

/// Whether `sign` (see [`Need`]) is what a missing `name` looks like.
fn is_sign(sign: &str, kind: Kind, name: &str) -> bool {
    match kind {
        Program => program_name(name)
            .strip_suffix(sign)
            .is_some_and(is_platform),
        Header => name == sign || (sign.ends_with('/') && name.starts_with(sign)),
        Package | Dependency => sign
            .strip_suffix(".pc")
            .is_some_and(|package| package.eq_ignore_ascii_case(name)),
        Library => sign.strip_prefix("-l") == Some(name),
        Module => false,
    }
}

/// Whether `prefix` is nothing, or what the name of a cross compiler starts with.
fn is_platform(prefix: &str) -> bool {
    prefix.is_empty() || (prefix.contains("-linux-") && prefix.ends_with('-'))
}

/// A program without its directory and the version at its end: `gcc` for `/usr/bin/gcc-12`.
fn program_name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('-') {
        Some((name, version)) if version.chars().all(|letter| letter.is_ascii_digit()) => name,
        _ => name,
    }
}

/// Takes names that are in no table, where something can be said about them nevertheless.
fn unknown(kind: Kind, name: &str) -> Option<Cause<'_>> {
    let is_taken = match kind {
        Program | Dependency => false,
        Header => is_header(name),
        Package | Library => true,
        Module => is_module(name),
    };
    is_taken.then_some(Cause::Missing(kind, name))
}

/// Whether `name` can be a header of another package than the one that is built.
fn is_header(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let is_header = match file.rsplit_once('.') {
        Some((_, suffix)) => ["h", "hh", "hpp", "hxx"].contains(&suffix),
        None => !file.is_empty(),
    };
    is_header && !name.starts_with(['.', '/'])
}

/// Whether a distribution can bring the module. Where a package has the one but not the other of its
/// modules, as with `setuptools.extern`, the version is wrong.
fn is_module(name: &str) -> bool {
    let is_identifier = name
        .chars()
        .all(|letter| letter.is_alphanumeric() || letter == '_');
    is_identifier || DISTRIBUTIONS.iter().any(|(module, _)| *module == name)
}

fn explain(cause: Cause<'_>, output: &str) -> String {
    match cause {
        Cause::Known(Advice(text)) => text.to_owned(),
        Cause::Known(Install(name)) => TOOLS
            .iter()
            .chain(LIBRARIES)
            .find(|need| need.name == name)
            .map_or_else(|| format!("The build needs {name}: install it."), install),
        Cause::Known(PythonHeaders) => install_python_headers(output),
        Cause::Need(need) => install(need),
        Cause::Missing(Module, module) => provide_module(module),
        Cause::Missing(kind, name) => look_for(kind, name),
    }
}

fn install(need: &Need) -> String {
    let is_library = LIBRARIES.iter().any(|library| library.name == need.name);
    let what = if is_library {
        "the development files of "
    } else {
        ""
    };
    let packages = install_command(need.debian, need.fedora);
    format!(
        "The build needs {what}{}, which it did not find. {packages}",
        need.name
    )
}

fn install_command(debian: &str, fedora: &str) -> String {
    format!(
        "Install with `apt-get install {debian}` (Debian, Ubuntu) or `dnf install {fedora}` (Fedora, \
         RHEL, UBI)."
    )
}

/// Names the packages for the version of Python that the compiler was asked to use, if `output`
/// shows it.
fn install_python_headers(output: &str) -> String {
    let minor = output.split("include/python3.").skip(1).find_map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
        (end > 0).then_some(&rest[..end])
    });
    let version = minor.map_or_else(|| "3".to_owned(), |minor| format!("3.{minor}"));
    let [debian, fedora] = ["dev", "devel"].map(|suffix| format!("python{version}-{suffix}"));
    let packages = install_command(&debian, &fedora);
    format!("The build needs the headers of Python (`Python.h`), which it did not find. {packages}")
}

fn provide_module(module: &str) -> String {
    let listed = DISTRIBUTIONS.iter().find(|(name, _)| *name == module);
    let distribution = match listed {
        Some((_, distribution)) => format!("`{distribution}`"),
        None if BUILD_MODULES.contains(&module) => format!("`{module}`"),
        None => format!("the distribution that has it (mostly of the same name, `{module}`)"),
    };
    format!(
        "The build imports `{module}`, which its environment does not have. Install \
         {distribution} and the other build requirements beside Python and build with \
         --no-build-isolation."
    )
}

/// Names the searches that find the package that has what is missing.
fn look_for(kind: Kind, name: &str) -> String {
    let (what, debian, fedora) = match kind {
        Library => (
            "library",
            format!("lib{name}.so"),
            format!("*/lib{name}.so"),
        ),
        Package => (
            "library",
            format!("{name}.pc"),
            format!("pkgconfig({name})"),
        ),
        _ => ("header", name.to_owned(), format!("*/{name}")),
    };
    format!(
        "The build did not find the {what} `{name}`. Look for the package that has it with \
         `apt-file search {debian}` (Debian, Ubuntu) or `dnf provides '{fedora}'` (Fedora, RHEL, UBI), \
         and install that."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Real outputs, shortened, and what their hints must say.
    #[rustfmt::skip]
    static OUTPUTS: &[(&str, &[&str])] = &[
        // cx_Oracle, setuptools 65.
        (r"running build_ext
building 'cx_Oracle' extension
gcc -pthread -Wsign-compare -DNDEBUG -g -fwrapv -O3 -Wall -fPIC -I/usr/local/include/python3.11 -c odpi/src/dpiConn.c -o build/temp.linux-x86_64-cpython-311/odpi/src/dpiConn.o
error: command 'gcc' failed: No such file or directory
", &["C compiler", "build-essential", "dnf install gcc`"]),
        // psycopg2 on Debian's Python.
        (r"building 'psycopg2._psycopg' extension
creating build/temp.linux-x86_64-cpython-312/psycopg
x86_64-linux-gnu-gcc -fno-strict-overflow -Wsign-compare -DNDEBUG -g -O2 -Wall -fPIC -I. -c psycopg/adapter_asis.c
Traceback (most recent call last):
  File '/tmp/b/setuptools/_distutils/spawn.py', line 63, in spawn
FileNotFoundError: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'

The above exception was the direct cause of the following exception:

distutils.errors.DistutilsExecError: command 'x86_64-linux-gnu-gcc' failed: No such file or directory
", &["C compiler", "build-essential"]),
        ("unable to execute 'gcc-12': No such file or directory\nerror: command 'gcc-12' failed with exit status 1\n", &["C compiler"]),
        // NumPy with meson.
        (r#"The Meson build system
Version: 1.5.2
Build type: native build
Project name: NumPy
Project version: 2.2.5

../meson.build:1:0: ERROR: Unknown compiler(s): [['cc'], ['gcc'], ['clang'], ['nvc'], ['pgcc'], ['icc'], ['icx']]
The following exception(s) were encountered:
Running `cc --version` gave "[Errno 2] No such file or directory: 'cc'"
Running `gcc --version` gave "[Errno 2] No such file or directory: 'gcc'"
Running `clang --version` gave "[Errno 2] No such file or directory: 'clang'"
"#, &["C compiler"]),
        ("../meson.build:1:0: ERROR: Unknown compiler(s): [['c++'], ['g++'], ['clang++']]\n", &["C++ compiler", "gcc-c++"]),
        ("../../scipy/meson.build:88:0: ERROR: Unknown compiler(s): [['gfortran'], ['flang'], ['nvfortran']]\nRunning `gfortran --version` gave \"[Errno 2] No such file or directory: 'gfortran'\"\n", &["Fortran", "gcc-gfortran"]),
        ("  Compiling proc-macro2 v1.0.86\nerror: linker `cc` not found\n  |\n  = note: No such file or directory (os error 2)\n", &["C compiler"]),
        ("gcc: fatal error: cannot execute \u{2018}cc1plus\u{2019}: execvp: No such file or directory\ncompilation terminated.\nerror: command '/usr/bin/gcc' failed with exit code 1\n", &["C++ compiler", "`apt-get install g++`"]),
        (r#"*** scikit-build-core 0.8.2 using CMake 3.28.3 (wheel)
*** Configuring CMake...
-- The C compiler identification is GNU 8.3.0
-- The CXX compiler identification is unknown
CMake Error at CMakeLists.txt:18 (project):
  No CMAKE_CXX_COMPILER could be found.

  Tell CMake where to find the compiler by setting either the environment
  variable "CXX" or the CMake cache entry CMAKE_CXX_COMPILER to the full path
"#, &["C++ compiler"]),
        (r#"CMake Error: CMake was unable to find a build program corresponding to "Unix Makefiles".  CMAKE_MAKE_PROGRAM is not set.  You probably need to select a different build tool.
CMake Error: CMAKE_C_COMPILER not set, after EnableLanguage
"#, &["make", "apt-get install make"]),
        // Headers of Python.
        (r"gcc -fPIC -I/usr/include/python3.11 -c src/_portaudiomodule.c -o build/temp.linux-x86_64-cpython-311/src/_portaudiomodule.o
src/_portaudiomodule.c:28:10: fatal error: Python.h: No such file or directory
   28 | #include <Python.h>
      |          ^~~~~~~~~~
compilation terminated.
error: command '/usr/bin/gcc' failed with exit code 1
", &["Python.h", "python3.11-dev", "python3.11-devel"]),
        ("psutil/_psutil_common.c:9:10: fatal error: 'Python.h' file not found\n", &["python3-dev", "python3-devel"]),
        // Libraries.
        (r"running egg_info
writing pip-egg-info/psycopg2.egg-info/PKG-INFO

Error: pg_config executable not found.

pg_config is required to build psycopg2 from source.  Please add the directory
containing pg_config to the $PATH or specify the full executable path with the
option:

    python setup.py build_ext --pg-config /path/to/pg_config build ...
", &["libpq-dev", "libpq-devel"]),
        (r"/bin/sh: 1: pkg-config: not found
/bin/sh: 1: pkg-config: not found
Trying pkg-config --exists mysqlclient
Command 'pkg-config --exists mysqlclient' returned non-zero exit status 127.
Trying pkg-config --exists mariadb
Command 'pkg-config --exists mariadb' returned non-zero exit status 127.
Traceback (most recent call last):
  File '<string>', line 154, in get_options
Exception: Can not find valid pkg-config name.
Specify MYSQLCLIENT_CFLAGS and MYSQLCLIENT_LDFLAGS env vars manually
", &["default-libmysqlclient-dev pkg-config", "mariadb-connector-c-devel"]),
        ("/bin/sh: 1: mysql_config: not found\n/bin/sh: 1: mariadb_config: not found\n  File \"/tmp/b/setup_posix.py\", line 31, in mysql_config\nOSError: mysql_config not found\n", &["default-libmysqlclient-dev"]),
        (r"Building lxml version 4.6.4.
Building without Cython.
Error: Please make sure the libxml2 and libxslt development packages are installed.
", &["libxml2-dev libxslt1-dev", "libxml2-devel libxslt-devel"]),
        (r"ERROR: b'/bin/sh: 1: xslt-config: not found\n'
** make sure the development packages of libxml2 and libxslt are installed **
Using build configuration of libxslt
src/lxml/includes/etree_defs.h:14:10: fatal error: libxml/xmlversion.h: No such file or directory
", &["libxslt1-dev"]),
        ("c/_cffi_backend.c:15:10: fatal error: ffi.h: No such file or directory\n   15 | #include <ffi.h>\n", &["libffi-dev", "libffi-devel"]),
        ("Package libffi was not found in the pkg-config search path.\nPerhaps you should add the directory containing `libffi.pc'\nNo package 'libffi' found\n", &["libffi-dev"]),
        ("src/foo.c:4:10: fatal error: openssl/opensslv.h: No such file or directory\n", &["libssl-dev", "openssl-devel"]),
        (r"  run pkg_config fail: Could not run `PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 pkg-config --libs --cflags openssl`
  The pkg-config command could not be found.

  Most likely, you need to install a pkg-config package for your OS.
  --- stderr


  Could not find directory of OpenSSL installation, and this `-sys` crate cannot
  proceed without this knowledge. If OpenSSL is installed and this crate had
", &["libssl-dev pkg-config"]),
        (r"running build_ext

The headers or library files could not be found for jpeg,
a required dependency when compiling Pillow from source.

Please see the install instructions at:
   https://pillow.readthedocs.io/en/latest/installation.html

Traceback (most recent call last):
  File '<string>', line 989, in <module>
__main__.RequiredDependencyException: jpeg
", &["libjpeg-dev", "libjpeg-turbo-devel"]),
        ("The headers or library files could not be found for zlib,\na required dependency when compiling Pillow from source.\n", &["zlib1g-dev", "zlib-devel"]),
        ("Modules/LDAPObject.h:7:10: fatal error: lber.h: No such file or directory\n", &["libldap2-dev libsasl2-dev", "openldap-devel"]),
        ("sasl/saslwrapper.h:22:10: fatal error: sasl/sasl.h: No such file or directory\n", &["libsasl2-dev", "cyrus-sasl-devel"]),
        ("/bin/sh: 1: krb5-config: not found\nTraceback (most recent call last):\nsubprocess.CalledProcessError: Command 'krb5-config --libs gssapi' returned non-zero exit status 127.\n", &["libkrb5-dev", "krb5-devel"]),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'curl-config'\n\nDuring handling of the above exception, another exception occurred:\n\n__main__.ConfigurationError: Could not run curl-config: [Errno 2] No such file or directory: 'curl-config'\n", &["libcurl4-openssl-dev", "libcurl-devel"]),
        (r#"Project name: pycairo
Project version: 1.28.0
C compiler for the host machine: cc (gcc 15.1.1 "cc (GCC) 15.1.1")
Did not find pkg-config by name 'pkg-config'
Found pkg-config: NO
Did not find CMake 'cmake'
Found CMake: NO
Run-time dependency cairo found: NO (tried pkgconfig and cmake)

../cairo/meson.build:31:12: ERROR: Dependency "cairo" not found, tried pkgconfig and cmake
"#, &["libcairo2-dev pkg-config", "cairo-devel"]),
        ("Package cairo was not found in the pkg-config search path.\nPackage 'cairo', required by 'virtual:world', not found\n", &["libcairo2-dev"]),
        ("../meson.build:31:12: ERROR: Dependency lookup for cairo with method 'pkgconfig' failed: Pkg-config for machine host machine not found. Giving up.\n", &["libcairo2-dev pkg-config"]),
        ("../meson.build:3:12: ERROR: Dependency lookup for whatever with method 'pkgconfig' failed: Pkg-config for machine host machine not found. Giving up.\n", &["needs pkg-config"]),
        ("A GDAL API version must be specified. Provide a path to gdal-config using a GDAL_CONFIG environment variable or use a GDAL_VERSION environment variable.\n", &["libgdal-dev", "gdal-devel"]),
        ("src/_geos.c:1:10: fatal error: geos_c.h: No such file or directory\n", &["libgeos-dev"]),
        ("running build_ext\nLoading library to get build settings and version: libhdf5.so\nerror: Unable to load dependency HDF5, make sure HDF5 is installed properly\n", &["libhdf5-dev"]),
        ("src/pyaudio/device_api.c:9:10: fatal error: portaudio.h: No such file or directory\n", &["portaudio19-dev"]),
        ("snappy/snappymodule.cc:33:10: fatal error: snappy-c.h: No such file or directory\n", &["libsnappy-dev"]),
        ("/tmp/b/src/confluent_kafka.h:23:10: fatal error: librdkafka/rdkafka.h: No such file or directory\n", &["librdkafka-dev"]),
        ("In file included from src/buffer.cpp:12:\nsrc/pyodbc.h:56:10: fatal error: sql.h: No such file or directory\n", &["unixodbc-dev", "unixODBC-devel"]),
        ("systemd/_daemon.c:24:10: fatal error: systemd/sd-daemon.h: No such file or directory\n", &["libsystemd-dev"]),
        ("Package 'dbus-1', required by 'virtual:world', not found\n", &["libdbus-1-dev"]),
        ("pygit2/decl.h:1:10: fatal error: git2.h: No such file or directory\n", &["libgit2-dev"]),
        ("CMake Error at /usr/share/cmake/Modules/FindPackageHandleStandardArgs.cmake:230 (message):\n  Could NOT find OpenSSL, try to set the path to OpenSSL root folder in the\n", &["libssl-dev"]),
        ("  Could NOT find BLAS (missing: BLAS_LIBRARIES)\n", &["libopenblas-dev"]),
        ("../meson.build:42:0: ERROR: Dependency \"OpenBLAS\" not found, tried pkgconfig\n", &["libopenblas-dev", "openblas-devel"]),
        ("numpy.distutils.system_info.NotFoundError: No BLAS/LAPACK libraries found.\n", &["openblas"]),
        ("error: library dfftpack has Fortran sources but no Fortran compiler found\n", &["gfortran"]),
        // Something that no table has.
        ("src/wrap.c:9:10: fatal error: frobnicate/core.h: No such file or directory\n", &["apt-file search frobnicate/core.h", "dnf provides '*/frobnicate/core.h'"]),
        ("Package 'frobnicate', required by 'virtual:world', not found\n", &["apt-file search frobnicate.pc", "pkgconfig(frobnicate)"]),
        ("/usr/bin/ld: cannot find -lfrobnicate: No such file or directory\ncollect2: error: ld returned 1 exit status\n", &["libfrobnicate.so"]),
        // Tools.
        ("FileNotFoundError: [Errno 2] No such file or directory: 'cmake'\n", &["cmake"]),
        ("CMake must be installed to build dlib\n", &["needs CMake"]),
        ("Problem with the CMake installation, aborting build. CMake executable is cmake\n", &["needs CMake"]),
        ("ERROR: Could not detect Ninja v1.8.2 or newer\n", &["ninja-build"]),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'git'\n", &["apt-get install git"]),
        ("unable to execute 'swig': No such file or directory\nerror: command 'swig' failed with exit status 1\n", &["swig"]),
        ("/bin/sh: line 1: make: command not found\n", &["apt-get install make"]),
        (r"error: can't find Rust compiler

If you are using an outdated pip version, it is possible a prebuilt wheel is available for this package but pip is not able to install from it.

This package requires Rust >=1.41.0.
", &["rustup.rs", "apt-get install cargo", "dnf install cargo"]),
        ("Cargo, the Rust package manager, is not installed or is not on PATH.\nThis package requires Rust and Cargo to compile extensions. Install it through\nthe system's package manager or via https://rustup.rs/\n\nChecking for Rust toolchain....\n", &["rustup.rs"]),
        ("Rust not found, installing into a temporary directory\nhttpcore.ConnectError: [Errno -3] Temporary failure in name resolution\n", &["rustup.rs"]),
        (r"error: failed to parse manifest at `/cargo/registry/src/nutype-0.6.2/Cargo.toml`

Caused by:
  feature `edition2024` is required

  The package requires the Cargo feature called `edition2024`, but that feature is not stabilized in this version of Cargo (1.75.0).
", &["Rust is too old", "rustup"]),
        ("error: package `uni-db v0.1.0` cannot be built because it requires rustc 1.75 or newer, while the currently active rustc version is 1.70.0\n", &["too old"]),
        ("error: rustc 1.75.0 is not supported by the following packages:\n  zip@2.1.3 requires rustc 1.77\n", &["too old"]),
        ("error: Rust 1.48.0 does not match extension requirement >=1.56.0\n", &["too old"]),
        ("  Caused by:\n    lock file version 4 requires `-Znext-lockfile-bump`\n", &["too old"]),
        ("  error: the configured Python interpreter version (3.14) is newer than PyO3's maximum supported version (3.13)\n", &["PYO3_USE_ABI3_FORWARD_COMPATIBILITY", "older Python"]),
        ("  Compatibility with CMake < 3.5 has been removed from CMake.\n", &["CMAKE_POLICY_VERSION_MINIMUM", "cmake<4"]),
        ("LookupError: setuptools-scm was unable to detect version for /tmp/b.\n\nMake sure you're either building from a fully intact git repository or PyPI tarballs.\n", &["SETUPTOOLS_SCM_PRETEND_VERSION", "git"]),
        // Pythons.
        (r#"Traceback (most recent call last):
  File "<string>", line 2, in <module>
  File "/tmp/b/setup.py", line 12
    print "building"
    ^^^^^^^^^^^^^^^^
SyntaxError: Missing parentheses in call to 'print'. Did you mean print(...)?
"#, &["Python 2"]),
        ("error in suds setup command: use_2to3 is invalid.\n", &["2to3", "setuptools<58", "--build-constraint"]),
        ("  File \"<string>\", line 19, in <module>\nModuleNotFoundError: No module named 'distutils'\n", &["distutils", "Python 3.11", "setuptools"]),
        ("AttributeError: module 'pkgutil' has no attribute 'ImpImporter'. Did you mean: 'zipimporter'?\n", &["setuptools", "Python 3.11"]),
        ("AttributeError: module 'configparser' has no attribute 'SafeConfigParser'. Did you mean: 'RawConfigParser'?\n", &["older Python"]),
        ("  File \"<string>\", line 5, in <module>\nModuleNotFoundError: No module named 'pkg_resources'\n", &["setuptools<81", "--build-constraint"]),
        (r#"  File "/tmp/b/setuptools/_distutils/cmd.py", line 107, in __getattr__
    raise AttributeError(attr)
AttributeError: cython_sources
"#, &["cython<3", "--build-constraint"]),
        ("    import numpy.distutils.core\nModuleNotFoundError: No module named 'numpy.distutils'\n", &["numpy.distutils", "3.11"]),
        ("yarl/_quoting_c.c:196:12: fatal error: longintrepr.h: No such file or directory\n", &["older Python"]),
        ("yarl.c:9:9: error: \u{2018}PyLongObject\u{2019} has no member named \u{2018}ob_digit\u{2019}\n", &["older Python"]),
        // Build requirements that nobody declared.
        ("  File \"<string>\", line 3, in <module>\nModuleNotFoundError: No module named 'numpy'\n", &["`numpy`", "--no-build-isolation"]),
        ("ModuleNotFoundError: No module named 'skbuild'\n", &["`scikit-build`", "--no-build-isolation"]),
        ("ImportError: No module named Cython\n", &["`Cython`"]),
        ("/opt/venv/bin/python: No module named pip\n", &["`pip`"]),
        ("ModuleNotFoundError: No module named 'frobnicate'\n", &["`frobnicate`", "mostly of the same name"]),
        ("src/fast.c:1:10: fatal error: numpy/arrayobject.h: No such file or directory\n", &["NumPy", "--no-build-isolation"]),
        // The machine.
        ("/usr/bin/ld: final link failed: No space left on device\n", &["disk is full"]),
        ("c++: fatal error: Killed signal terminated program cc1plus\ncompilation terminated.\nerror: command '/usr/bin/c++' failed with exit code 1\n", &["memory", "--jobs"]),
        ("make[2]: *** [CMakeFiles/x.dir/build.make:76: x.o] Killed\n", &["memory", "--jobs"]),
        ("cc1plus: out of memory allocating 65536 bytes after a total of 12345 bytes\n", &["memory"]),
        ("  process didn't exit successfully: `rustc --crate-name x` (signal: 9, SIGKILL: kill)\n", &["memory"]),
        ("OSError: [Errno 12] Cannot allocate memory\n", &["memory"]),
        ("urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>\n", &["network"]),
        ("OSError: [Errno 101] Network is unreachable\n", &["network"]),
        // PyYAML does without libyaml: what counts is what comes after.
        (r"build/temp.linux-x86_64-cpython-311/check_libyaml.c:2:10: fatal error: yaml.h: No such file or directory
    2 | #include <yaml.h>
compilation terminated.

libyaml is not found or a compiler error: forcing --without-libyaml
AttributeError: cython_sources
", &["cython<3"]),
        ("yaml/_yaml.c:706:10: fatal error: yaml.h: No such file or directory\nerror: command '/usr/bin/gcc' failed with exit code 1\n", &["libyaml-dev"]),
    ];

    #[rustfmt::skip]
    static UNEXPLAINED: &[&str] = &[
        "",
        "\n\r\n",
        "Traceback (most recent call last):\n  File \"<string>\", line 2, in <module>\n  File \"/tmp/b/setup.py\", line 3, in <module>\n    assert answer == 42\nAssertionError\n",
        "src/a.c:3:5: error: expected ';' before 'return'\nerror: command '/usr/bin/gcc' failed with exit code 1\n",
        "FileNotFoundError: [Errno 2] No such file or directory: 'README.md'\n",
        "cc1plus: fatal error: src/missing.cpp: No such file or directory\n",
        "src/a.c:1:10: fatal error: ../generated/a.h: No such file or directory\n",
        "_configtest.c:1:10: fatal error: endian.hpp: No such file or directory\n_configtest.c:9:10: fatal error: Python.h: No such file or directory\n",
        "yaml/_yaml.c:706:10: fatal error: yaml.h: No such file or directory\nError compiling module, falling back to pure Python\nValueError: no\n",
        "-- Could NOT find ZLIB (missing: ZLIB_LIBRARY ZLIB_INCLUDE_DIR)\n-- Configuring done\n",
        "  File \"build/bdist.linux-x86_64/wheel/future/old.py\", line 3\n    print \"x\"\n    ^^^^^^^^^\nSyntaxError: Missing parentheses in call to 'print'. Did you mean print(...)?\nValueError: no\n",
        "ModuleNotFoundError: No module named 'setuptools.extern'\n",
        "Program gfortran found: NO\nCompiling with gcc, g++ and cargo\n",
    ];

    #[test]
    fn well_known_causes_have_hints() {
        for (output, expected) in OUTPUTS {
            let hint = hint(output).unwrap_or_else(|| panic!("no hint for {output}"));
            for words in *expected {
                assert!(
                    hint.contains(words),
                    "{words:?} is not in {hint:?} for {output}"
                );
            }
        }
    }

    #[test]
    fn other_outputs_have_none() {
        for output in UNEXPLAINED {
            assert_eq!(hint(output), None, "{output}");
        }
    }

    #[test]
    fn the_first_decisive_cause_wins() {
        let hint_of = |parts: &[&str]| hint(&parts.concat()).unwrap();
        let header = "a.c:1:10: fatal error: zlib.h: No such file or directory\n";
        let module = "ModuleNotFoundError: No module named 'numpy'\n";
        let shell = "/bin/sh: 1: pg_config: not found\n";
        assert!(hint_of(&[header, module]).contains("zlib1g-dev"));
        assert!(hint_of(&[module, header]).contains("`numpy`"));
        assert!(hint_of(&[shell, header]).contains("zlib1g-dev"));
        assert!(hint_of(&[shell, "Error 127\n"]).contains("libpq-dev"));
    }

    #[test]
    fn a_long_log_does_not_hide_the_cause() {
        let log = "gcc -O2 -fPIC -I/usr/include/python3.12 -c a.c -o build/a.o\n".repeat(1000);
        let error = "a.c:1:10: fatal error: Python.h: No such file or directory\n";
        assert!(
            hint(&format!("{log}{error}{log}"))
                .unwrap()
                .contains("python3.12-dev")
        );
        assert_eq!(hint(&log), None);
    }

    #[test]
    fn hints_are_one_paragraph() {
        for (output, _) in OUTPUTS {
            let hint = hint(output).unwrap();
            assert!(
                hint.len() < 500 && !hint.contains(['\n', '{', '}']),
                "{hint}"
            );
            assert!(!hint.contains("  ") && hint.ends_with('.'), "{hint}");
        }
    }

    #[test]
    fn sayings_name_needs_that_exist() {
        for saying in SAYINGS {
            if let Install(name) = saying.remedy {
                assert!(
                    TOOLS.iter().chain(LIBRARIES).any(|need| need.name == name),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn every_sign_belongs_to_one_need() {
        let signs = TOOLS
            .iter()
            .chain(LIBRARIES)
            .flat_map(|need| need.signs.split(' '));
        let mut seen = std::collections::HashSet::new();
        for sign in signs {
            assert!(!sign.is_empty() && seen.insert(sign), "{sign:?}");
        }
    }

    #[test]
    fn no_saying_is_hidden_by_one_before() {
        for (position, saying) in SAYINGS.iter().enumerate() {
            for needle in saying.needles {
                let first = SAYINGS
                    .iter()
                    .position(|other| other.needles.iter().any(|part| needle.contains(part)));
                assert_eq!(first, Some(position), "{needle}");
            }
        }
    }

    /// Many starts and ends of every output, and outputs shuffled into each other.
    #[test]
    fn never_panics() {
        let all: Vec<&str> = OUTPUTS
            .iter()
            .map(|(output, _)| *output)
            .chain(UNEXPLAINED.iter().copied())
            .collect();
        for output in &all {
            for (position, _) in output.char_indices().step_by(9) {
                _ = (hint(&output[..position]), hint(&output[position..]));
            }
        }
        let mut state: usize = 42;
        let mut next = |bound: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let words: Vec<&str> = all
            .iter()
            .flat_map(|output| output.split_inclusive([' ', '\'', ':', '\n', '"']))
            .collect();
        for _ in 0..500 {
            let text: String = (0..next(60)).map(|_| words[next(words.len())]).collect();
            _ = hint(&text);
        }
    }
}
