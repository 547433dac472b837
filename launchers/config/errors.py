"""The one message a user sees when a configuration is refused."""


class OptionError(Exception):
    """A configuration that cannot run: what is wrong, where it was written, and what to write instead.

    ``what``   names the key and the fault, without a place
    ``where``  ``command line, argument 3`` or ``conf/recipe/bert_glue.yaml:12``
    ``hints``  short phrases, shown on one line below
    """

    exit_code = 2

    def __init__(self, what: str, where: str = "", hints: tuple[str, ...] = ()):
        self.what, self.where, self.hints = what, where, tuple(hint for hint in hints if hint)
        place = f"   ({where})" if where else ""
        super().__init__("\n   ".join([what + place] + (["   ".join(self.hints)] if self.hints else [])))
