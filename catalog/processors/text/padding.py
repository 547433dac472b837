"""Padding of rows to one width."""

from catalog.errors import ProcessorError

PADDING = (None, "longest", "max_length")


def padded_length(rows, padding, max_length, multiple_of) -> int:
    """The width all rows are padded to. ``multiple_of`` alone pads to the longest row, rounded up."""
    if padding not in PADDING:
        raise ProcessorError(f"padding={padding!r} is not known; one of None, 'longest', 'max_length'")
    if padding == "max_length" and max_length is None:
        raise ProcessorError("padding='max_length' needs max_length")
    width = max([max_length] if padding == "max_length" else map(len, rows), default=0)
    step = multiple_of or 1
    return -(-width // step) * step


def pad(columns: dict[str, list], width: int, side: str, values: dict) -> dict[str, list]:
    """Columns of rows -> the same with every row of ``width``; ``values`` says what each column is filled with."""
    if side not in ("left", "right"):
        raise ProcessorError(f"side={side!r} is not known; 'left' or 'right'")

    def filled(row, value):
        fill = [value] * (width - len(row))
        return fill + row if side == "left" else row + fill

    return {name: [filled(row, values[name]) for row in rows] for name, rows in columns.items()}
