"""What a compiled model must agree on with sentence-transformers before its vectors are trusted.

The texts are fixed, and the reference's vectors for them are kept in the cache: a new CPU or OpenVINO version checks
itself against them without loading torch.
"""

from __future__ import annotations

from itertools import chain

__all__ = ["MIN_COSINE", "check_texts"]

MIN_COSINE = 0.999
"""To sentence-transformers in float32, for each of `check_texts`."""


def check_texts(window: int) -> list[str]:
    """Return 32 texts of 0 tokens to more than the window, on which compiled and reference vectors must agree."""
    phrases = (
        "The harbour office closes at noon on Saturdays.",
        "Who repaired the west gate, and what did it cost?",
        "In 1987 the co-operative bought 14 hectares of meadow for £3,250.50.",
        "Żółta łódź płynie; der Fluß ist schmal, l'été fut long.",
        "WARNING: valve B-7 must be shut before the pump is primed!",
        "e = mc² ⇒ 🚲 → 東京 ‑ здравствуй",
        "She said, “we'll see”, and left (the train was late).",
        "pH 7.4; 0x1F; user@example.org; v2.0.1-rc3",
    )
    lengths = (0, 1, 2, 3, 5, 8, 12, 20)
    texts = ["" if n == 0 else " ".join((phrases[n % 8 :] + phrases[: n % 8]) * 3)[: 15 * n] for n in lengths]
    cycle = list(chain(phrases, reversed(phrases)))
    # A word has about 1.4 tokens: the last of these texts go beyond the window.
    for n in range(1, 25):
        words = " ".join(cycle[n % 16 :] + cycle[: n % 16]).split()
        target = max(3, window * n // 24)
        texts.append(" ".join((words * (target // len(words) + 1))[:target]))
    return texts
