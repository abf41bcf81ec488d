"""Reads cases from the directories named in `cases.json`, and prints how pip parses each."""

import json, logging, os, sys
import pip
logging.disable(logging.CRITICAL)
version = tuple(int(part) for part in pip.__version__.split(".")[:2])
assert version >= (26, 3), version

def control(value, names):
    return {name: sorted(getattr(value, name)) for name in names}

def requirements(case):
    from optparse import Values
    from pip._internal.cli import cmdoptions
    from pip._internal.index.collector import LinkCollector
    from pip._internal.index.package_finder import PackageFinder
    from pip._internal.models.format_control import FormatControl
    from pip._internal.models.release_control import ReleaseControl
    from pip._internal.models.search_scope import SearchScope
    from pip._internal.models.selection_prefs import SelectionPreferences
    from pip._internal.network.session import PipSession
    from pip._internal.req import req_file
    # pip has one list for all uses of this option in a process, so that cases would mix.
    feature = cmdoptions.use_new_feature
    fresh = lambda: feature.func(*feature.args, **{**feature.keywords, "default": []})
    known = req_file.SUPPORTED_OPTIONS
    req_file.SUPPORTED_OPTIONS = [fresh if it is feature else it for it in known]
    session = PipSession()
    scope = SearchScope.create(find_links=[], index_urls=[], no_index=False)
    finder = PackageFinder.create(
        link_collector=LinkCollector(session=session, search_scope=scope),
        selection_prefs=SelectionPreferences(
            allow_yanked=True,
            format_control=FormatControl(),
            release_control=ReleaseControl(),
        ),
    )
    options = Values({"require_hashes": False, "no_require_hashes": False, "features_enabled": []})
    try:
        lines = list(req_file.parse_requirements(case["file"], session, finder, options, case["constraint"]))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    line = lambda it: {
        "text": it.requirement.strip(),
        "editable": it.is_editable,
        "location": it.line_source,
        "hashes": it.options.get("hashes", {}),
        "config_settings": it.options.get("config_settings", {}),
    }
    return {
        "requirements": [line(it) for it in lines if not it.constraint],
        "constraints": [line(it) for it in lines if it.constraint],
        "index_urls": finder.index_urls,
        "no_index": finder.search_scope.no_index,
        "find_links": finder.find_links,
        "formats": control(finder.format_control, ["no_binary", "only_binary"]),
        "releases": control(finder.release_control, ["all_releases", "only_final"]),
        "prefer_binary": finder._candidate_prefs.prefer_binary,
        "trusted_hosts": sorted(set(finder.trusted_hosts)),
        "require_hashes": options.require_hashes,
        "no_require_hashes": options.no_require_hashes,
        "features": [
            it for it in options.features_enabled if it not in cmdoptions.ALWAYS_ENABLED_FEATURES
        ],
    }

def configuration(case):
    from pip._internal.cli.cmdoptions import check_release_control_exclusive
    from pip._internal.commands import create_command
    from pip._internal.index.collector import LinkCollector
    from pip._internal.network.session import PipSession
    sys.prefix = os.path.abspath("prefix")
    try:
        options = create_command("wheel").parser.get_default_values()
        check_release_control_exclusive(options)
    except (Exception, SystemExit) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "index_urls": [] if options.no_index else [options.index_url, *options.extra_index_urls],
        "no_index": bool(options.no_index),
        "find_links": LinkCollector.create(PipSession(), options).find_links,
        "formats": control(options.format_control, ["no_binary", "only_binary"]),
        "releases": control(options.release_control, ["all_releases", "only_final"]),
        "prefer_binary": bool(options.prefer_binary),
        "trusted_hosts": sorted(set(options.trusted_hosts)),
        "require_hashes": bool(options.require_hashes),
        "no_require_hashes": bool(options.no_require_hashes),
        "features": options.features_enabled,
        "timeout": float(options.timeout),
        "build_isolation": bool(options.build_isolation),
        "cache_is_disabled": options.cache_dir is False,
        "constraint": options.constraints,
        "requirement": options.requirements,
    }

answers = []
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
for case in json.load(open("cases.json")):
    os.chdir(case["directory"])
    os.environ.clear()
    for name, value in case["environment"]:
        os.environ[name] = value
    answers.append({"requirements": requirements, "configuration": configuration}[case["kind"]](case))
print(json.dumps(answers))
