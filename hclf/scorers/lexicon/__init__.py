"""Phrases of nodes: finding them in texts, what is said of them there, and what they mean."""
