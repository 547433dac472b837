"""What tests need to export models."""

from torch import nn


class Named(nn.Module):
    """The model as a function of one dictionary, as export wants arguments that a head passes on by name."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return self.model(**inputs)
