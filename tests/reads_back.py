"""What makes the host wait for a tensor's value: on a GPU each time is a halt."""

from collections import Counter

from torch.utils._python_dispatch import TorchDispatchMode

READ_BACK = (
    "_local_scalar_dense",
    "nonzero",
    "unique",
    "_unique",
    "is_nonzero",
    "equal",
    "masked_select",
)


class ReadsBack(TorchDispatchMode):
    """Counts the operations in the block that read a tensor back, by name."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name.startswith(READ_BACK):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))
