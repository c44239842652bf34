"""Engines: what answers prompts. Heavy libraries are imported only by the one that needs them."""
