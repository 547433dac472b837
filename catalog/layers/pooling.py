"""From the states of all tokens to one vector a sequence; every pool takes states [B, T, width] and the mask."""

from torch import nn

from catalog.layers.mlp import activation


class FirstToken(nn.Module):
    """The first real token's state, [B, width]."""

    def forward(self, states, mask):
        return mask.first(states)


class LastToken(nn.Module):
    """The last real token's state, [B, width]; found by the mask, never by a pad id."""

    def forward(self, states, mask):
        return mask.last(states)


class MeanTokens(nn.Module):
    """The mean of the real tokens' states, [B, width]."""

    def forward(self, states, mask):
        return mask.mean(states)


class DenseFirstToken(nn.Module):
    """act(dense(first token's state)), [B, width]: BERT's pooler."""

    def __init__(self, width, act="tanh"):
        super().__init__()
        self.dense, self.act = nn.Linear(width, width), activation(act)

    def forward(self, states, mask):
        return self.act(self.dense(mask.first(states)))


class MeanPatches(nn.Module):
    """norm(mean of the patches' states), [B, width]; the first token does not count."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, states, mask):
        return self.norm(states[:, 1:].mean(1))
