"""The nine GLUE tasks as a table: texts, labels, published metrics, and how their files spell the columns.

Wang et al., 2018, "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding" (arXiv:1804.07461).
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class GlueTask:
    """One task. Columns are named as on the hub; ``files`` says what GLUE's own files call them instead. The label's is
    ``label``.

    text      columns of text, in the order in which the model reads them
    labels    names of the classes by id; ``None``: the label is a number
    metrics   as published; the first picks the best model
    evals     name of a measurement -> the split it is taken on; the first decides
    sample    folder of ``recipes/data`` with the demonstration sample
    headers   columns of files without a header line, told apart by their number
    """

    about: str
    text: tuple[str, ...]
    labels: tuple[str, ...] | None
    metrics: tuple[str, ...]
    sample: str
    files: dict[str, str] = field(default_factory=dict)
    evals: dict[str, str] = field(default_factory=lambda: {"dev": "validation"})
    headers: tuple[tuple[str, ...], ...] = ()


ENTAILS = ("entailment", "not_entailment")

TASKS = {
    "sst2": GlueTask(
        about="is a sentence of a film review praise? Stanford Sentiment Treebank",
        text=("sentence",),
        labels=("negative", "positive"),
        metrics=("accuracy",),
        sample="sentiment",
    ),
    "cola": GlueTask(
        about="is a sentence well formed? Corpus of Linguistic Acceptability",
        text=("sentence",),
        labels=("unacceptable", "acceptable"),
        metrics=("matthews",),
        sample="cola",
        headers=(("source", "label", "mark", "sentence"), ("sentence", "label")),
    ),
    "mrpc": GlueTask(
        about="do two sentences of the news say the same? Microsoft Research Paraphrase Corpus",
        text=("sentence1", "sentence2"),
        labels=("not_equivalent", "equivalent"),
        metrics=("accuracy", "f1"),
        sample="mrpc",
        files={"sentence1": "#1 String", "sentence2": "#2 String", "label": "Quality"},
    ),
    "stsb": GlueTask(
        about="how alike are two sentences, 0 to 5? Semantic Textual Similarity Benchmark",
        text=("sentence1", "sentence2"),
        labels=None,
        metrics=("spearman", "pearson"),
        sample="stsb",
        files={"label": "score"},
    ),
    "qqp": GlueTask(
        about="do two questions ask the same? Quora Question Pairs",
        text=("question1", "question2"),
        labels=("not_duplicate", "duplicate"),
        metrics=("accuracy", "f1"),
        sample="qqp",
        files={"label": "is_duplicate"},
    ),
    "mnli": GlueTask(
        about="does the premise entail, contradict or leave open the hypothesis? Multi-Genre NLI",
        text=("premise", "hypothesis"),
        labels=("entailment", "neutral", "contradiction"),
        metrics=("accuracy",),
        sample="mnli",
        files={"premise": "sentence1", "hypothesis": "sentence2", "label": "gold_label"},
        evals={"matched": "validation_matched", "mismatched": "validation_mismatched"},
    ),
    "qnli": GlueTask(
        about="does the sentence hold the answer to the question? from SQuAD",
        text=("question", "sentence"),
        labels=ENTAILS,
        metrics=("accuracy",),
        sample="qnli",
    ),
    "rte": GlueTask(
        about="does the first text entail the second? Recognizing Textual Entailment",
        text=("sentence1", "sentence2"),
        labels=ENTAILS,
        metrics=("accuracy",),
        sample="rte",
    ),
    "wnli": GlueTask(
        about="does the sentence entail its copy with the pronoun filled in? Winograd NLI",
        text=("sentence1", "sentence2"),
        labels=("not_entailment", "entailment"),
        metrics=("accuracy",),
        sample="wnli",
    ),
}
