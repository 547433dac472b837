"""Writing text: text-generation, summarization and translation."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from catalog.errors import ConfigError
from catalog.generation.generate import generate, stream
from catalog.generation.options import Decoding
from catalog.pipelines.base import Row
from catalog.pipelines.texts import TextPipeline, text_of
from catalog.processors.text.padding import pad

LIMIT = 64  # new tokens where neither the caller nor the folder says how many


class Writing(TextPipeline):
    """What pipelines that write share: prompts padded in front, and the options of decoding."""

    def decoding(self, options: dict[str, Any], longest: int = 0) -> Decoding:
        """As the folder was published with, changed by ``options``. ``longest``: tokens of the prompt that stay in the text."""
        d = Decoding.read(self.folder).having(**options)
        if d.eos_token_id is None and self.config.eos_id is None and self.tokenizer.eos_id is not None:
            d = d.having(eos_token_id=self.tokenizer.eos_id)
        if d.max_length is None and d.max_new_tokens is None:
            room = LIMIT if self.room is None else max(1, min(LIMIT, self.room - longest))
            d = d.having(max_new_tokens=room)
        return d

    def padded(self, rows: Sequence[Row], side: str) -> dict[str, np.ndarray]:
        """``input_ids`` and ``attention_mask`` of a batch."""
        columns = {"input_ids": [row["input_ids"] for row in rows]}
        columns["attention_mask"] = [[1] * len(ids) for ids in columns["input_ids"]]
        fill = {"input_ids": self.tokenizer.pad_id or 0, "attention_mask": 0}
        return {name: np.array(c) for name, c in pad(columns, max(map(self.size, rows)), side, fill).items()}

    def texts(self, sequences) -> list[str]:
        """Rows of ids as texts without special tokens."""
        return [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in sequences.tolist()]


class TextGeneration(Writing):
    """A text, or a conversation (a list of ``{"role", "content"}``) -> ``{"generated_text"}``; a list of several drafts.

    chat       whether a text is put as a question, through the tokenizer's chat template; ``None``: where there is one
    full_text  whether the prompt comes back in front; ``None``: except that of a conversation
    options    of :class:`catalog.generation.options.Decoding`: ``max_new_tokens``, ``do_sample``, ``num_beams`` ...
    """

    def __call__(self, inputs: Any, *, chat: bool | None = None, full_text: bool | None = None, **options: Any) -> Any:
        Decoding().having(**options)  # a wrong name is told before the first text is read
        copies = options.get("num_return_sequences") or 1

        def run(rows):
            longest = max(map(self.size, rows))
            made = generate(
                self.model,
                **self.padded(rows, "left"),
                tokenizer=self.tokenizer,
                decoding=self.decoding(options, longest),
            )
            texts = self.texts(made.sequences[:, longest:])
            return [texts[i * copies : (i + 1) * copies] for i in range(len(rows))]

        def answer(rows, outputs):
            before = rows[0]["text"] if (full_text if full_text is not None else not rows[0]["chat"]) else ""
            found = [{"generated_text": before + text} for text in outputs[0]]
            return found[0] if copies == 1 else found

        return self.each(inputs, partial(self._rows, chat), run, answer)

    def stream(self, prompt: Any, *, chat: bool | None = None, **options: Any) -> Iterator[str]:
        """The pieces of the answer to one prompt, while it is written."""
        (row,) = self._rows(chat, prompt, "prompt")
        ids = np.array([row["input_ids"]])
        yield from stream(self.model, self.tokenizer, ids, decoding=self.decoding(options, ids.shape[1]))

    def is_one(self, inputs: Any) -> bool:
        return _conversation(inputs) or super().is_one(inputs)

    def _rows(self, chat, given, where):
        if not _conversation(given):
            given = text_of(given, where)
            chat = self.tokenizer.traits.chat_template is not None if chat is None else chat
            if not chat:
                return [{"input_ids": self.tokenizer(given)["input_ids"], "text": given, "chat": False}]
            given = [{"role": "user", "content": given}]
        text = self.tokenizer.chat(given)
        return [{"input_ids": self.tokenizer(text, special_tokens=False)["input_ids"], "text": text, "chat": True}]


def _conversation(given):
    return isinstance(given, (list, tuple)) and bool(given) and all(
        hasattr(turn, "keys") and "role" in turn and "content" in turn for turn in given
    )  # fmt: skip


class Rewriting(Writing):
    """What summarization and translation share: an encoder reads the text, a decoder writes another."""

    def rewrite(self, inputs: Any, key: str, prefix: str, options: dict[str, Any]) -> Any:
        """Answers ``{key: text}``; ``prefix`` stands in front of each text."""
        if (options.get("num_return_sequences") or 1) > 1:
            raise ConfigError(
                "num_return_sequences: one text comes back for each input here; use catalog.generate for several"
            )
        decoding = self.decoding(options)

        def rows(given, where):
            return [self.cut(where, prefix + text_of(given, where))]

        def run(rows):
            made = generate(self.model, **self.padded(rows, "right"), tokenizer=self.tokenizer, decoding=decoding)
            return self.texts(made.sequences)

        return self.each(inputs, rows, run, lambda rows, outputs: {key: outputs[0].strip()})

    def published(self, task: str, name: str) -> Any:
        """What the configuration says of a task: ``task_specific_params``, as published with T5; ``None`` where it does not."""
        return (self.config.extra.get("task_specific_params") or {}).get(task, {}).get(name)


class Summarization(Rewriting):
    """A text -> ``{"summary_text"}``. ``prefix`` as the configuration has it unless given; other options as for generation."""

    def __call__(self, inputs: Any, *, prefix: str | None = None, **options: Any) -> Any:
        prefix = (self.published("summarization", "prefix") or "") if prefix is None else prefix
        return self.rewrite(inputs, "summary_text", prefix, options)


class Translation(Rewriting):
    """A text -> ``{"translation_text"}``.

    ``src_lang`` and ``tgt_lang`` are codes of the tokenizer's languages (mBART: ``en_XX``), or pick the configuration's prefix
    (T5: ``en``, ``de``); where it has one prefix only, that one is taken.
    """

    def __call__(
        self, inputs: Any, *, src_lang: str | None = None, tgt_lang: str | None = None, prefix: str | None = None,
        **options: Any,
    ) -> Any:  # fmt: skip
        if "src_lang" not in self.tokenizer.traits.options:
            prefix = self._prefix(src_lang, tgt_lang) if prefix is None else prefix
            return self.rewrite(inputs, "translation_text", prefix or "", options)
        named = {"src_lang": src_lang, "tgt_lang": tgt_lang}
        tokenizer = self.tokenizer.configured(**{name: code for name, code in named.items() if code is not None})
        if tgt_lang is not None:
            options = {"forced_bos_token_id": tokenizer.id_of(tgt_lang), **options}
        return replace(self, processor=tokenizer).rewrite(inputs, "translation_text", prefix or "", options)

    def _prefix(self, source, target):
        known = [task for task in self.config.extra.get("task_specific_params") or {} if task.startswith("translation")]
        if source is None and target is None and len(known) <= 1:
            return self.published(known[0], "prefix") if known else None
        task = f"translation_{source}_to_{target}"
        if task not in known:
            raise ConfigError(
                f"src_lang={source!r}, tgt_lang={target!r}: {self.folder} has "
                f"{', '.join(known) or 'one pair of languages only'}; give src_lang and tgt_lang of these, or prefix"
            )
        return self.published(task, "prefix")
