"""Samples that are drawn by a program of ours, the same in every run: what ``scale=demo`` learns from."""
