"""The random streams of a study: one seed, one stream for each purpose."""

import hashlib


def stream(seed: int, purpose: str) -> int:
    """A 63-bit seed of its own for each consumer of randomness, from (seed, purpose)."""
    text = f"{seed}:{purpose}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
