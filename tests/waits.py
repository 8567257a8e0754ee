"""Where the host would wait for a device, told on the CPU: tensors are marked that would lie there.

The weights lie on the device, and so does what is made from them or sent there. The host waits
where it reads a value back, where the size of a result depends on values, and where it sends
something without saying that it goes on meanwhile.
"""

import traceback
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READ_BACK = (
    "_local_scalar_dense",
    "nonzero",
    "unique",
    "_unique",
    "is_nonzero",
    "equal",
    "masked_select",
    "repeat_interleave.Tensor",
)
TO_THE_HOST = ("cpu", "tolist", "numpy")


def put(*tensors):
    """Mark tensors as lying on the device."""
    for tensor in tensors:
        tensor.lies_there = True


def lies_there(x):
    return isinstance(x, torch.Tensor) and getattr(x, "lies_there", False)


class Waits(ExitStack):
    """Counts inside the block where the host would wait for the device that a model lies on."""

    def __init__(self, model):
        super().__init__()
        self.model, self.counts = model, Counter()

    def __enter__(self):
        super().__enter__()
        put(*self.model.bridge.original_model.parameters())
        put(*self.model.bridge.original_model.buffers())
        self.enter_context(_Moves(self))
        self.enter_context(_Reads(self))
        return self

    def note(self, what):
        frames = [f for f in traceback.extract_stack() if "/circuitkit/" in f.filename]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "elsewhere"
        self.counts[f"{what} {where} {frames[-1].line if frames else ''}"] += 1

    @property
    def n(self):
        return self.counts.total()


class _Moves(TorchFunctionMode):
    """Sees what moves between host and device: calls that do nothing where both are one."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        x = args[0] if args else None
        if name in TO_THE_HOST and lies_there(x):
            self.waits.note(name)
            return _elsewhere(func(*args, **kwargs), x)
        found = func(*args, **kwargs)
        given = [*args[1:], *kwargs.values()]
        is_sent = name == "to" and any(
            isinstance(to, (torch.device, str)) or lies_there(to) for to in given
        )
        if is_sent and not lies_there(x):
            if not kwargs.get("non_blocking"):
                self.waits.note("sent")
            found = _elsewhere(found, x)
            put(found)
        elif isinstance(kwargs.get("device"), torch.device) and isinstance(found, torch.Tensor):
            if name == "tensor":
                self.waits.note("sent")
            put(found)
        return found


def _elsewhere(found, x):
    """A tensor of its own, so that marking it does not mark the other."""
    found = found.view_as(found) if found is x else found
    if isinstance(found, torch.Tensor):
        found.lies_there = False
    return found


class _Reads(TorchDispatchMode):
    """Sees what is computed: where its results lie, and what is read back."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        given = tree_leaves((args, kwargs))
        name = func.overloadpacket.__name__
        if any(lies_there(x) for x in given):
            if name.startswith(READ_BACK):
                self.waits.note(name)
            elif name.startswith(("index", "_index_put")) and isinstance(args[1], (list, tuple)):
                for index in args[1]:
                    if index is not None and index.dtype == torch.bool:
                        self.waits.note("sizes")
                    elif index is not None and not lies_there(index):
                        self.waits.note("sent")
            put(*(x for x in tree_leaves(found) if isinstance(x, torch.Tensor)))
        return found
