"""What `pincite ask` prints: an answer, a language model's, or those to a file of questions; returns its exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pincite.qa.terminal import note, say, say_json, style, tell

if TYPE_CHECKING:
    from pincite.index.interface import SearchIndex
    from pincite.qa.answers import Answer
    from pincite.qa.pipeline import Pipeline
    from pincite.qa.render_json import Json

__all__ = ["ANSWERED", "ERROR", "NO_ANSWER", "ask_batch", "ask_model", "note_keys", "print_answer"]

ANSWERED, NO_ANSWER, ERROR = 0, 1, 2
_SHOWN_KEYS = 20


def print_answer(pipeline: Pipeline, answer: Answer, form: str, all_answers: bool, explained: bool) -> None:
    """Print an answer, or that there is none, and on stderr which sources have changed since."""
    from pincite.qa.render import answer_text
    from pincite.qa.render_json import answer_json

    stats = pipeline.index.stats()
    if form == "json" and explained:
        from pincite.qa.explain import explain, explanation_json

        explanations = explain(pipeline, answer.question, answer.hits)
        body = answer_json(answer, stats, all_answers=all_answers)
        say_json(body | {"explanation": explanation_json(explanations)})
    elif form != "text":
        from pincite.qa.answer_formats import FORMATS

        say(FORMATS[form](answer, stats, all_answers=all_answers))
    elif answer.text is not None:
        say(answer_text(answer, style(), all_answers=all_answers))
    else:
        tell(f"The articles do not say (best guess below the threshold: {answer.confidence:.2f}).")
    if form != "text":
        return
    if explained and answer.hits:
        from pincite.qa.explain import explain, explanation_text

        explanations = explain(pipeline, answer.question, answer.hits)
        say(("\n" if answer.text else "") + explanation_text(explanations, style()))
    places = [place for citation in answer.citations for place in (citation, *citation.also)]
    stale = {place.path for place in places if not place.verified}
    if stale:
        note(f"not as indexed any more: {', '.join(sorted(stale))}. Update: pincite index")


def ask_batch(
    pipeline: Pipeline,
    batch: str,
    output: str | None,
    k: int,
    threshold: float,
    all_answers: bool,
    where: tuple[str, ...],
) -> int:
    """Answer the questions in a file and return the exit code."""
    from pincite.qa.ask_many import answer_file
    from pincite.qa.progress_bar import progress_bar
    from pincite.qa.render import count
    from pincite.qa.render_json import answer_json

    stats = pipeline.index.stats()

    def ask(question: str) -> Json:
        answer = pipeline.ask(question, k, min_confidence=threshold, read_all=all_answers, where=where)
        return answer_json(answer, stats, all_answers=all_answers)

    is_mixed = output is None and sys.stdout.isatty()
    with nullcontext() if is_mixed else progress_bar(2.0, "questions") as progress:
        errors = answer_file(ask, batch, output, say, progress)
    if errors:
        note(f"{count(errors, 'line')} of {batch} held no question; the errors are in their places")
    return ERROR if errors else ANSWERED


def ask_model(
    pipeline: Pipeline,
    question: str,
    url: str,
    name: str,
    k: int,
    min_support: float | None,
    where: tuple[str, ...],
    *,
    form: str,
    all_sentences: bool,
) -> int:
    """Print what a language model answers as far as the passages support it; return the exit code."""
    from pincite.qa.generated import ask_model as generate
    from pincite.qa.generated import generated_json, generated_text
    from pincite.qa.language_model import language_model
    from pincite.qa.support import MIN_SUPPORT

    model = language_model(url, name)
    if not model.is_local:
        note(f"warning: the question and passages of your articles are sent to {model.host}")
    least = MIN_SUPPORT if min_support is None else min_support
    generated = generate(pipeline, question, model, k, min_support=least, where=where)
    answer = generated.answer
    if form != "text":
        say_json(generated_json(generated, pipeline.index.stats()))
    elif answer.text is not None or (all_sentences and generated.sentences):
        say(generated_text(generated, style(), all_sentences=all_sentences))
    if answer.text is None and form == "text":
        dropped = len(generated.sentences)
        said = f"{dropped} unsupported, shown by --all" if dropped else "none"
        tell(f"The articles do not say, by the sentences of {name} that they support ({said}).")
    if not answer.hits:
        note_keys(pipeline.index, where)
    return NO_ANSWER if answer.text is None else ANSWERED


def note_keys(index: SearchIndex, where: Sequence[str]) -> None:
    """Say why nothing was found: that no document has what a condition is about, or that none fits them all."""
    from pincite.index.filters import parse_wheres

    conditions = parse_wheres(where)
    keys = index.keys() if conditions else []
    unknown = list(dict.fromkeys(condition.key for condition in conditions if condition.key not in keys))
    if unknown:
        there_are = ", ".join(keys[:_SHOWN_KEYS]) + (", ..." if len(keys) > _SHOWN_KEYS else "")
        note(f"no document has {' or '.join(unknown)}. There are: {there_are}")
    elif conditions and not index.rows_where(conditions).any():
        note(f"no document fits {' and '.join(map(str, conditions))}")
