"""What image models share: sizes and stages as published configurations spell them, and networks of several resolutions."""

from torch import Tensor

from catalog.configs import Field
from catalog.errors import ConfigError
from catalog.layers.patch import pair
from catalog.model import Backbone
from catalog.outputs import Encoded


def size(published: str) -> Field:
    """A published size that is one number or a list (height, width)."""
    return Field(
        published,
        lambda value: tuple(value) if isinstance(value, list) else value,
        lambda value: list(value) if isinstance(value, tuple) else value,
    )


def several(published: str) -> Field:
    """A published list, a tuple with us: one entry a stage."""
    return Field(published, tuple, list)


def _stages(names):
    """Stage names, or their numbers, as numbers: the stem is 0."""
    return tuple(
        n if isinstance(n, int) else 0 if n == "stem" else int(n.removeprefix("stage")) if n[5:].isdigit() else n
        for n in names
    )


def stage_name(number: int) -> str:
    """The published name of a stage."""
    return f"stage{number}" if number else "stem"


# which stages give feature maps; a file says it twice, by name and by number, and ours keeps the numbers
FEATURES = Field("out_features", _stages, lambda numbers: [stage_name(n) for n in numbers])
FEATURES_LEGACY = {"out_indices": "features"}


def check_features(features: tuple | None, stages: int) -> None:
    """Raise ConfigError where ``features`` names a stage that is not among ``stages`` and the stem."""
    for n in features or ():
        if n not in range(-stages - 1, stages + 1):
            names = ", ".join(stage_name(i) for i in range(stages + 1))
            raise ConfigError(f"features: no stage {n!r}; the stages are {names}, or numbers 0 to {stages}")


def check_patches(image: int | tuple, patch: int | tuple) -> None:
    """Raise ConfigError unless at least one patch fits into the image."""
    if any(i < p for i, p in zip(pair(image), pair(patch))):
        raise ConfigError(f"image {image} is smaller than one patch of {patch}")


def grid(image: int | tuple, patch: int | tuple) -> tuple[int, int]:
    """(rows, columns) of the patches of an image."""
    return tuple(i // p for i, p in zip(pair(image), pair(patch)))


def patch_map(states: Tensor, shape: tuple[int, int], front: int = 1) -> Tensor:
    """The states of patches [B, front + rows * columns, width] as a map [B, width, rows, columns]."""
    return states[:, front:].transpose(1, 2).unflatten(2, shape)


class Staged(Backbone):
    """pixel_values [B, channels, H, W] -> last_hidden_state, the map of the last stage. A page builds ``embed``, ``stages``
    and ``pool``, and says by ``widths`` how many channels the stem and each stage have."""

    widths: tuple[int, ...]

    @property
    def width(self) -> int:
        """Channels of the last map."""
        return self.widths[-1]

    def recorded(self):
        """The hidden states are the stem's map and each stage's."""
        return {"hidden_states": ("stages", f"stages.{len(self.stages) - 1}")}

    def maps(self, pixel_values, chosen) -> list[Tensor]:
        """The maps [B, channels, H, W] of the stages ``chosen``, rising numbers of which 0 is the stem."""
        found = [self.embed(pixel_values)]
        for stage in self.stages:
            found.append(stage(found[-1]))
        return [found[n] for n in chosen]

    def forward(self, pixel_values):
        (last,) = self.maps(pixel_values, [-1])
        return Encoded(last_hidden_state=last, pooler_output=self.pool(last) if self.pool is not None else None)
