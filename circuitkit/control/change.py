"""What every lasting change of a model has in common: an edit, a projection, an added bias."""

from typing import Protocol, runtime_checkable

from circuitkit.model import SubjectModel


@runtime_checkable
class Change(Protocol):
    """A change of a model's weights.

    `name` tells it from others of its kind, as "m2: Paris -> Rome"; `kind` is "edit", "steering",
    or the like.
    """

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def kind(self) -> str:
        """What sort of change it is."""
        ...

    def made(self, model: SubjectModel) -> SubjectModel:
        """Return a second model in which the change is made; the one given is not touched."""
        ...
