"""Networks as scorers: encoders of texts and of feature matrices, heads that know the taxonomy, one training loop.

Everything here needs the extra `neural` (torch, transformers); nothing outside imports it at start.
"""
