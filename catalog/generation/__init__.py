"""Decoding: how text is written with a model that scores the next token."""
