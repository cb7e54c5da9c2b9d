"""What programs of providers have in common: the protocol.

A provider keeps objects of one kind: databases, users, vhosts. Its program is called as `PROGRAM KIND... VERB`, gets a
document of JSON on standard input and answers with one on standard output.

    read    says for each item whether it exists and in what it differs; it never changes anything
    check   the same, for programs: ends with 0 where nothing differs, and says in one line what does
    apply   makes the items so; what is right already is left alone
    delete  takes them away; what is not there is no error

A program has a class for each kind:

    class Database(Kind):
        def read(self, item): return Seen(exists=True, differs=["charset"], shown={"charset": "utf8"})
        def apply(self, item, seen): ...
        def delete(self, item): ...

    if __name__ == "__main__":
        run({"database": Database})

With `"overlap": true` in the document, whoever uses an object with its old credentials is still let in beside those that know
the new ones; kinds that can do so say `can_overlap`. `Kind.__init__` gets what the providing role says under `connection`. Neither answers nor errors ever hold a secret.
"""

import json
import sys
from dataclasses import dataclass
from dataclasses import field

TEMPORARY = 75  # EX_TEMPFAIL of sysexits.h: ask again later.
USAGE = 64
DATA = 65


class Temporary(Exception):
    """The server cannot be asked now. Nothing is known of the objects."""


class Refused(Exception):
    """This item cannot be made so. The text is for people and holds no secret."""


@dataclass
class Seen:
    """What is there of an item."""

    exists: bool
    differs: list = field(default_factory=list)
    shown: dict = field(default_factory=dict)


class Kind:
    """A kind of objects."""

    can_overlap = False

    def __init__(self, connection):
        self.connection = connection
        self.overlap = False

    def read(self, item):
        """What is there. Changes nothing."""
        raise NotImplementedError

    def apply(self, item, seen):
        """Makes it so, where `seen` says that it is not."""
        raise NotImplementedError

    def delete(self, item):
        """Takes it away, where it exists."""
        raise NotImplementedError

    def close(self):
        """Ends what was opened."""


def need(item, key, kind=str):
    """A key that an item has to have."""
    value = item.get(key)
    if not isinstance(value, kind) or isinstance(value, bool) or value == "":
        raise Refused(f"`{key}` is missing or no {kind.__name__}")
    return value


def read_items(kind, items):
    answers = []
    for item in items:
        seen = kind.read(item)
        answers.append({"exists": seen.exists, "differs": seen.differs, "shown": seen.shown})
    return answers


def check_items(kind, items):
    wrong = []
    for item in items:
        seen = kind.read(item)
        if not seen.exists or seen.differs:
            wrong.append(f"{item.get('name')}: {'other ' + ', '.join(seen.differs) if seen.exists else 'missing'}")
    if wrong:
        raise Refused("; ".join(wrong))
    return []


def apply_items(kind, items):
    answers = []
    for item in items:
        try:
            seen = kind.read(item)
            if seen.exists and not seen.differs:
                answers.append({"changed": False, "error": None})
                continue
            kind.apply(item, seen)
            answers.append({"changed": True, "error": None})
        except Refused as refused:
            answers.append({"changed": False, "error": str(refused)})
    return answers


def delete_items(kind, items):
    answers = []
    for item in items:
        try:
            exists = kind.read(item).exists
            if exists:
                kind.delete(item)
            answers.append({"changed": exists, "error": None})
        except Refused as refused:
            answers.append({"changed": False, "error": str(refused)})
    return answers


VERBS = {"read": read_items, "check": check_items, "apply": apply_items, "delete": delete_items}


def fail(code, message):
    print(message, file=sys.stderr)
    sys.exit(code)


def run(kinds):
    """Answers one request, by the arguments of the process."""
    words = sys.argv[1:]
    if len(words) < 2 or words[0] not in kinds or words[-1] not in VERBS:
        fail(USAGE, f"usage: {sys.argv[0]} {'|'.join(kinds)} {'|'.join(VERBS)}")
    try:
        document = json.load(sys.stdin)
        items = document["items"]
        connection = document.get("connection", {})
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError):
        # What the parser would say can hold a piece of the document, and so of a secret.
        fail(DATA, 'standard input is no document {"connection": {...}, "items": [{...}]}')
    try:
        kind = kinds[words[0]](connection)
        if document.get("overlap") is True:
            if not kind.can_overlap:
                raise Refused(f"a {words[0]} cannot have two passwords at a time")
            kind.overlap = True
        try:
            answers = VERBS[words[-1]](kind, items)
        finally:
            kind.close()
    except Temporary as temporary:
        fail(TEMPORARY, " ".join(str(temporary).split()))
    except Refused as refused:
        fail(1, " ".join(str(refused).split()))
    except Exception as error:  # pylint: disable=broad-except
        # A traceback would show the values of what failed.
        frame = error.__traceback__
        while frame.tb_next:
            frame = frame.tb_next
        fail(1, f"{type(error).__name__} in {frame.tb_frame.f_code.co_filename} line {frame.tb_lineno}")
    json.dump({"items": answers}, sys.stdout)
    print()
    refused = [answer["error"] for answer in answers if answer.get("error")]
    if refused:
        # The job that runs this has failed then; what could be done has been done.
        fail(1, "; ".join(" ".join(error.split()) for error in refused))
