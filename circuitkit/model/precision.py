"""float64 means float64, inside the family's own modules too.

Routers, gates and recurrences of many families compute in float32 whatever the model's type is.
In a float64 model that is a rounding of 1e-7 which depends on the shape of the batch: identities
would hold no better. Inside `own_type`, what asks to turn float64 into float32 keeps float64.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


def own_type(dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Return a block in which a model of this type computes in no coarser one."""
    return _Float64() if dtype == torch.float64 else nullcontext()


class _Float64(TorchFunctionMode):
    """Keep float64 where float32 is asked for."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        keywords = dict(kwargs or {})
        if any(isinstance(x, Tensor) and x.dtype == torch.float64 for x in args):
            if func is Tensor.float:
                return args[0]
            args = tuple(torch.float64 if x is torch.float32 else x for x in args)
            if keywords.get("dtype") is torch.float32:
                keywords["dtype"] = torch.float64
        return func(*args, **keywords)
