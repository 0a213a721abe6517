"""Rankings and answers -> the figures by which retrieval and reading are judged.

Written out here rather than imported, because a reader of a result wants to see which of the several measures of
one name was taken. The tests hold them against ir_measures and against the SQuAD evaluation's rules.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log2

__all__ = [
    "average_precision",
    "exact_match",
    "f1",
    "mean_over_queries",
    "ndcg",
    "normalize_answer",
    "recall",
    "reciprocal_rank",
    "retrieval_scores",
]

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def ndcg(ranking: Sequence[str], judgments: Mapping[str, int], *, k: int = 10) -> float:
    """Return nDCG@k of one query: discounted cumulative gain over that of the ideal ranking.

    Järvelin & Kekäläinen 2002, section 2, with the gain of a document its grade, as there. One deviation, shared
    with trec_eval and BEIR: the discount is log2(rank + 1) at every rank, so that rank 2 counts less than rank 1.

    Args:
        ranking: document ids, best first; only the first `k` are looked at.
        judgments: document id -> grade. A grade of 0 or less, like a missing one, is "not relevant".
        k: how many ranks count.

    >>> ndcg(["b", "a"], {"a": 1})
    0.6309297535714575
    """
    ideal = _dcg(sorted(_relevant(judgments).values(), reverse=True)[:k])
    return _dcg([max(judgments.get(document, 0), 0) for document in _top(ranking, k)]) / ideal if ideal else 0.0


def recall(ranking: Sequence[str], judgments: Mapping[str, int], *, k: int) -> float:
    """Return the share of one query's relevant documents that are among the first `k`.

    Manning, Raghavan & Schütze 2008, equation 8.2, of the set of the first `k`. A grade over 0 is relevant.

    >>> recall(["x", "a"], {"a": 1, "b": 2}, k=2)
    0.5
    """
    relevant = _relevant(judgments)
    return len(relevant.keys() & set(_top(ranking, k))) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranking: Sequence[str], judgments: Mapping[str, int], *, k: int = 10) -> float:
    """Return 1 / rank of the first relevant document of one query, 0 if the first `k` hold none.

    Voorhees 1999 (the TREC-8 question answering track), whose mean over the queries is MRR@k.

    >>> reciprocal_rank(["x", "a"], {"a": 1})
    0.5
    """
    ranks = (rank for rank, document in enumerate(_top(ranking, k), 1) if judgments.get(document, 0) > 0)
    return 1 / next(ranks, float("inf"))


def average_precision(ranking: Sequence[str], judgments: Mapping[str, int]) -> float:
    """Return the mean, over one query's relevant documents, of the precision at the rank of each.

    Manning, Raghavan & Schütze 2008, equation 8.8, whose mean over the queries is MAP. A relevant document that
    was not retrieved counts as precision 0, so a ranking cut short can only score lower.

    >>> average_precision(["a", "x", "b"], {"a": 1, "b": 1})
    0.8333333333333333
    """
    found, total = 0, 0.0
    for rank, document in enumerate(_top(ranking, len(ranking)), 1):
        if judgments.get(document, 0) > 0:
            found += 1
            total += found / rank
    relevant = len(_relevant(judgments))
    return total / relevant if relevant else 0.0


def mean_over_queries(
    measure: Callable[[Sequence[str], Mapping[str, int]], float],
    run: Mapping[str, Sequence[str]],
    qrels: Mapping[str, Mapping[str, int]],
) -> float:
    """Return the mean of `measure` over the queries of `qrels` that have a relevant document.

    A query that `run` does not answer counts 0. A query without a relevant document is left out: no ranking could
    score on it. Queries of `run` that nobody judged are left out too.

    Args:
        measure: such as `reciprocal_rank`; called with a ranking and the judgments of its query.
        run: query id -> document ids, best first.
        qrels: query id -> document id -> grade.
    """
    scores = [measure(run.get(query, ()), judgments) for query, judgments in qrels.items() if _relevant(judgments)]
    return sum(scores) / len(scores) if scores else 0.0


def retrieval_scores(run: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Return nDCG@10, recall@1, 5, 10 and 100, MRR@10 and MAP, by those names.

    Args: as of `mean_over_queries`. Rankings need 100 documents for recall@100, all documents for MAP.
    """
    measures: dict[str, Callable[[Sequence[str], Mapping[str, int]], float]] = {
        "nDCG@10": lambda ranking, judgments: ndcg(ranking, judgments, k=10),
        "recall@1": lambda ranking, judgments: recall(ranking, judgments, k=1),
        "recall@5": lambda ranking, judgments: recall(ranking, judgments, k=5),
        "recall@10": lambda ranking, judgments: recall(ranking, judgments, k=10),
        "recall@100": lambda ranking, judgments: recall(ranking, judgments, k=100),
        "MRR@10": lambda ranking, judgments: reciprocal_rank(ranking, judgments, k=10),
        "MAP": average_precision,
    }
    return {name: mean_over_queries(measure, run, qrels) for name, measure in measures.items()}


def normalize_answer(text: str) -> str:
    """Return `text` in lower case without ASCII punctuation, English articles and needless white space.

    Rajpurkar et al. 2016 (SQuAD), section 6.1, in the order of its evaluation: a hyphen or an apostrophe joins
    what it divided, and an article is looked for after that.

    >>> normalize_answer("The  U.S. Navy's")
    'us navys'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Iterable[str]) -> float:
    """Return 1 if the prediction equals one of the answers after `normalize_answer`, else 0.

    Rajpurkar et al. 2016, section 6.1. No answers say that the question has none, as in SQuAD 2.0 (Rajpurkar, Jia
    & Liang 2018): then the empty prediction is the right one. An answer of which normalising leaves nothing is
    not counted, as there.

    >>> exact_match("the Mayor.", ["mayor", "the town's mayor"])
    1.0
    """
    return max(float(normalize_answer(prediction) == answer) for answer in _normal_answers(answers))


def f1(prediction: str, answers: Iterable[str]) -> float:
    """Return the best F1 between the words of the prediction and those of one answer, words taken as bags.

    Rajpurkar et al. 2016, section 6.1; the maximum over the answers. Unanswerable questions are treated as in
    `exact_match`: if either side is empty, F1 is 1 if both are and 0 otherwise.

    >>> f1("in the town hall", ["town hall"])
    0.8
    """
    return max(_f1(normalize_answer(prediction), answer) for answer in _normal_answers(answers))


def _f1(prediction: str, answer: str) -> float:
    if not prediction or not answer:
        return float(prediction == answer)
    ours, theirs = Counter(prediction.split()), Counter(answer.split())
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def _normal_answers(answers: Iterable[str]) -> list[str]:
    return [normal for answer in answers if (normal := normalize_answer(answer))] or [""]


def _dcg(grades: Sequence[int]) -> float:
    return sum(grade / log2(rank + 1) for rank, grade in enumerate(grades, 1))


def _relevant(judgments: Mapping[str, int]) -> dict[str, int]:
    return {document: grade for document, grade in judgments.items() if grade > 0}


def _top(ranking: Sequence[str], k: int) -> Sequence[str]:
    """Return the first `k`; a document ranked twice would be counted twice, so it is refused.

    Raises:
        ValueError: a document is there twice, or `k` is below 0.
    """
    if k < 0:
        raise ValueError(f"k needs to be 0 or more, not {k}")
    top = ranking[:k]
    if len(set(top)) < len(top):
        raise ValueError("a document is in the ranking twice")
    return top
