"""Reads and merges INI layers with oslo.config's own parser, for ini_differential.rs.

Each line of stdin is {"layers": [TEXT, ...], "ours": TEXT or null}; each line of stdout says what oslo.config makes of it:
{"error": {"layer": N, "line": N} or null, "merged": [[SECTION, [[KEY, [VALUE, ...]], ...]], ...], "again": the same for
"ours"}. A value is its lines, joined by line feeds.
"""

import io
import json
import sys

from oslo_config import iniparser


class OneFile(iniparser.BaseParser):
    """Sections in the order of first sight; keys with all their values."""

    def __init__(self):
        self.sections = {"": {}}
        self.current = self.sections[""]

    def new_section(self, section):
        self.current = self.sections.setdefault(section, {})

    def assignment(self, key, value):
        self.current.setdefault(key, []).append("\n".join(value))


def read(text):
    parser = OneFile()
    # As a file that is opened in text mode: any of the three line ends ends a line.
    parser.parse(io.StringIO(text, newline=None))
    return parser.sections


def merge(files):
    """What Kolla does: a key of a later file replaces all values of earlier ones."""
    merged = {}
    for sections in files:
        for section, keys in sections.items():
            merged.setdefault(section, {}).update(keys)
    return merged


def as_lists(sections):
    return [
        [section, [[key, values] for key, values in keys.items()]]
        for section, keys in sections.items()
        if section or keys
    ]


for line in sys.stdin:
    case = json.loads(line)
    answer = {"error": None, "merged": None, "again": None}
    files = []
    for index, text in enumerate(case["layers"]):
        try:
            files.append(read(text))
        except iniparser.ParseError as error:
            answer["error"] = {"layer": index, "line": error.lineno}
            break
    else:
        answer["merged"] = as_lists(merge(files))
    if case["ours"] is not None:
        try:
            answer["again"] = as_lists(read(case["ours"]))
        except iniparser.ParseError as error:
            answer["again"] = str(error)
    print(json.dumps(answer))
