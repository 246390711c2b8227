"""Checks the dependencies by deny.toml: licences, bans, sources, and versions that are there twice.

The arguments are deny.toml, a file of all packages and one of those that are not only for tests, as `cargo tree` prints
them: a name, a version with a v, where it comes from unless that is crates.io, a tab, a licence. What is wrong is printed.
`cargo deny` knows more, and advisories above all; this needs neither a tool to be built nor a database to be reached.
"""

import re
import sys
import tomllib


def allowed(expression, licences):
    """Whether an SPDX expression can be met with these licences. AND binds more strongly than OR."""
    tokens = re.findall(r"[()]|[^\s()/]+|/", expression)

    def either():
        met = both()
        while tokens and tokens[0] in ("OR", "/"):
            tokens.pop(0)
            met = both() or met
        return met

    def both():
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = one() and met
        return met

    def one():
        token = tokens.pop(0)
        if token == "(":
            met = either()
            tokens.pop(0)
            return met
        if tokens[:1] == ["WITH"]:
            token = " ".join([token, tokens.pop(0), tokens.pop(0)])
        return token in licences

    return either()


def matches(name, version, spec):
    """Whether a package is what `name`, `name:1` or `name:<1` says."""
    wanted, _, limit = spec.partition(":")
    if name != wanted:
        return False
    if limit.startswith("<"):
        return int(version.split(".")[0]) < int(limit[1:])
    return not limit or (version + ".").startswith(limit + ".")


def read(path):
    """The packages of a file: name, version, source, licence."""
    with open(path, encoding="utf-8") as file:
        # A line is empty between two targets.
        for line in sorted(set(file) - {"\n"}):
            package, licence = line.rstrip("\n").split("\t")
            name, version, *source = package.split(" ", 2)
            yield name, version.removeprefix("v"), source[0] if source else "", licence


def check(rules, everything, shipped):
    bans = rules["bans"]
    for name, version, source, licence in everything:
        if not allowed(licence or "none", rules["licenses"]["allow"]):
            yield f"{name} {version}: its licence is {licence}"
        # A macro of crates.io says what it is instead.
        if source not in ("", "(proc-macro)") and name != "cruddur":
            yield f"{name} {version}: it comes from {source}"
        for ban in bans["deny"]:
            if matches(name, version, ban["crate"]):
                yield f"{name} {version}: banned: {ban['reason']}"
    skipped = [skip["crate"] for skip in bans["skip"]]
    versions = {}
    for name, version, _, _ in shipped:
        if not any(matches(name, version, spec) for spec in skipped):
            versions.setdefault(name, set()).add(version)
    for name, found in versions.items():
        if len(found) > 1:
            yield f"{name} is there twice: {', '.join(sorted(found))}"
    for spec in skipped:
        if not any(matches(name, version, spec) for name, version, _, _ in shipped):
            yield f"{spec} is not there, and need not be skipped"


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        rules = tomllib.load(file)
    for mistake in check(rules, list(read(sys.argv[2])), list(read(sys.argv[3]))):
        print(mistake)
