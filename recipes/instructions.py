"""Answering an instruction: a causal language model learns the answer only, measured by what it writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics.functional.text import squad

import catalog
from catalog.losses import Term
from recipes.metrics import Answers
from trainer.data.collate import Field
from trainer.data.rows import RowError
from trainer.task import Batch

IGNORE = -100
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MARKS = ("<|im_start|>", "<|im_end|>")


def conversational(tokenizer: Any) -> Any:
    """The tokenizer with ChatML's marks and template, where it has no template: of new weights, or of a bare decoder."""
    if tokenizer.traits.chat_template is not None:
        return tokenizer
    tokenizer.add_tokens(MARKS, special=True)
    return tokenizer.having(chat_template=CHATML).with_special(eos_token=MARKS[1])


@dataclass(frozen=True)
class InstructionFeatures:
    """Rows of ``instruction`` and ``response`` -> ids of the conversation, labels for the answer alone, tokens before it.

    A conversation longer than ``max_length`` loses the end of its instruction. RowError where the answer leaves no room.
    """

    tokenizer: Any
    max_length: int
    system: str | None

    def __call__(self, columns: Mapping[str, list]) -> dict[str, list]:
        """``input_ids``, ``labels`` and ``prompt``, the tokens before the answer."""
        made: dict[str, list] = {"input_ids": [], "labels": [], "prompt": []}
        for row, (instruction, response) in enumerate(zip(columns["instruction"], columns["response"])):
            for name, text in (("instruction", instruction), ("response", response)):
                if not isinstance(text, str) or not text.strip():
                    raise RowError(row, f"column {name!r} holds {text!r}, which is no text")
            prompt, answer = self._fitted(row, instruction, response)
            made["input_ids"].append(prompt + answer)
            made["labels"].append([IGNORE] * len(prompt) + answer)
            made["prompt"].append(len(prompt))
        return made

    def key(self) -> dict[str, Any]:
        """All that decides the features beside the rows."""
        return {
            "instructions": 1,
            "tokenizer": self.tokenizer.fingerprint,
            "length": self.max_length,
            "system": self.system,
        }

    def _fitted(self, row: int, instruction: str, response: str) -> tuple[list[int], list[int]]:
        while True:
            asked, answer = self._ids(instruction, response)
            over = len(asked) + len(answer) - self.max_length
            if over <= 0:
                return asked, answer
            words = self.tokenizer.ids([instruction], special_tokens=False).input_ids[0]
            if over >= len(words):
                raise RowError(
                    row, f"an answer of {len(answer)} tokens with its conversation does not fit into {self.max_length}; raise "
                    "batch.max_length"
                )  # fmt: skip
            instruction = self.tokenizer.decode(words[: len(words) - over])

    def _ids(self, instruction: str, response: str) -> tuple[list[int], list[int]]:
        """The conversation up to the answer, and the answer with what the template puts behind it, up to the end token."""
        start = [{"role": "system", "content": self.system}] if self.system else []
        start.append({"role": "user", "content": instruction})
        asked = self.tokenizer.chat(start)
        whole = self.tokenizer.chat([*start, {"role": "assistant", "content": response}], answer=False)
        if not whole.startswith(asked):  # a template that changes what was said before
            whole = asked + response + self.tokenizer.traits.special["eos_token"]
        prompt, answer = self.tokenizer.ids([asked, whole[len(asked) :]], special_tokens=False).input_ids
        end = self.tokenizer.eos_id
        answer = answer[: answer.index(end) + 1] if end in answer else [*answer, end]
        return prompt, answer


class Written(NamedTuple):
    """Texts that the model wrote and those it should have written, one of each a row; None while training."""

    answers: Sequence[str] | None
    references: Sequence[str] | None


class Instructions:
    """The trainer's task of a causal LM head that answers; exact match and F1 as SQuAD scores them, 0 to 100."""

    targets = ("labels",)

    def __init__(self, tokenizer: Any, max_new_tokens: int, best: str = "exact_match"):
        self.tokenizer, self.max_new_tokens = tokenizer, max_new_tokens
        self.best = (best, "min" if best == "loss" else "max")

    def counts(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        """The tokens of answers."""
        return model.counts(labels=batch["labels"], lengths=batch.get("lengths"))

    def terms(self, model: nn.Module, batch: Batch) -> tuple[Written, Mapping[str, Term]]:
        """The loss as a sum, and what the model writes while it is measured."""
        inputs = {name: value for name, value in batch.items() if name not in ("labels", "prompt", "rows")}
        terms = model.terms(model(**inputs), labels=batch["labels"], lengths=batch.get("lengths"))
        if model.training:
            return Written(None, None), terms
        answers = [row[prompt:] for row, prompt in zip(_rows(batch), batch["prompt"].tolist())]
        return Written(self.predict(model, batch), self._texts(answers)), terms

    def new_metrics(self) -> Answers:
        """Fresh metrics."""
        return Answers(lambda output, batch: list(zip(output.answers, output.references)), _scores)

    def predict(self, model: nn.Module, batch: Batch) -> list[str]:
        """The answer to each prompt of the batch, by taking the best token each time."""
        prompts = [row[:prompt] for row, prompt in zip(_rows(batch), batch["prompt"].tolist())]
        width = max(map(len, prompts))
        ids = torch.stack([nn.functional.pad(row, (width - len(row), 0)) for row in prompts])
        sizes = torch.tensor([[len(row)] for row in prompts], device=ids.device)
        mask = (torch.arange(width, device=ids.device) >= width - sizes).long()
        end = self.tokenizer.eos_id
        made = catalog.generate(
            model, ids, mask, max_new_tokens=self.max_new_tokens, eos_token_id=end, pad_token_id=end
        )
        return self._texts(made.sequences[:, width:])

    def _texts(self, rows: Sequence[Tensor]) -> list[str]:
        known = len(self.tokenizer)  # a model may have rows for more; before it has learnt it writes them
        texts = [[token for token in row.tolist() if token < known] for row in rows]
        return self.tokenizer.batch_decode(texts, skip_special_tokens=True)


def fields(tokenizer: Any) -> list[Field]:
    """How features become tensors."""
    pad = tokenizer.eos_id if tokenizer.pad_id is None else tokenizer.pad_id
    tokens = [Field("input_ids", per="token", pad=pad), Field("labels", per="token", pad=IGNORE)]
    return [*tokens, Field("prompt", per="row")]


def _rows(batch: Batch) -> list[Tensor]:
    """The tokens of each row, without padding."""
    if "lengths" in batch:
        return list(batch["input_ids"][0].split(batch["lengths"].tolist()))
    return [row[mask.bool()] for row, mask in zip(batch["input_ids"], batch["attention_mask"])]


def _scores(answers: list[str], references: list[str]) -> dict[str, float]:
    """Rajpurkar et al., 2016 (arXiv:1606.05250): case, articles and punctuation do not count."""
    said = [{"id": str(i), "prediction_text": text} for i, text in enumerate(answers)]
    right = [{"id": str(i), "answers": {"text": [t], "answer_start": [0]}} for i, t in enumerate(references)]
    return {name: float(score) for name, score in squad(said, right).items()}
