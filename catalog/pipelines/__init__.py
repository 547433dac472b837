"""Using a model in one line: see :func:`catalog.pipelines.making.pipeline`."""
