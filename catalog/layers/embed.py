"""From ids to states."""

from torch import nn


class TokenEmbedding(nn.Module):
    """Token vectors, plus whatever is added to them, normalised and dropped out; ids [B, T] -> [B, T, width].

    ``positions`` maps positions [1 or B, T] to [., T, width]; ``segments`` is the number of segment vectors (0: none);
    the vector of id ``pad`` learns nothing, as published models were trained; ``project`` widens what comes out (factorised
    embeddings: Lan et al., 2019, arXiv:1909.11942).
    """

    def __init__(self, vocab, width, *, pad=None, positions=None, segments=0, norm=None, dropout=0.0, project=None):
        super().__init__()
        self.tokens = nn.Embedding(vocab, width, padding_idx=pad)
        self.positions = positions
        self.segments = nn.Embedding(segments, width) if segments else None
        self.norm = nn.Identity() if norm is None else norm
        self.drop = nn.Dropout(dropout)
        self.project = nn.Identity() if project is None else project

    def forward(self, ids, positions=None, segments=None):
        x = self.tokens(ids)
        if self.segments is not None:
            x = x + (self.segments.weight[0] if segments is None else self.segments(segments))
        if self.positions is not None:
            x = x + self.positions(positions)
        return self.project(self.drop(self.norm(x)))
