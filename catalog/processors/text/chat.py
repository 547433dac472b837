"""A conversation as text, by the template that a tokenizer is published with.

Templates are Jinja and come with downloaded files, so they run in Jinja's sandbox: no attribute beginning with an
underscore, no call but of plain methods, nothing changed outside, no loop without end over ``range``.
"""

import functools
import json
from collections.abc import Mapping, Sequence

from catalog.errors import ProcessorError

Message = Mapping[str, str]  # role (system, user, assistant) and content


def render(template: str, messages: Sequence[Message], special: Mapping[str, str], *, answer: bool) -> str:
    """``messages`` as text; ``answer``: up to where the next answer begins. ``special``: role -> token.

    Raises ProcessorError where the template is broken, does something forbidden or refuses the conversation.
    """
    from jinja2.exceptions import TemplateError

    try:
        values = {**special, "messages": [dict(message) for message in messages], "add_generation_prompt": answer}
        return _compiled(template).render(**values)
    except (TemplateError, TypeError, ValueError, OverflowError, ArithmeticError, LookupError) as error:
        raise ProcessorError(f"the tokenizer's chat template: {type(error).__name__}: {error}") from None


@functools.lru_cache(maxsize=8)
def _compiled(template: str):
    from jinja2 import TemplateRuntimeError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message):
        raise TemplateRuntimeError(message)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    made.filters["tojson"] = lambda value, **more: json.dumps(value, ensure_ascii=False, **more)
    made.globals["raise_exception"] = refuse
    return made.from_string(template)
