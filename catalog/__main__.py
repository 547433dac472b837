"""``python -m catalog``: list what there is, show one model, check a folder, convert to a framework, export, run.

Errors are one message and the exit code of the matter: 2 for a wrong name, 3 for files that are not what they say.
"""

import argparse
import sys

from catalog import cards, registry
from catalog.errors import CatalogError, ConfigError, did_you_mean
from catalog.pipelines import command


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except CatalogError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="python -m catalog", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=command.Parser)
    listing = commands.add_parser("list", help="every row of the catalog")
    listing.add_argument("--task", help="only models with this head, e.g. question-answering")
    listing.add_argument("--modality", help="only models of text, image, audio or image-text")
    listing.set_defaults(run=_list)
    show = commands.add_parser("show", help="one model, row or published size")
    show.add_argument("name")
    show.set_defaults(run=_show)
    verify = commands.add_parser(
        "verify", help="check a model folder: names, shapes, types and the hash of its weights"
    )
    verify.add_argument("folder")
    verify.set_defaults(run=_verify)
    convert = commands.add_parser("convert", help="write a folder's weights as another framework has them")
    convert.add_argument("source", help="a model folder or a hub id")
    convert.add_argument("folder", help="where to write")
    convert.add_argument("--to", required=True, metavar="FRAMEWORK", help="torch, flax or tf")
    convert.set_defaults(run=_convert)
    export = commands.add_parser("export", help="write a model as a file that runs without the catalog")
    export.add_argument("source", help="a model folder or a hub id")
    export.add_argument("path", help="the file to write; of a SavedModel the folder")
    export.add_argument("--format", default="onnx", help="onnx (the default), torchscript, savedmodel or stablehlo")
    export.add_argument("--head", help="a task of `show`, or backbone; what the folder says it is unless given")
    export.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), help="the folder's unless given")
    export.add_argument("--image", metavar="HEIGHTxWIDTH", help="size of images; the configured one unless given")
    export.set_defaults(run=_export)
    command.add(commands.add_parser("run", help="do a task with a model, on the inputs given"))
    return parser


def _list(options):
    tasks = sorted({head for name in registry.names() for head in registry.heads(name)})
    known = sorted({cards.card(name).modality for name in registry.names()})
    _check("task", options.task, tasks)
    _check("modality", options.modality, known)
    found = []
    for row, name in sorted(cards.rows().items(), key=lambda item: item[0].lower()):
        card = cards.card(name)
        if options.task in (None, *card.heads) and options.modality in (None, card.modality):
            found.append((row, name, card.modality, " ".join(_SHORT.get(head, head) for head in card.heads)))
    widths = [max(map(len, column)) for column in zip(("row", "model", "modality", ""), *found)]
    for line in (("row", "model", "modality", "heads"), *found):
        print("  ".join(f"{word:{width}}" for word, width in zip(line, widths)).rstrip())


# Heads in a list's line; `show` has the full names, which --task and head= take.
_SHORT = {
    "sequence-classification": "classify",
    "token-classification": "tokens",
    "question-answering": "qa",
    "multiple-choice": "choice",
    "next-sentence": "next",
    "pre-training": "pretrain",
    "masked-lm": "mlm",
    "causal-lm": "lm",
    "seq2seq-lm": "seq2seq",
    "image-classification": "image",
    "audio-classification": "audio",
}


def _check(what, value, known):
    if value is not None and value not in known:
        raise ConfigError(f"no {what} '{value}'{did_you_mean(value, known)} There are: {', '.join(known)}")


def _show(options):
    print(cards.card(options.name))


def _verify(options):
    from catalog.verify import verify

    print(verify(options.folder))


def _convert(options):
    from catalog.frameworks import convert

    print(convert(options.source, options.folder, options.to))


def _export(options):
    from catalog.exporting.export import described, export

    written = export(
        options.source,
        options.path,
        options.format,
        head=options.head,
        dtype=options.dtype,
        image=_sides(options.image),
    )
    print(described(written))


def _sides(text):
    """``"480x640"`` as numbers."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdigit() and int(side) for side in sides):
        raise ConfigError(f"--image {text}: give HEIGHTxWIDTH in pixels, as 480x640")
    return int(sides[0]), int(sides[1])


if __name__ == "__main__":
    sys.exit(main())
