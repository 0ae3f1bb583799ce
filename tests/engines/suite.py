"""The tests of `tests/api` and `tests/uploads` on engines of others.

    python tests/engines/suite.py [--whole] LOG [ENGINE…] [-- FILTER…]

Runs them with the variables that it is given and the credentials that boto3 finds (docs/engines.md), and removes what they have made. A test that needs what only the stack's own engines do panics with
that reason, by `local::own_engines`: it is told as skipped, not as passed and not as failed. So is one that fails by what
deviations.py knows of an ENGINE. FILTERs are those of `cargo test`. The whole output goes to LOG.

Without a FILTER, or with --whole, fewer passes than LEAST are a failure, and so is a test of deviations.py that has not run.
"""

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import boto3

import clean
from deviations import DEVIATIONS

# Of the tests that `run` lets run, fewer can't all be there: something left out, or skipped, what it should not.
LEAST = 150
ROOT = Path(__file__).resolve().parents[2]
RESULT = re.compile(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", re.M)
OUTPUT = re.compile(r"^---- (\S+) stdout ----$(.*?)(?=^---- \S+ stdout ----$|^failures:$)", re.M | re.S)
# As `local` words it.
ONLY_HERE = re.compile(r"not on engines of others: ([^\n]+)")


def environment():
    """This process's, with the account's credentials as a function finds its own: in variables."""
    credentials = boto3.Session().get_credentials()
    if not credentials:
        sys.exit("boto3 finds no credentials")
    known = credentials.get_frozen_credentials()
    variables = {**os.environ, "AWS_REGION": "us-east-1", "RUST_BACKTRACE": "0"}
    variables.update(AWS_ACCESS_KEY_ID=known.access_key, AWS_SECRET_ACCESS_KEY=known.secret_key, AWS_SESSION_TOKEN=known.token or "")
    return variables


def main():
    arguments = sys.argv[1:]
    if whole := arguments[0] == "--whole":
        arguments.pop(0)
    log, *rest = arguments
    engines, filters = (rest[: rest.index("--")], rest[rest.index("--") + 1 :]) if "--" in rest else (rest, [])
    least = LEAST if whole or not any(filters) else 1
    clean.is_made_here()
    command = ["cargo", "test", "--workspace", "--locked", "--no-fail-fast", "--test", "api", "--test", "uploads", "--", *filters]
    with open(log, "w+") as output:
        try:
            subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment(), check=False)
        finally:
            left = clean.clean()
        output.seek(0)
        said = output.read()

    results = Counter(result for _, result in RESULT.findall(said))
    because = {name: ONLY_HERE.search(text) for name, text in OUTPUT.findall(said)}
    known = {test: one for one in DEVIATIONS if one.engine in engines for test in one.tests}
    skipped, wrong, failed = defaultdict(list), defaultdict(list), []
    if least == LEAST:
        ran = {name for name, result in RESULT.findall(said) if result != "ignored"}
        failed += [f"{name} has not run" for name in sorted(known.keys() - ran)]
    for name, result in RESULT.findall(said):
        if result == "ok" and name in known:
            failed.append(f"{name} is well, so {known[name].engine} is mended: no more it {known[name].does}")
        if result != "FAILED":
            continue
        if because.get(name):
            skipped[because[name][1].strip()].append(name)
        elif name in known:
            wrong[f"{known[name].engine} {known[name].does} ({known[name].page})"].append(name)
        else:
            failed.append(name)
    for title, groups in [("skipped", skipped), ("skipped, the engine is wrong", wrong)]:
        for reason, names in sorted(groups.items()):
            print(f"{title}: {reason}: {len(names)}\n    {' '.join(sorted(names))}")
    for name in failed:
        print(f"FAILED: {name}")
    count = sum(map(len, skipped.values())), sum(map(len, wrong.values()))
    print(f"{results['ok']} tests passed, {len(failed)} failed, {sum(count)} skipped on {' and '.join(engines) or 'AWS'}")
    # What does not compile, or a process that died, has fewer results than it announced.
    announced = sum(map(int, re.findall(r"^running (\d+) tests?$", said, re.M)))
    if failed or left or results["ok"] < least or announced != results.total():
        print(f"{results.total()} of {announced} tests have ended, and {least} have to pass; {log} has all that they said")
        sys.exit(1)


main()
