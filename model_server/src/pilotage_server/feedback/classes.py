"""Who predicts: the identity a server pod signs with and registers. Checks what would make counting meaningless."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pilotage_server.quality.slices import Slice

MAX_CLASSES: Final = 100
"""A confusion matrix of 100 classes is 10,000 series per revision and counter, the collector's budget."""
MAX_CLASS_LENGTH: Final = 128
MAX_NAME_LENGTH: Final = 63


class IdentityRefused(ValueError):
    """The identity cannot be used for feedback; the text names the field, its value and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One revision of one model in one cluster, as tokens and counters name it.

    `classes` are the class names in the model's order: a predicted index means `classes[index]`. `slices`: what
    clients may declare. `costs`, where the manifest has them: what answering column j for a true row i costs.
    Raises `IdentityRefused`.
    """

    model: str
    revision: str
    cluster: str
    classes: tuple[str, ...]
    slices: tuple[Slice, ...] = ()
    costs: tuple[tuple[float, ...], ...] = ()
    index: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value in (("model", self.model), ("revision", self.revision), ("cluster", self.cluster)):
            if not 1 <= len(value) <= MAX_NAME_LENGTH or not value.isascii():
                raise IdentityRefused(f"{name}: {value!r} must be 1 to {MAX_NAME_LENGTH} ASCII characters")
        index = check_classes(self.classes)
        object.__setattr__(self, "index", index)


def check_classes(classes: tuple[str, ...]) -> dict[str, int]:
    """The index of each class. Raises `IdentityRefused` when they cannot span a confusion matrix."""
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise IdentityRefused(f"classes: {len(classes)} given; feedback counts models of 2 to {MAX_CLASSES} classes")
    for name in classes:
        if len(name) > MAX_CLASS_LENGTH:
            raise IdentityRefused(f"classes: {name[:20]!r}… has {len(name)} characters; at most {MAX_CLASS_LENGTH}")
    index = {name: position for position, name in enumerate(classes)}
    if len(index) != len(classes):
        twice = next(name for position, name in enumerate(classes) if index[name] != position)
        raise IdentityRefused(f"classes: {twice!r} appears twice; class names must differ")
    return index
