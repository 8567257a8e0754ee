"""Odd data, and what is asked of every door: use it, or refuse it in one sentence of ours."""

import copy
import json
import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from circuitkit.errors import CircuitkitError
from circuitkit.work.text import plain

MAX_MESSAGE = 2000  # bytes: what was got is cut, names of criteria and of methods are listed
# how many examples, and whether they are the same each time: the profile, in tests/conftest.py
FUZZ = settings(deadline=None, suppress_health_check=list(HealthCheck))

NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63 - 1, 2**63, -(2**63), 10**26, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
)
# some of each kind: Hypothesis would first make a table of all that there are, in every process
BLOCKS, SINGLE = (0, 0x2000, 0xFE00, 0x1F600), "\ud800\udfff\ufffe\uffff\ue000\U0010ffff日"
CHARACTERS = [*(chr(block + code) for block in BLOCKS for code in range(128)), *SINGLE]
TEXTS = st.one_of(
    st.text(st.sampled_from(CHARACTERS), max_size=6),
    st.sampled_from(["", "a\x1b[31m", "\x00", "\ud800", "\ufffe", "::error::x", "x" * 5000, ".."]),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)


def refusal(door, *args, **options):
    """Return what the door gives, or the message with which it refuses; nothing else may leave."""
    try:
        return door(*args, **options)
    except CircuitkitError as error:
        message = str(error)
        assert 20 < len(message.encode()) < MAX_MESSAGE, message
        assert plain(message) == message, message
        return message


def mutated(data, rng: random.Random, value):
    """Return a copy of `data` in which one part, at a random place, is `value`, gone or doubled."""
    data = copy.deepcopy(data)
    places = []

    def walk(part):
        keys = part.keys() if isinstance(part, dict) else range(len(part))
        for key in keys:
            places.append((part, key))
            if isinstance(part[key], dict | list):
                walk(part[key])

    walk(data)
    # the few parts near the root as often as the many below
    part, key = rng.choice(places if rng.random() < 0.5 else places[:40])
    kind = rng.choice(["replaced", "replaced", "gone", "added"])
    if kind == "gone":
        del part[key]
    elif kind == "added" and isinstance(part, dict):
        part[str(rng.random())] = value
    else:
        part[key] = value
    return data


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return bytes of which some are changed, cut off, repeated or left out."""
    start = rng.randrange(len(content) + 1)
    end = min(len(content), start + rng.choice([1, 2, 16, 500]))
    kind = rng.choice(["noise", "cut", "twice", "gone", "text"])
    if kind == "cut":
        return content[:start]
    inserted = {
        "noise": rng.randbytes(end - start),
        "twice": content[start:end] * 2,
        "gone": b"",
        "text": rng.choice([b"NaN", b"1e999", b'"x": 1,', b"[" * 3000, b"null", b"-1", b"\xff"]),
    }
    return content[:start] + inserted[kind] + content[end:]


def json_text(data) -> str:
    """Return data as JSON, numbers that are none included, as Python writes them."""
    return json.dumps(data)
