"""Which workers are asked for, as one line of text.

2                      two processes of this machine
ray                    Ray: every processor (or GPU) of the cluster that RAY_ADDRESS names, or a
                       cluster of this machine that ends with the work
ray:2                  two workers of it
ray:10.0.0.1:6379      a cluster by its address
ray:8@10.0.0.1:6379    eight workers of it
"""

import re
from dataclasses import dataclass

from circuitkit.errors import WorkerError
from circuitkit.work.text import shown

MOST, MOST_DIGITS = 1024, 9
ADDRESS = re.compile(r"auto|(ray://)?[\w.\-]+:\d+|(ray://)?\[[0-9a-fA-F:]+\]:\d+")


@dataclass(frozen=True)
class AskedWorkers:
    """How many workers, 0 for as many as there is room for; and of which Ray, if of one."""

    n: int
    is_ray: bool = False
    address: str = ""


def asked_workers(text: str) -> AskedWorkers | None:
    """Return what a line asks for; None for none: all in this process.

    Raises:
        WorkerError: it is no such line.
    """
    if not text:
        return None
    kind, colon, rest = text.partition(":")
    if kind != "ray":
        return AskedWorkers(_number(text, text))
    if not colon:
        return AskedWorkers(0, is_ray=True)
    number, at, address = rest.rpartition("@")
    if not at:
        number, address = (rest, "") if rest.isdecimal() else ("", rest)
    n = _number(number, text) if number or at else 0
    if (address or at or not number) and not ADDRESS.fullmatch(address):
        raise _not_workers(text)
    return AskedWorkers(n, is_ray=True, address=address)


def _number(digits: str, text: str) -> int:
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= MOST_DIGITS
    if not (is_number and 0 < int(digits) <= MOST):
        raise _not_workers(text)
    return int(digits)


def _not_workers(text: str) -> WorkerError:
    return WorkerError(
        f"--workers: must be a number from 1 to {MOST}, ray, ray:N, ray:HOST:PORT or "
        f"ray:N@HOST:PORT, got {shown(text)}. It says which processes share the work. Give one of "
        "these, or leave it out for one process."
    )
