"""What heads share, and how a page declares them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from catalog import losses
from catalog.chunked import Chunked
from catalog.errors import ConfigError
from catalog.layers.masks import Mask
from catalog.losses import Term
from catalog.model import Model
from catalog.namemap import NameMap
from catalog.outputs import Encoded


class Head(Model):
    """A task over a backbone. Subclasses give ``forward``, ``terms`` (the loss as sums) and ``counts``.

    The loss of a batch is ``weight * total / count`` summed over terms; see :mod:`catalog.losses`.
    """

    targets: tuple[str, ...] = ("labels",)  # the forward arguments that are answers, not inputs

    def __init__(self, backbone, config):
        super().__init__()
        self.backbone, self.config = backbone, config

    def recorded(self):
        """The backbone's ``records``, seen from the head."""
        return {name: _inside(where) for name, where in self.backbone.recorded().items()}

    def terms(self, output, **targets) -> dict[str, Term]:
        """The loss of ``output`` against ``targets`` as sums over real targets."""
        raise NotImplementedError

    def counts(self, **targets) -> dict[str, Tensor | float]:
        """The number of real targets of each term, from the targets alone."""
        raise NotImplementedError

    def loss(self, output, **targets) -> Tensor | None:
        """The published mean loss, or ``None`` where a target is missing."""
        if any(target is None for target in targets.values()):
            return None
        return losses.mean(self.terms(output, **targets))


def _inside(where):
    """An entry of a backbone's ``records``, its paths seen from the head."""
    if isinstance(where, str):
        return f"backbone.{where}"
    return type(where)(f"backbone.{part}" if isinstance(part, str) else part for part in where)


class LabelHead(Head):
    """A head whose ``logits`` [..., classes] choose among classes, one ``labels`` entry [...] beside each choice."""

    def terms(self, output, *, labels):
        """One term, ``loss``: cross entropy where a label is not ignored."""
        return {"loss": losses.cross_entropy(output.logits, labels)}

    def counts(self, *, labels):
        """Labels that are not ignored."""
        return {"loss": losses.count(labels)}


class VocabHead(LabelHead):
    """A LabelHead whose classes are the tokens of a vocabulary. Subclasses call ``scored`` for their logits.

    ``loss_chunk``: so many positions at a time the loss forms logits of, see :class:`catalog.chunked.Chunked`; ``None``: all.
    """

    loss_chunk: int | None = None

    def scored(self, states, project) -> Tensor | Chunked:
        """``project(states)``, [..., vocab]; put off where ``loss_chunk`` says so."""
        return project(states) if self.loss_chunk is None else Chunked(states, project, self.loss_chunk)


def chunk_loss(model: Model, tokens: int | None) -> None:
    """Let the loss of ``model`` form logits of so many positions at a time; ``None``: of all.

    Raises ConfigError for a head whose classes are not a vocabulary.
    """
    if not isinstance(model, VocabHead):
        what = f"{model.name} with {model.head}" if model.head else f"{model.name} without a head"
        raise ConfigError(f"{what} has no vocabulary to score, so its loss has no pieces: set memory.loss_chunk=null")
    model.loss_chunk = tokens


def mask_of(encoded: Encoded) -> Mask:
    """The mask of an encoded batch; a batch without one is whole rows."""
    return Mask() if encoded.mask is None else encoded.mask


@dataclass(frozen=True)
class HeadSpec:
    """One line of a page's ``HEADS``: how the head is built over the backbone, and how its tensors are published.

    ``build(backbone, config)``; ``names`` maps the head's own tensors; ``prefix`` and ``body`` replace the page's prefix and
    names where this class was published with others; ``backbone`` are the keywords with which the page's class is built
    under this head.
    """

    build: Callable
    names: NameMap = field(default_factory=lambda: NameMap([]))
    prefix: str | None = None
    body: NameMap | None = None
    backbone: Mapping[str, object] = field(default_factory=dict)
