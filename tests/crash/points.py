"""The named crash points: which the source has, and which of them the scenario cannot pass."""
import pathlib
import random
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Points that no scenario of a whole installation passes, and why.
NEVER = {
    "call.describe": "the daemon never asks it: mayfly provider check does",
    "call.usage": "the daemon does not ask for it",
    "call.snapshot": "no provider of the tree offers it",
    "call.restore": "no provider of the tree offers it",
    "ledger.restore.": "no daemon runs then: test_restore.py kills at each of them",
}


def texts(pattern, *folders):
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.c")):
            yield from re.findall(pattern, path.read_text())


def verbs():
    """Every verb of the protocol, as the library for providers knows them."""
    return sorted({*texts(r"VERB\((\w+), (?:true|false)\)", "providers/sdk"),
                   *texts(r'streq\(call->verb, "(\w+)"\)', "providers/sdk")})


def all_points():
    """Every point of the source, those of provider calls once for each verb."""
    plain = set(texts(r'crash_point\("([^"]+)"\)', "orchestrator", "providers"))
    calls = {f"call.{verb}.{when}" for when in texts(r'crash_point_call\("(\w+)",', "orchestrator") for verb in verbs()}
    assert plain and calls, "the source is not read rightly"
    return plain | calls


def reason(point, fronts):
    """Why the scenario need not pass it, or None."""
    if point.startswith("gateway.") and "haproxy" not in fronts:
        return "HAProxy is not installed"
    return next((why for start, why in NEVER.items() if point.startswith(start)), None)


# Passed often, and each time something else is at stake: at the beginning things are made, at the end they go.
OFTEN = ("ledger.commit.", "call.provision.", "call.deprovision.", "front.")


def occurrences(point, n, each):
    """Which of n passes are tried: the first, the last and some between them."""
    each = max(each, 3) if point.startswith(OFTEN) else each
    return sorted({1 + round(i * (n - 1) / max(1, each - 1)) for i in range(min(n, each))})


def by_name(passed, front_for):
    """(point, where in a day it is passed), under the front that it needs."""
    for name in sorted(set().union(*passed.values())):
        if name in passed[front_for(name)]:
            yield name, passed[front_for(name)][name]


# What every start of the daemon passes, so that a crash there comes after any other.
STARTS = ("start", "ledger.key", "ledger.signing", "engine.turn")


def first_of(first, second):
    """Which pass of the first point, by their places in a day, is one that the second comes after: the middle
    one, or an earlier one; None when the second comes only before."""
    middle = (len(first) + 1) // 2
    return next((n for n in range(middle, 0, -1) if second[-1] > first[n - 1]), None)


def pair(passed, front_for, name, second):
    """((first, occurrence), (second, 1)), or None when the second never comes after the first."""
    places = passed[front_for(name, second)]
    if second in STARTS:
        n = (len(places[name]) + 1) // 2
    else:
        n = first_of(places[name], places[second])
    return ((name, n), (second, 1)) if n else None


def pairs(passed, front_for):
    """(the pairs, how many more there would be of which the second never comes after the first), each second once
    with every first, in an order that is always the same."""
    names, chance = [name for name, _ in by_name(passed, front_for)], random.Random(1)
    steps = list(range(len(names)))
    chance.shuffle(names)
    chance.shuffle(steps)
    all_pairs = [pair(passed, front_for, name, names[(i + step) % len(names)]) for step in steps for i, name in enumerate(names)]
    found = [one for one in all_pairs if one]
    return found, len(all_pairs) - len(found)


def one_each(passed, front_for, seed):
    """As many pairs as there are points: each is the first of one, with another second for each seed."""
    names, found = [name for name, _ in by_name(passed, front_for)], []
    random.Random(1).shuffle(names)
    for i, name in enumerate(names):
        possible = (pair(passed, front_for, name, names[(i + seed + step) % len(names)]) for step in range(len(names)))
        found.append(next(one for one in possible if one))
    return found
