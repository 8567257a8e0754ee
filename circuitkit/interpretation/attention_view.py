"""Attention patterns in the shape that CircuitsVis draws: tokens and [head, destination, source].

circuitsvis.attention.attention_heads(**view.arguments())      which `view.show()` calls
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitkit.errors import DependencyError, GraphError
from circuitkit.interpretation.findings import PromptView, TemplatePatterns
from circuitkit.work.text import brief, shown


@dataclass(frozen=True)
class AttentionView:
    """The patterns of some heads over the tokens of one prompt, or the positions of a template.

    `patterns` holds the share of the attention of each destination that goes to each source,
    `[head, destination, source]`; the rows of a causal model are zero behind the destination.
    """

    tokens: tuple[str, ...]
    heads: tuple[str, ...]
    patterns: NDArray[np.float64]

    def __repr__(self) -> str:
        return brief(f"AttentionView({len(self.heads)} heads, {len(self.tokens)} tokens)")

    def arguments(self) -> dict[str, Any]:
        """Return what `circuitsvis.attention.attention_heads` takes, as lists: JSON can hold it."""
        return {
            "attention": self.patterns.tolist(),
            "tokens": list(self.tokens),
            "attention_head_names": list(self.heads),
        }

    def show(self) -> Any:
        """Return the picture that CircuitsVis makes, which a notebook shows.

        Raises:
            DependencyError: CircuitsVis is not installed.
        """
        try:
            from circuitsvis.attention import attention_heads
        except ImportError as error:
            why = "It draws the patterns. `arguments()` gives them without it."
            raise DependencyError("show", "circuitsvis", "circuitsvis", why) from error
        return attention_heads(**{**self.arguments(), "attention": self.patterns})


def attention_view(
    prompt: PromptView | TemplatePatterns, heads: Sequence[str] = ()
) -> AttentionView:
    """Return the patterns of some heads of the circuit on a prompt, or averaged over a template.

    No heads: all those of the circuit.

    Raises:
        GraphError: a head is none of those whose patterns were kept.
    """
    known = tuple(prompt.patterns)
    unknown = [head for head in heads if head not in known]
    if unknown:
        raise GraphError(
            f"attention_view: heads must be among those of the circuit, {shown(list(known))}, got "
            f"{shown(unknown)}. Patterns of no others were kept. Choose among them."
        )
    chosen = tuple(heads) or known
    tokens = prompt.tokens if isinstance(prompt, PromptView) else prompt.labels
    patterns = np.array([prompt.patterns[head] for head in chosen], dtype=np.float64)
    return AttentionView(tokens, chosen, patterns.reshape(len(chosen), len(tokens), len(tokens)))
