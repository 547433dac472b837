"""Train LLaMA on running text, as GPT-2 is: ``python train.py recipe=llama_clm``. The configuration tells them apart."""

from recipes.gpt2_clm import SCALES, prepare

__all__ = ["SCALES", "prepare"]
