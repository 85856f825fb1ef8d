"""The named crash points: which the source has, and which of them the scenario cannot pass."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Points that no scenario of a whole installation passes, and why.
NEVER = {
    "call.describe": "the daemon never asks it: mayfly provider check does",
    "call.usage": "the daemon does not ask for it",
    "call.snapshot": "no provider of the tree offers it",
    "call.restore": "no provider of the tree offers it",
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


def reason(point):
    """Why the scenario need not pass it, or None."""
    return next((why for start, why in NEVER.items() if point.startswith(start)), None)
