import random
import subprocess
import sys
from math import inf
from statistics import fmean

import ir_measures
import pytest

from pincite.qa.metrics import (
    auroc,
    average_precision,
    best_threshold,
    exact_match,
    expected_calibration_error,
    f1,
    mean_over_queries,
    ndcg,
    normalize_answer,
    recall,
    reciprocal_rank,
    retrieval_scores,
)

# Grades in rank order and the discounted gain worked out by hand:
# 3/log2(2) + 2/log2(3) + 3/log2(4) + 0/log2(5) + 1/log2(6) + 2/log2(7) = 6.861127
# ideal 3 3 2 2 1 0: 3/1 + 3/1.584963 + 2/2 + 2/2.321928 + 1/2.584963 = 7.140995
WORKED = {"a": 3, "b": 2, "c": 3, "d": 0, "e": 1, "f": 2}


def random_collection(seed: int) -> tuple[dict[str, list[str]], dict[str, dict[str, int]]]:
    """A run and qrels with graded, zero and missing judgments, short rankings and an unanswered query."""
    random_ = random.Random(seed)
    documents = [f"d{i}" for i in range(150)]
    run, qrels = {}, {}
    for number in range(30):
        query = f"q{number}"
        judged = random_.sample(documents, random_.randint(1, 40))
        qrels[query] = {document: random_.choice([0, 0, 1, 1, 2, 4]) for document in judged}
        qrels[query][judged[0]] = 1
        run[query] = random_.sample(documents, random_.choice([0, 3, 10, 120]))
    del run["q7"]
    return run, qrels


def test_ndcg_agrees_with_numbers_worked_by_hand() -> None:
    assert ndcg(list("abcdef"), WORKED) == pytest.approx(6.861127 / 7.140995, abs=1e-6)


def test_ndcg_of_the_ideal_ranking_is_one_and_of_a_useless_one_zero() -> None:
    assert ndcg(list("acbfed"), WORKED) == 1.0
    assert ndcg(["d", "x"], WORKED) == 0.0
    assert ndcg([], WORKED) == 0.0


def test_ndcg_compares_with_the_best_that_k_ranks_allow() -> None:
    assert ndcg(["a"], {"a": 1, "b": 1}, k=1) == 1.0


def test_average_precision_counts_what_was_not_retrieved() -> None:
    # precision 1/1 and 2/3 at the two that were found, 0 for the third
    assert average_precision(["a", "x", "b"], {"a": 1, "b": 2, "c": 1}) == pytest.approx((1 + 2 / 3) / 3)


def test_reciprocal_rank_and_recall_stop_at_k() -> None:
    assert reciprocal_rank(["x", "y", "a"], {"a": 1}, k=3) == pytest.approx(1 / 3)
    assert reciprocal_rank(["x", "y", "a"], {"a": 1}, k=2) == 0.0
    assert recall(["x", "y", "a"], {"a": 1}, k=2) == 0.0
    assert recall(["x", "y", "a"], {"a": 1}, k=0) == 0.0


@pytest.mark.parametrize("grade", [0, -1])
def test_a_grade_of_zero_or_less_is_not_relevant(grade: int) -> None:
    judgments = {"a": 1, "b": grade}
    assert ndcg(["b", "a"], judgments) == ndcg(["x", "a"], judgments)
    assert recall(["b"], judgments, k=10) == 0.0
    assert reciprocal_rank(["b"], judgments) == 0.0
    assert average_precision(["b"], judgments) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_retrieval_scores_agree_with_ir_measures(seed: int) -> None:
    run, qrels = random_collection(seed)
    witnesses = {
        "nDCG@10": ir_measures.nDCG @ 10,
        "recall@1": ir_measures.R @ 1,
        "recall@5": ir_measures.R @ 5,
        "recall@10": ir_measures.R @ 10,
        "recall@100": ir_measures.R @ 100,
        "MRR@10": ir_measures.RR @ 10,
        "MAP": ir_measures.AP,
    }
    theirs = ir_measures.calc_aggregate(
        witnesses.values(),
        [ir_measures.Qrel(q, d, grade) for q, judged in qrels.items() for d, grade in judged.items()],
        [ir_measures.ScoredDoc(q, d, -rank) for q, ranking in run.items() for rank, d in enumerate(ranking)],
    )
    ours = retrieval_scores(run, qrels)
    assert ours.keys() == witnesses.keys()
    for name, witness in witnesses.items():
        assert ours[name] == pytest.approx(theirs[witness], abs=1e-9), name


