"""Rankings, answers and confidences -> the figures by which retrieval and reading are judged.

Written out here rather than imported, because a reader of a result wants to see which of the several measures of
one name was taken. The tests hold them against ir_measures, the SQuAD evaluation's rules and brute force.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, fsum, inf, log2, sqrt

__all__ = [
    "Bin",
    "any_has_words",
    "auroc",
    "average_precision",
    "best_threshold",
    "calibration_table",
    "exact_match",
    "expected_calibration_error",
    "f1",
    "has_words",
    "mean_over_queries",
    "ndcg",
    "normalize_answer",
    "recall",
    "reciprocal_rank",
    "retrieval_scores",
    "with_interval",
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


def has_words(text: str, answers: Iterable[str]) -> bool:
    """Return whether the words of one of the answers stand in a row in a text, both normalised as SQuAD does.

    >>> has_words("By then, the Mayor's brother had left.", ["mayors brother"]), has_words("a mayoress", ["mayor"])
    (True, False)
    """
    whole = f" {normalize_answer(text)} "
    return any(f" {words} " in whole for words in map(normalize_answer, answers) if words)


def any_has_words(texts: Iterable[str], answers: Sequence[str]) -> bool:
    """Return whether the words of one of the answers stand in a row in one of the texts."""
    return any(has_words(text, answers) for text in texts)


def auroc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Return the area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Hanley & McNeil 1982, section III: it is the statistic of Mann & Whitney 1947 over the number of pairs, worked out
    from the ranks, those that tie sharing the mean of theirs. 0.5 is guessing.

    Args:
        scores: of one kind, the higher the more positive; infinite ones may be among them.
        labels: whether each is of a positive.

    Raises:
        ValueError: all are positive or none is.

    >>> auroc([0.9, 0.4, 0.4, 0.1], [True, True, False, False])
    0.875
    """
    positives = sum(map(bool, labels))
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise ValueError("AUROC needs a positive and a negative")
    below, rank_sum = 0, 0.0
    for _, group in groupby(sorted(zip(scores, labels, strict=True)), key=lambda pair: pair[0]):
        tied = [label for _, label in group]
        rank_sum += sum(map(bool, tied)) * (below + (len(tied) + 1) / 2)
        below += len(tied)
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def best_threshold(
    margins: Sequence[float], scores: Sequence[float], answerable: Sequence[bool]
) -> tuple[float, float]:
    """Return the best mean score that declining below one margin can reach, and that margin.

    `find_best_thresh` of the SQuAD 2.0 evaluation (Rajpurkar, Jia & Liang 2018): with F1 as scores the best-threshold
    F1, with exact match the best-threshold EM. A question whose margin is at least the threshold is answered and
    scores what its answer does; declining scores 1 if there is no answer, else 0. One deviation: questions of the same
    margin are answered together, where the script cuts between them, in the order of the file.

    Args:
        margins: by how much the answer to each question is preferred to none.
        scores: of each answer, in [0, 1], if it is given: for an unanswerable question 0, or 1 if it is empty.
        answerable: whether each question has an answer.

    Returns:
        The mean, and the threshold: of several as good the highest; infinity if it is best to decline everything.

    >>> best_threshold([3.0, 1.0, 2.0], [1.0, 0.5, 0.0], [True, True, False])
    (0.6666666666666666, 3.0)
    """
    rows = sorted(zip(margins, scores, answerable, strict=True), reverse=True)
    total = best = float(sum(not is_answerable for _, _, is_answerable in rows))
    threshold = inf
    for margin, group in groupby(rows, key=lambda row: row[0]):
        total += sum(score - (not is_answerable) for _, score, is_answerable in group)
        if total > best:
            best, threshold = total, margin
    return (best / len(rows) if rows else 0.0), threshold


def expected_calibration_error(confidences: Sequence[float], correct: Sequence[bool], *, bins: int = 10) -> float:
    """Return by how much confidences differ from how often they are right, on average over bins of equal width.

    Guo et al. 2017, equation 3: over the bins, the share of the samples that is in the bin times the difference of
    its accuracy and its mean confidence. Bin m has the confidences over (m - 1) / bins up to m / bins, the first one 0
    as well. The bins are of equal width, as there, not of equal mass.

    Args:
        confidences: in [0, 1].
        correct: whether what each is about was right.
        bins: how many.

    Raises:
        ValueError: a confidence is not in [0, 1].

    >>> expected_calibration_error([0.75, 0.75], [True, False])
    0.25
    """
    table = calibration_table(confidences, correct, bins=bins)
    return sum(one.count * abs(one.confidence - one.right) for one in table) / len(confidences) if confidences else 0.0


@dataclass(frozen=True, slots=True)
class Bin:
    """The samples whose confidence is over `low` and at most `high`; `confidence` and `right` are their means."""

    low: float
    high: float
    count: int
    confidence: float
    right: float


def calibration_table(confidences: Sequence[float], correct: Sequence[bool], *, bins: int = 10) -> list[Bin]:
    """Return the bins of a reliability diagram that are not empty, in order.

    Args and raises: as of `expected_calibration_error`, whose bins these are.

    >>> calibration_table([0.75, 0.75], [True, False], bins=4)
    [Bin(low=0.5, high=0.75, count=2, confidence=0.75, right=0.5)]
    """
    if not all(0 <= confidence <= 1 for confidence in confidences):
        raise ValueError("a confidence is not in [0, 1]")
    held: dict[int, list[tuple[float, bool]]] = {}
    for pair in zip(confidences, correct, strict=True):
        held.setdefault(max(ceil(pair[0] * bins) - 1, 0), []).append(pair)
    table = []
    for number, pairs in sorted(held.items()):
        sure, right = (sum(map(float, column)) / len(pairs) for column in zip(*pairs, strict=True))
        table.append(Bin(number / bins, (number + 1) / bins, len(pairs), sure, right))
    return table


def with_interval(values: Sequence[float]) -> tuple[float, float, float] | None:
    """Return the mean of values in [0, 1] and the ends of its 95 % interval; None for no values.

    The score interval of Wilson 1927, which is as wide as it should be where few values are all alike. One deviation:
    values between 0 and 1 may be among them; the interval is too wide for these, as none of their mean vary more than
    those that are 0 or 1.

    >>> with_interval([True] * 30)
    (1.0, 0.8865, 1.0)
    """
    if not values:
        return None
    n, mean = len(values), fsum(values) / len(values)
    middle, half = mean + _Z**2 / (2 * n), _Z * sqrt(mean * (1 - mean) / n + (_Z / (2 * n)) ** 2)
    low, high = ((middle + side) / (1 + _Z**2 / n) for side in (-half, half))
    return round(mean, 4), round(max(low, 0.0), 4), round(min(high, 1.0), 4)


_Z = 1.96  # standard deviations to either side that hold 95 % of a normal distribution


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
