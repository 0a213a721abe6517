"""Copies that are recognised, and texts that only look like copies and are kept apart, on articles of a BEIR corpus.

`scripts/evaluate_duplicates.py CORPUS.jsonl` makes variants of articles and prints one JSON object: of variants that
are copies the share of passages that are folded, of passages with one fact altered the share that is kept apart, and
the processor time, in milliseconds, to fold 100 passages of as many articles. A name altered in a byline or a dateline
does not keep a passage apart, and should not.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import textwrap
import time
import timeit
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from question_sets import read_jsonl

from pincite.index import Document, Passage
from pincite.index.chunker import Chunking, Tokenizer, chunk
from pincite.index.embedder import load_embedder
from pincite.qa.duplicates import fold
from pincite.qa.retriever import Hit


def _as_pages(text: str) -> str:
    """Return the text as a PDF has it: hard-wrapped and hyphenated lines, no paragraphs."""
    lines = textwrap.wrap(" ".join(text.split()), 70, break_on_hyphens=False)
    return re.sub(r" (\w{4})(\w{4,})\n", r" \1-\n\2 ", "\n".join(lines) + "\n")


def _typeset(text: str) -> str:
    """Return the text as a typesetter would have it: ligatures, curly quotes, wide spaces, other line ends."""
    for old, new in (("ffi", "ﬃ"), ("fi", "ﬁ"), ("'", "’"), (" - ", " — "), ("\n", "\r\n"), (". ", ".  ")):
        text = text.replace(old, new)
    return text


COPIES: dict[str, Callable[[str], str]] = {
    "other name": str,
    "typeset": _typeset,
    "upper case": str.upper,
    "as pages": _as_pages,
    "headline and byline": lambda text: "The Evening Tide\nBy Jane Roe and John Doe\n\nHARBOUR TOWN (ETN) — " + text,
    "credits": lambda text: text + "\n\nAdditional reporting by our staff in Harbour Town.",
    "last two thirds": lambda text: text[text.find("\n", len(text) // 3) + 1 :].lstrip(),
}
ALTERED: dict[str, Callable[[str], str]] = {
    "a number": lambda text: re.sub(r"\d+", lambda number: str(int(number[0]) + 1), text, count=1),
    "a name": lambda text: re.sub(r"(?<=[a-z] )[A-Z][a-z]+\b", "Pemberton", text, count=1),
    "a not": lambda text: re.sub(r"\b(is|was|are|were|has|had|will|said)\b(?= [a-z])", r"\1 not", text, count=1),
}


def hits_of(name: str, passages: Sequence[Passage]) -> list[Hit]:
    """Return passages as hits of a document."""
    return [Hit(replace(one, document_id=name), name, name, 1, 0.5, None, None) for one in passages]


def cut(name: str, text: str, tokenizer: Tokenizer) -> list[Hit]:
    """Return the passages of a text as hits."""
    document = Document(name, name, "", text, "0" * 64)
    return hits_of(name, chunk(document, tokenizer, Chunking()))


def folded(own: Sequence[Hit], others: Sequence[Hit]) -> float:
    """Return how many hits are gone when two documents are folded, of what can be gone."""
    return min(1.0, (len(own) + len(others) - len(fold([*own, *others]))) / min(len(own), len(others)))


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, metavar="CORPUS")
    rows = [row["text"] for row in read_jsonl(parser.parse_args(argv).corpus) if len(row["text"]) > 500]
    texts = random.Random(20221122).sample(rows, min(300, len(rows)))
    tokenizer = load_embedder()
    originals = [cut("original", text, tokenizer) for text in texts]
    copies, kept = {}, {}
    for name, variant in COPIES.items():
        pairs = zip((cut("copy", variant(text), tokenizer) for text in texts), originals, strict=True)
        copies[name] = round(fmean(folded(own, others) for own, others in pairs), 4)
    for name, variant in ALTERED.items():
        passages = [(hit, replace(hit.passage, text=variant(hit.passage.text))) for own in originals for hit in own]
        altered = [([hit], hits_of("copy", [one])) for hit, one in passages if one.text != hit.passage.text]
        kept[name] = round(1 - fmean(folded(own, others) for own, others in altered), 4)
    several = [hit for number, own in enumerate(originals[:100]) for hit in hits_of(str(number), [own[0].passage])]
    spent = 1000 * min(timeit.repeat(lambda: fold(several), timer=time.process_time, number=1, repeat=9))
    figures = {"copies folded": copies, "altered kept": kept, "fold_ms": round(spent, 2)}
    print(json.dumps({"evaluate": "duplicates", "articles": len(texts), **figures}))


if __name__ == "__main__":
    main()