def test_mean_leaves_out_queries_that_cannot_be_scored() -> None:
    qrels = {"answered": {"a": 1}, "unanswered": {"a": 1}, "nothing relevant": {"a": 0}}
    run = {"answered": ["a"], "nothing relevant": ["a"], "not judged": ["a"]}
    assert mean_over_queries(reciprocal_rank, run, qrels) == 0.5
    assert mean_over_queries(reciprocal_rank, run, {}) == 0.0


def test_a_document_ranked_twice_is_refused() -> None:
    for measure in (ndcg, reciprocal_rank, average_precision):
        with pytest.raises(ValueError, match="twice"):
            measure(["a", "a"], {"a": 1})
    with pytest.raises(ValueError, match="twice"):
        recall(["a", "a"], {"a": 1}, k=2)


def test_a_negative_k_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        recall(["a"], {"a": 1}, k=-1)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Denver Broncos", "denver broncos"),
        ("an  apple,\ta pear \n", "apple pear"),
        ("U.S.", "us"),
        ("well-known", "wellknown"),
        ("O'Neill's", "oneills"),
        ("theatre", "theatre"),
        ("vitamin A", "vitamin"),
        ("$3.50", "350"),
        ("“quoted”", "“quoted”"),
        ("Ångström", "ångström"),
        ("the", ""),
        ("...", ""),
        ("", ""),
    ],
)
def test_answers_are_normalised_as_squad_does(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


@pytest.mark.parametrize(
    ("prediction", "answers", "em", "score"),
    [
        # equal but for article, case and full stop
        ("the Broncos.", ["Broncos"], 1.0, 1.0),
        # 2 words shared; precision 2/3, recall 2/2
        ("Santa Clara California", ["Santa Clara"], 0.0, 0.8),
        # the best of several answers counts
        ("Santa Clara", ["California", "Santa Clara, California", "Santa Clara"], 1.0, 1.0),
        # bags, not sets: 1 shared of 2 and 1
        ("new new", ["new"], 0.0, 2 / 3),
        # order is not looked at
        ("Clara Santa", ["Santa Clara"], 0.0, 1.0),
        ("nothing alike", ["Santa Clara"], 0.0, 0.0),
        # no answer: the empty prediction is right, any other is wrong
        ("", [], 1.0, 1.0),
        ("Santa Clara", [], 0.0, 0.0),
        ("", ["Santa Clara"], 0.0, 0.0),
        # an answer that normalising empties does not make silence right
        ("", ["the", "Santa Clara"], 0.0, 0.0),
        ("", ["the"], 1.0, 1.0),
    ],
)
def test_exact_match_and_f1(prediction: str, answers: list[str], em: float, score: float) -> None:
    assert exact_match(prediction, answers) == em
    assert f1(prediction, answers) == pytest.approx(score)
    assert f1(prediction, iter(answers)) == pytest.approx(score)


@pytest.mark.parametrize("seed", range(10))
def test_auroc_agrees_with_counting_all_pairs(seed: int) -> None:
    random_ = random.Random(seed)
    # Few different scores, so that many tie, and a positive of each and a negative at least.
    scores = [random_.choice([-inf, -1.0, 0.0, 0.25, 0.5, 3.0]) for _ in range(40)]
    labels = [True, False, *(random_.random() < 0.3 for _ in range(38))]
    pairs = [
        1.0 if positive > negative else 0.5 if positive == negative else 0.0
        for positive, is_positive in zip(scores, labels, strict=True)
        for negative, is_other in zip(scores, labels, strict=True)
        if is_positive and not is_other
    ]
    assert auroc(scores, labels) == pytest.approx(fmean(pairs))


def test_auroc_of_a_perfect_an_inverse_and_a_constant_score() -> None:
    assert auroc([2.0, 3.0, 1.0], [True, True, False]) == 1.0
    assert auroc([2.0, 3.0, 4.0], [True, True, False]) == 0.0
    assert auroc([7.0] * 5, [True, False, True, False, False]) == 0.5


@pytest.mark.parametrize("labels", [[True, True], [False, False], []])
def test_auroc_of_one_kind_is_refused(labels: list[bool]) -> None:
    with pytest.raises(ValueError, match="a positive and a negative"):
        auroc([1.0] * len(labels), labels)


def mean_at(threshold: float, margins: list[float], scores: list[float], answerable: list[bool]) -> float:
    """The mean score if questions of at least this margin are answered, the others declined."""
    rows = zip(margins, scores, answerable, strict=True)
    return fmean(score if margin >= threshold else float(not answer) for margin, score, answer in rows)


@pytest.mark.parametrize("seed", range(20))
def test_best_threshold_agrees_with_trying_all_thresholds(seed: int) -> None:
    random_ = random.Random(seed)
    answerable = [random_.random() < 0.6 for _ in range(30)]
    margins = [round(random_.gauss(is_answerable, 1), random_.choice([0, 3])) for is_answerable in answerable]
    scores = [random_.choice([0.0, 0.5, 1.0]) if is_answerable else 0.0 for is_answerable in answerable]
    best, threshold = best_threshold(margins, scores, answerable)
    tried = {margin: mean_at(margin, margins, scores, answerable) for margin in [*margins, inf]}
    assert best == pytest.approx(max(tried.values()))
    assert threshold == max(margin for margin, mean in tried.items() if mean == pytest.approx(best))


def test_best_threshold_answers_all_or_nothing_where_that_is_best() -> None:
    assert best_threshold([1.0, -2.0], [1.0, 0.5], [True, True]) == (0.75, -2.0)
    assert best_threshold([1.0, -2.0], [0.0, 0.0], [False, False]) == (1.0, inf)
    assert best_threshold([], [], []) == (0.0, inf)


def test_best_threshold_does_not_cut_between_equal_margins() -> None:
    # The SQuAD script would answer the first and decline the second: 1.0. No threshold does that.
    assert best_threshold([2.0, 2.0], [1.0, 0.0], [True, False]) == (0.5, inf)


def test_best_threshold_counts_an_empty_answer_as_declining() -> None:
    # What the script does if there is no prediction: an answer of nothing to an unanswerable question is right.
    assert best_threshold([5.0, 1.0], [1.0, 1.0], [False, True]) == (1.0, 1.0)


def test_calibration_error_agrees_with_one_worked_by_hand() -> None:
    # (0.2, 0.3]: mean confidence 0.26, 1 of 2 right, so 2/8 * 0.24; (0.5, 0.6]: 0.58 and 2 of 3, 3/8 * 0.0866667;
    # (0.9, 1]: 0.95 and 1 of 2, 2/8 * 0.45; 0 is in the first bin, 1/8 * 0.
    confidences = [0.22, 0.3, 0.55, 0.59, 0.6, 0.9001, 0.9999, 0.0]
    correct = [True, False, True, True, False, True, False, False]
    expected = (2 * 0.24 + 3 * (2 / 3 - 0.58) + 2 * 0.45 + 0) / 8
    assert expected_calibration_error(confidences, correct) == pytest.approx(expected)


def test_calibration_error_is_zero_for_true_and_one_for_inverse_certainty() -> None:
    assert expected_calibration_error([1.0, 0.0, 1.0], [True, False, True]) == 0.0
    assert expected_calibration_error([1.0, 0.0, 1.0], [False, True, False]) == 1.0
    assert expected_calibration_error([], []) == 0.0


def test_calibration_error_depends_on_the_bins() -> None:
    # In one bin the two cancel out, in two they do not.
    assert expected_calibration_error([0.2, 0.8], [True, False], bins=1) == pytest.approx(0.0)
    assert expected_calibration_error([0.2, 0.8], [True, False], bins=2) == pytest.approx(0.8)


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_a_confidence_that_is_no_probability_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="not in"):
        expected_calibration_error([0.5, confidence], [True, True])


def test_metrics_load_without_numpy_or_a_model() -> None:
    code = "import sys, pincite.qa.metrics; assert not {'numpy', 'torch', 'faiss'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
