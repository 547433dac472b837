"""Published PyTorch names <-> published TensorFlow names: one rule by what a module is, and a record of each family.

PyTorch's ``bert.encoder.layer.0.output.dense.weight`` [out, in] is TensorFlow's
``tf_bert_model/bert/encoder/layer_._0/output/dense/kernel`` [in, out]. The first word is the class; families differ in how
they number a stack and in a few words.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple


class Family(NamedTuple):
    """How a family's TensorFlow code departs from the rule.

    ``main``: the name of the backbone, which bare models carry in TensorFlow alone. ``stack``: what stands between a stack
    and a number. ``renames``: (pattern, replacement) on the path behind the class; a replacement that begins with ``/``
    stands without the class in front. ``rows``: a pattern of paths whose numbers and vectors have a further axis of size 1
    in front, and whose matrices are [in, out] in PyTorch already.
    """

    main: str = ""
    stack: str = "_._"
    renames: tuple[tuple[str, str], ...] = ()
    rows: str = ""


_WORDS = (r"(embeddings/word_embeddings)/embeddings$", r"\1/weight")
_HEADS = ((r"^cls/predictions", r"mlm___cls/predictions"), (r"^cls/seq_relationship", r"nsp___cls/seq_relationship"))
_BART = ((r"^model/shared/", "/model.shared/model.shared/"), (r"^final_logits_bias$", "/final_logits_bias"))
_T5 = ((r"layer_norm/gamma$", r"layer_norm/weight"), (r"^shared/", "/shared/shared/"))
_PIXELS = (r"^decoder(_\._|\.)0/", "decoder/0/")
_PLACES = (r"(embed_positions)/embeddings$", r"\1/weight")
_CLIP = Family(
    "clip",
    renames=(
        (r"(token_embedding)/embeddings$", r"\1/weight"),
        (r"(vision_model/embeddings/position_embedding)/weight$", r"\1/embeddings"),
    ),
    rows=r"^(clip/)?logit_scale$",
)

RECORD: dict[str, Family] = {
    "bert": Family("bert", renames=(_WORDS, *_HEADS)),
    "roberta": Family("roberta", renames=(_WORDS,)),
    "camembert": Family("roberta", renames=(_WORDS,)),
    "xlm-roberta": Family("roberta", renames=(_WORDS,)),
    "electra": Family("electra", renames=(_WORDS,)),
    "distilbert": Family("distilbert", renames=(_WORDS,)),
    "albert": Family("albert", renames=(_WORDS,)),
    "gpt2": Family("transformer", renames=((r"(c_\w+)/kernel$", r"\1/weight"),), rows=r"/c_\w+/"),
    "bart": Family("model", ".", _BART),
    "mbart": Family("model", ".", _BART),
    "opt": Family("model", ".", ((r"embed_tokens/embeddings$", r"embed_tokens/weight"),)),
    "t5": Family("", "_._", _T5),
    "mt5": Family("", "_._", _T5),
    "whisper": Family("model", ".", (_PLACES,)),
    "wav2vec2": Family("wav2vec2", "."),
    "vit": Family("vit"),
    "deit": Family("deit", renames=(_PIXELS,)),
    "swin": Family("swin", ".", (_PIXELS,)),
    "convnext": Family("convnext", "."),
    "resnet": Family("resnet", "."),
    "clip": _CLIP, "clip_text_model": _CLIP, "clip_vision_model": _CLIP,
}  # fmt: skip


def paths(
    shapes: Mapping[str, tuple[int, ...]], roles: Mapping[str, str], model: str, architecture: str
) -> dict[str, tuple[str, tuple[int | None, ...] | None]]:
    """Where each published tensor stands in a TensorFlow file: (name, order of axes). Counters of batches stand nowhere.

    ``shapes`` and ``roles`` (see :class:`catalog.ports.blueprint.Leaf`) by published PyTorch name; ``architecture`` is the
    published PyTorch class. In an order of axes ``None`` is a new one of size 1.
    """
    family = RECORD.get(model, Family())
    names = [name for name in shapes if not name.endswith(".num_batches_tracked")]
    bare = family.main and not any(name.startswith(family.main + ".") for name in names)
    top = _snake(f"TF{architecture}")
    found = {}
    for name in names:
        path, axes = to_tf(f"{family.main}.{name}" if bare else name, roles[name], len(shapes[name]), model)
        found[name] = (path[1:] if path.startswith("/") else f"{top}/{path}", axes)
    return found


def to_tf(name: str, role: str, dims: int, model: str) -> tuple[str, tuple[int | None, ...] | None]:
    """(name behind the class, order of axes or ``None``) of a published tensor; see :func:`paths`."""
    family = RECORD.get(model, Family())
    *path, last = name.split(".")
    last, axes = leaf(last, role, dims)
    found = re.sub(r"/(\d+)(?=/)", rf"{family.stack}\1", "/".join([*path, last]))
    if family.rows and re.search(family.rows, found):
        axes = None if dims > 1 else (None, *range(dims))
    for pattern, other in family.renames:
        found = re.sub(pattern, other, found)
    return found, axes


def leaf(last: str, role: str, dims: int) -> tuple[str, tuple[int, ...] | None]:
    """TensorFlow's name of a leaf and the order of its axes: kernels are [in, out], those of convolutions [.., in, out]."""
    if last == "weight":
        if role == "linear" and dims == 2:
            return "kernel", (1, 0)
        if role in ("conv", "conv_transpose"):
            return "kernel", (*range(2, dims), 1, 0)
        if role in ("embedding", "norm", "batch_norm"):
            return ("embeddings" if role == "embedding" else "gamma"), None
    if last == "weight_g" and dims == 3:  # of a normalised convolution: one factor an element of the kernel
        return last, (2, 1, 0)
    if last == "bias" and role in ("norm", "batch_norm"):
        return "beta", None
    if role == "batch_norm" and last.startswith("running_"):
        return {"running_mean": "moving_mean", "running_var": "moving_variance"}[last], None
    return last, None


def to_torch(path: str, dims: int) -> tuple[str, tuple[int, ...] | None]:
    """(published PyTorch name, order of axes or ``None``) of a TensorFlow name whose array has ``dims`` dimensions.

    An order shorter than ``dims`` leaves out axes of size 1.
    """
    first, _, rest = path.partition("/")
    if (first.startswith("tf") and rest) or rest.startswith(f"{first}/"):
        path = rest
    path = path.removeprefix("clip/")  # a name that no PyTorch class of CLIP has
    path = re.sub(r"_\._(\d+)", r"/\1", re.sub(r"\b[a-z]+___", "", path))
    *parts, last = path.replace(".", "/").split("/")
    axes = None
    if last == "kernel":
        last, axes = "weight", (dims - 1, dims - 2, *range(dims - 2))
    elif last == "bias" and dims == 2:
        axes = (1,)
    elif last == "logit_scale" and dims == 1:
        axes = ()
    elif last == "weight_g" and dims == 3:
        axes = (2, 1, 0)
    last = _TORCH.get(last, last)
    return ".".join([*parts, last]), axes


_TORCH = {
    "gamma": "weight", "beta": "bias", "embeddings": "weight", "moving_mean": "running_mean",
    "moving_variance": "running_var",
}  # fmt: skip


def _snake(name: str) -> str:
    """A class name as Keras makes layer names of it."""
    name = re.sub(r"\W+", "", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()
