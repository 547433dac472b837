"""The data engine: rows -> prepared once -> a keyed order -> global batches -> tensors, a few batches ahead.

    from trainer.data import hub, sources
    from trainer.data.batches import BatchPlan
    from trainer.data.collate import Collate, Field
    from trainer.data.loader import Loader
    from trainer.data.prepare import prepare

    files = sources.find("folder-or-file")                   # {"train": [...], "validation": [...], "test": [...]}
    rows = sources.read(files["train"], columns=["sentence", "label"])   # Rows: .data is a datasets.Dataset; .where(i)
    rows = hub.read("nyu-mll/glue", "sst2", "train", columns=["sentence", "label"])   # the same from the hub
    data = prepare(rows, process, key={...})                 # Dataset: .lengths, [i], rows(ids), where(i)
    plan = BatchPlan(data.lengths, batch_options, seed=7, rank=0, world=1)   # seed=None: in the given order, evaluation
    feed = Loader(data, plan, Collate(fields, batch_options), workers=1)     # a trainer.task.Feed

Images and sounds are columns, too: ``prepare(..., media=["image"])``, and a ``change=EachRow(transform, seed)`` of the
loader decodes them: see :mod:`trainer.data.media` and :mod:`trainer.data.each`.

Parquet and arrow files that are too many to prepare are read as they are needed: :mod:`trainer.data.shards`.

``process(columns: dict[str, list]) -> dict[str, list | array]`` turns some rows into features, one list a field; it
names a bad row with ``raise RowError(i, "what is wrong")``.
"""
