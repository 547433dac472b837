"""Gradients summed over processes while the backward pass goes on."""

from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn

NBYTES = 25 << 20  # of a bucket: large enough for bandwidth, small enough that the first leaves early


class Buckets:
    """Sums the gradients of ``params`` over all processes, a bucket at a time, last parameters first.

    A bucket is sent when its last gradient is there; always in the same order, so a process that computed nothing
    (an empty share) or left a parameter out sends zeros and the others do not wait for ever. Each bucket ends with a
    flag a parameter: one without a gradient anywhere has none afterwards, as on one process. ``reduce`` is the format in
    which they are added up; ``None``: their own.
    """

    def __init__(self, params: Sequence[nn.Parameter], nbytes: int = NBYTES, reduce: torch.dtype | None = None):
        self.buckets, self.reduce = _split(list(reversed(params)), nbytes), reduce
        self.whole = [bucket[0].new_ones(len(bucket)) for bucket in self.buckets]
        self.armed = True  # off in every backward pass of a step but the last
        for i, bucket in enumerate(self.buckets):
            for p in bucket:
                p.register_post_accumulate_grad_hook(lambda _, i=i: self._arrived(i))
        self._begin()

    def finish(self) -> None:
        """Send what is left and wait: every gradient is then the sum over all processes."""
        while len(self.sent) < len(self.buckets):
            self._send()
        for bucket, (flat, work) in zip(self.buckets, self.sent):
            work.wait()
            *sums, flags = flat.split([p.numel() for p in bucket] + [len(bucket)])
            missing = any(p.grad is None for p in bucket)
            used = flags.tolist() if missing else [1.0] * len(bucket)  # a GPU is waited for only where it must be
            for p, total, flag in zip(bucket, sums, used):
                p.grad = total.view_as(p).to(p.dtype) if flag else None
        self._begin()

    def _begin(self) -> None:
        self.left, self.sent = [len(bucket) for bucket in self.buckets], []

    def _arrived(self, i: int) -> None:
        if not self.armed:
            return
        self.left[i] -= 1
        while len(self.sent) < len(self.buckets) and not self.left[len(self.sent)]:
            self._send()

    def _send(self) -> None:
        bucket, flags = self.buckets[len(self.sent)], self.whole[len(self.sent)]
        if any(p.grad is None for p in bucket):
            flags = flags.new_tensor([p.grad is not None for p in bucket])
        grads = [p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in bucket]
        flat = torch.cat([*grads, flags]).to(self.reduce or flags.dtype)
        self.sent.append((flat, distributed.all_reduce(flat, async_op=True)))


def _split(params: Sequence[nn.Parameter], nbytes: int) -> list[list[Tensor]]:
    """Runs of parameters of one format and at most ``nbytes``, or one larger parameter."""
    buckets: list[list[Tensor]] = []
    size = 0
    for p in params:
        if not buckets or size + p.nbytes > nbytes or buckets[-1][0].dtype != p.dtype:
            buckets.append([])
            size = 0
        buckets[-1].append(p)
        size += p.nbytes
    return buckets
