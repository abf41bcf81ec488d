//! What failed builds said.

/// Real outputs, shortened, and what their hints must say.
#[rustfmt::skip]
pub(super) static OUTPUTS: &[(&str, &[&str])] = &[
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
    // Autotools, gettext, Node and Go.
    ("./autogen.sh: 3: autoreconf: not found\nerror: command './autogen.sh' failed with exit code 127\n", &["autoconf automake libtool"]),
    ("FileNotFoundError: [Errno 2] No such file or directory: 'autoreconf'\n", &["autoconf automake libtool"]),
    ("Can't exec \"libtoolize\": No such file or directory at /usr/share/autoconf/Autom4te/FileUtils.pm line 293.\nautoreconf: error: libtoolize failed with exit status: 2\n", &["autoconf automake libtool"]),
    ("Can't exec \"autopoint\": No such file or directory at /usr/bin/autoreconf line 345.\nautoreconf: failed to run autopoint: No such file or directory\n", &["apt-get install gettext`"]),
    ("/build/missing: line 81: aclocal-1.16: command not found\nWARNING: 'aclocal-1.16' is missing on your system.\n", &["autoconf automake libtool"]),
    ("./bootstrap.sh: line 5: autoreconf: command not found\n", &["autoconf automake libtool"]),
    ("configure: error: The msgfmt command is required to build; please install gettext\n", &["apt-get install gettext`"]),
    ("FileNotFoundError: [Errno 2] No such file or directory: 'yarn'\n", &["yarnpkg"]),
    ("go: errors parsing go.mod:\n/build/go.mod:3: invalid go version '1.22.0': must match format 1.23\n", &["Go is too old"]),
    ("go: go.mod requires go >= 1.24.0 (running go 1.19.8; GOTOOLCHAIN=local)\n", &["Go is too old"]),
    ("note: module requires Go 1.21\n", &["Go is too old"]),
    ("configure.ac:12: error: possibly undefined macro: AC_PROG_LIBTOOL\n      If this token and others are legitimate, please use m4_pattern_allow.\nautoreconf: error: /usr/bin/autoconf failed with exit status: 1\n", &["libtool"]),
    ("Makefile.am:3: error: Libtool library used but 'LIBTOOL' is undefined\n", &["libtool"]),
    ("FileNotFoundError: [Errno 2] No such file or directory: 'msgfmt'\n", &["apt-get install gettext`"]),
    ("configure.ac:40: error: possibly undefined macro: AM_GNU_GETTEXT\n", &["gettext"]),
    ("/bin/sh: 1: npm: not found\nsubprocess.CalledProcessError: Command 'npm ci' returned non-zero exit status 127.\n", &["nodejs npm"]),
    ("FileNotFoundError: [Errno 2] No such file or directory: 'npm'\n", &["nodejs npm"]),
    ("/usr/bin/env: 'node': No such file or directory\n", &["nodejs npm"]),
    ("error: command 'go' failed: No such file or directory\n", &["apt-get install golang`"]),
    ("build failed: exec: \"go\": executable file not found in $PATH\n", &["apt-get install golang`"]),
    ("error: package `clap_lex v1.0.0 (/registry/src/clap_lex-1.0.0)` cannot be built because it requires rustc 1.85 or newer, while the currently active rustc version is 1.63.0\n", &["too old", "rustup"]),
    ("error[E0658]: use of unstable library feature 'once_cell_try'\n", &["too old", "rustup"]),
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
    // Undeclared build requirements.
    ("  File \"<string>\", line 3, in <module>\nModuleNotFoundError: No module named 'numpy'\n", &["`numpy`", "--no-build-isolation"]),
    ("ModuleNotFoundError: No module named 'skbuild'\n", &["`scikit-build`", "--no-build-isolation"]),
    ("ImportError: No module named Cython\n", &["`Cython`"]),
    ("/opt/venv/bin/python: No module named pip\n", &["`pip`"]),
    ("ModuleNotFoundError: No module named 'frobnicate'\n", &["`frobnicate`", "mostly of the same name"]),
    ("src/fast.c:1:10: fatal error: numpy/arrayobject.h: No such file or directory\n", &["NumPy", "--no-build-isolation"]),
    // The machine.
    ("AttributeError: module 'setuptools.dist' has no attribute '_get_unpatched'\n", &["setuptools", "--build-constraint"]),
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
pub(super) static UNEXPLAINED: &[&str] = &[
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
