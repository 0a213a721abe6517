"""The command line. Only this module reads arguments and prints; what it calls is imported when a command runs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from pincite.index import Index, SyncReport
    from pincite.qa.pipeline import Pipeline
    from pincite.qa.render import Json, Style

__all__ = ["main"]

Command = TypeVar("Command", bound=Callable[..., object])

_ANSWERED, _NO_ANSWER, _ERROR = 0, 1, 2
_SHOWN_KEYS = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 answered or found, 1 no answer, 2 error."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        return int(cli.main(arguments, prog_name="pincite", standalone_mode=False) or 0)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "pincite"
        return _fail(f"{error.format_message()} See: {command} --help")
    except click.ClickException as error:
        return _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        _fail("Interrupted; what was committed is kept.")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _ERROR
    except Exception as error:
        if "PINCITE_DEBUG" in os.environ:
            raise
        return _fail(_explain(error))


def _explain(error: Exception) -> str:
    from pincite.index.errors import PinciteError

    message = " ".join(str(error).split())
    if isinstance(error, PinciteError):
        return message
    if isinstance(error, MemoryError):
        return "Out of memory. Close other programs, or index fewer articles."
    return f"This should not happen: {type(error).__name__}: {message}. Please report it; PINCITE_DEBUG=1 shows more."


def _fail(message: str) -> int:
    _note(message)
    return _ERROR


def _note(message: str) -> None:
    """Print a message on one line of stderr, whatever names are in it."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(message.split()))
    click.echo(f"pincite: {line}", err=True)


def _index_option(command: Command) -> Command:
    text = "Folder of the index [default: the nearest .pincite here or above]."
    return click.option("--index", "folder", envvar="PINCITE_INDEX", metavar="DIR", help=text)(command)


def _models_option(command: Command) -> Command:
    reader = "An extractive question-answering model [default: pincite's own]."
    reranker = "A CrossEncoder that orders the passages before they are read."
    command = click.option("--reranker", metavar="NAME_OR_DIR", help=reranker)(command)
    return click.option("--reader", metavar="NAME_OR_DIR", help=reader)(command)


_where_option = click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only of documents such as 'path=reports/**', 'author=*Roe', 'date>=2021-05', 'format!=pdf', or any other "
    "key of their metadata (repeatable; all must hold).",
)
_sync_option = click.option("--sync", "sync_first", is_flag=True, help="Update the index first.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pincite", message="pincite %(version)s")
def cli() -> None:
    """Answers from your own articles, word for word, with pinpoint citations.

    \b
    pincite index articles/                     build or update the index
    pincite ask "who sits on the board?"        answer, with citations
    pincite search "board of the foundation"    passages, best first

    Exit codes: 0 answered or found, 1 no answer, 2 error.
    """


@cli.command("index")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@_index_option
@click.option(
    "--exclude", multiple=True, metavar="PATTERN", help="Leave out what matches, as in .gitignore (repeatable)."
)
@click.option("--remove", multiple=True, metavar="SOURCE", help="Drop a source and its documents (repeatable).")
@click.option(
    "--model", metavar="NAME_OR_DIR", help="A sentence-transformers model; another one embeds everything again."
)
@click.option("--rebuild", is_flag=True, help="Begin afresh; a damaged index is set aside.")
@_json_option
def index_command(
    sources: tuple[str, ...],
    folder: str | None,
    exclude: tuple[str, ...],
    remove: tuple[str, ...],
    model: str | None,
    rebuild: bool,
    as_json: bool,
) -> None:
    """Build or update the index.

    A SOURCE is a file, a folder (with its subfolders) or a .jsonl file with one {"_id", "title", "text"} a line. The
    index remembers its sources: without any, all of them are brought up to date; naming some adds or updates those.
    """
    from pincite.index import IndexNotFoundError, find_index
    from pincite.index.build import sync
    from pincite.index.store import DEFAULT_FOLDER
    from pincite.qa.progress_bar import progress_bar
    from pincite.qa.render import report_json, report_text

    if folder is None:
        try:
            folder = find_index()
        except IndexNotFoundError:
            if not sources:
                raise
            folder = DEFAULT_FOLDER
    with progress_bar() as progress:
        report = sync(
            folder,
            sources,
            exclude=exclude or None,
            remove=remove,
            model=model,
            rebuild=rebuild,
            progress=progress,
        )
    if as_json:
        _print_json(report_json(report))
    else:
        click.echo(report_text(report, folder), err=True)


@cli.command("watch")
@_index_option
@click.option(
    "--debounce",
    default=500,
    show_default=True,
    metavar="MS",
    type=click.IntRange(0, 60_000),
    help="Update when nothing has changed for so many milliseconds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each update, on a line.")
def watch_command(folder: str | None, debounce: int, as_json: bool) -> None:
    """Keep the index in step with its sources until Ctrl-C."""
    from dataclasses import replace

    from pincite.index import Skipped, find_index
    from pincite.index.watch import Notice, watch
    from pincite.qa.render import report_json, report_text

    path = folder or find_index()
    told: set[Skipped] = set()
    is_news = is_first = True
    try:
        for item in watch(path, debounce=debounce / 1000, sync=_bring_in_step):
            if isinstance(item, Notice):
                _note(item.message)
                told.clear()
                is_news = True
                continue
            skipped = tuple(skip for skip in item.skipped if skip not in told)
            told.update(skipped)
            if is_news or skipped or item.added or item.changed or item.removed:
                if as_json:
                    _print_json(report_json(item))
                else:
                    click.echo(report_text(replace(item, skipped=skipped), path), err=True)
            if is_first:
                _note("watching for changes; Ctrl-C ends it")
            is_news = is_first = False
    except KeyboardInterrupt:
        _note("stopped watching; what was committed is kept")


@cli.command()
@click.argument("question", nargs=-1, required=True)
@_index_option
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 1000), help="Passages to read.")
@click.option("--min-confidence", type=click.FloatRange(0, 1), help="Answer only from this confidence on.")
@click.option("--all", "all_answers", is_flag=True, help="Show every answer found, not only the best.")
@_where_option
@_sync_option
@_models_option
@_json_option
@click.pass_context
def ask(
    context: click.Context,
    question: tuple[str, ...],
    folder: str | None,
    k: int,
    min_confidence: float | None,
    all_answers: bool,
    where: tuple[str, ...],
    sync_first: bool,
    reader: str | None,
    reranker: str | None,
    as_json: bool,
) -> None:
    """Answer QUESTION with a quote and its citations."""
    import time
    from dataclasses import replace

    started = time.perf_counter()
    from pincite.qa.reader import MIN_CONFIDENCE
    from pincite.qa.render import answer_json, answer_text

    index = _open(folder, sync_first)
    opened = time.perf_counter()
    threshold = MIN_CONFIDENCE if min_confidence is None else min_confidence
    pipeline = _pipeline(index, reader, reranker)
    answer = pipeline.ask(" ".join(question), k, min_confidence=threshold, read_all=all_answers, where=where)
    spent = {"open": 1000 * (opened - started)} | dict(answer.elapsed)
    answer = replace(answer, elapsed=spent | {"total": 1000 * (time.perf_counter() - started)})
    if as_json:
        _print_json(answer_json(answer, index.stats(), all_answers=all_answers))
    elif answer.text is not None:
        click.echo(answer_text(answer, _style(sys.stdout), all_answers=all_answers))
    else:
        click.echo(f"The articles do not say (best guess below the threshold: {answer.confidence:.2f}).", err=True)
    places = [place for citation in answer.citations for place in (citation, *citation.also)]
    stale = {place.path for place in places if not place.verified}
    if stale and not as_json:
        _note(f"not as indexed any more: {', '.join(sorted(stale))}. Update: pincite index")
    if not answer.hits:
        _note_keys(index, where)
    context.exit(_NO_ANSWER if answer.text is None else _ANSWERED)


@cli.command()
@click.argument("query", nargs=-1, required=True)
@_index_option
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 1000), help="Passages to show.")
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "dense", "sparse", "full"]),
    default="hybrid",
    help="What to rank by; full has the best passages read, too.",
)
@_where_option
@_sync_option
@_models_option
@_json_option
@click.pass_context
def search(
    context: click.Context,
    query: tuple[str, ...],
    folder: str | None,
    k: int,
    mode: str,
    where: tuple[str, ...],
    sync_first: bool,
    reader: str | None,
    reranker: str | None,
    as_json: bool,
) -> None:
    """Show the passages that fit QUERY best."""
    from pincite.qa.render import hits_json, hits_text

    text = " ".join(query)
    pipeline = _pipeline(_open(folder, sync_first), reader, reranker)
    hits = pipeline.search(text, k, mode=mode, where=where)  # type: ignore[arg-type]  # click checked it
    if as_json:
        _print_json(hits_json(text, hits))
    elif hits:
        click.echo(hits_text(hits, _style(sys.stdout)))
    else:
        click.echo("Nothing found.", err=True)
    if not hits:
        _note_keys(pipeline.index, where)
    context.exit(_ANSWERED if hits else _NO_ANSWER)


def _note_keys(index: Index, where: Sequence[str]) -> None:
    """Say why nothing was found: that no document has what a condition is about, or that none fits them all."""
    from pincite.index.filters import parse_wheres

    conditions = parse_wheres(where)
    keys = index.keys() if conditions else []
    unknown = list(dict.fromkeys(condition.key for condition in conditions if condition.key not in keys))
    if unknown:
        there_are = ", ".join(keys[:_SHOWN_KEYS]) + (", ..." if len(keys) > _SHOWN_KEYS else "")
        _note(f"no document has {' or '.join(unknown)}. There are: {there_are}")
    elif conditions and not index.rows_where(conditions).any():
        _note(f"no document fits {' and '.join(map(str, conditions))}")


def _pipeline(index: Index, reader: str | None, reranker: str | None) -> Pipeline:
    from pincite.qa.pipeline import Pipeline
    from pincite.qa.reranker import load_reranker
    from pincite.qa.span_model import load_reader

    return Pipeline(
        index,
        reader=load_reader(reader) if reader else None,
        reranker=load_reranker(reranker) if reranker else None,
    )


@cli.command("serve")
@_index_option
@click.option(
    "--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 takes any that is free."
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option(
    "--sync/--no-sync",
    "can_sync",
    default=True,
    show_default=True,
    help="Update the index at the start and when the page asks for it, or never.",
)
def serve_command(folder: str | None, port: int, host: str, can_sync: bool) -> None:
    """Give a page to ask on, and a JSON API, on this machine until Ctrl-C."""
    from pincite.index import PinciteError, find_index

    try:
        from pincite.qa.server import address_of, create_app, listen, web_server
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in {"starlette", "uvicorn"}:
            raise
        raise PinciteError(f'The page needs {package}: pip install "pincite[serve]"') from error
    from pincite.qa.live_index import LiveIndex
    from pincite.qa.request_guard import host_names

    def report(error: Exception) -> None:
        _note(_explain(error))
        if "PINCITE_DEBUG" in os.environ:
            sys.excepthook(type(error), error, error.__traceback__)

    path = folder or find_index()
    live = LiveIndex(path, can_sync=can_sync, report=report)
    names = host_names(host)
    with listen(host, port) as listening:
        if names.any_address:
            _note(f"warning: whoever reaches {host} over the network can ask, and read all that is in the index")
        _note(f"{path} is at {address_of(listening)}; Ctrl-C ends it")
        with suppress(KeyboardInterrupt):
            app = create_app(live, names=names, sync_first=can_sync, report=report)
            web_server(app).run(sockets=[listening])
    _note("stopped; what was committed is kept")


@cli.command()
@click.argument("place", metavar="PATH[:LINE]")
@_index_option
def show(place: str, folder: str | None) -> None:
    """Show an indexed source, its passages marked, or the passage on a line of it."""
    from pincite.index import SourceError
    from pincite.qa.citations import line_and_column
    from pincite.qa.render import count, source_text

    index = _open(folder)
    path, line = place, None
    documents = index.documents_of(path)
    if not documents:
        path, line = _split_place(place)
        documents = index.documents_of(path)
    if not documents:
        raise SourceError(f"{place} is not in the index. Its sources: pincite status")
    if documents[0].is_record and line is not None:
        documents = [document for document in documents if document.line == line]
        line = None
    if not documents:
        raise SourceError(f"No record begins on line {place.rpartition(':')[2]} of {path}.")
    style = _style(sys.stdout)
    for document in documents:
        lines = line_and_column(document.text, len(document.text))[0]
        if line is not None and line > lines:
            raise SourceError(f"{path} has {count(lines, 'line')}, none with the number {line}.")
        click.echo(source_text(document, index.passages_of(document.id), line, style))


def _split_place(place: str) -> tuple[str, int | None]:
    """Return path and line of `PATH`, `PATH:LINE` or `PATH:LINE:COLUMN`."""
    parts = place.split(":")
    numbers = 0
    while numbers < 2 and len(parts) - numbers > 1 and parts[-1 - numbers].isdecimal():
        numbers += 1
    if not numbers:
        return place, None
    return ":".join(parts[:-numbers]), int(parts[-numbers])


@cli.command()
@_index_option
@_json_option
def status(folder: str | None, as_json: bool) -> None:
    """Show what the index holds, what was skipped and why, and what has changed since."""
    from pincite.index.overview import overview
    from pincite.index.survey import changes_since, look_at_sources
    from pincite.qa.render import stats_json, stats_text

    index = _open(folder)
    survey = look_at_sources(index)
    changes, held = changes_since(index, survey), overview(index, survey.skipped)
    if as_json:
        _print_json(stats_json(index.stats(), index.path, changes, held))
    else:
        click.echo(stats_text(index.stats(), index.path, changes, held))


@cli.command()
@_index_option
@click.pass_context
def verify(context: click.Context, folder: str | None) -> None:
    """Check every checksum, every span and every source; exit code 1 if only sources have changed, 2 for damage."""
    from pincite.index import verify as verify_index
    from pincite.qa.render import count, problem_text

    index = _open(folder)
    damaged = stale = 0
    for problem in verify_index(index):
        click.echo(f"pincite: {problem_text(problem)}", err=True)
        damaged += problem.damage
        stale += not problem.damage
    stats = index.stats()
    if damaged:
        context.exit(_ERROR)
    if stale:
        click.echo(f"{count(stale, 'source')} not as indexed. Update: pincite index", err=True)
        context.exit(_NO_ANSWER)
    held = f"{count(stats.documents, 'document')}, {count(stats.passages, 'passage')}"
    click.echo(f"{held}: all as written, all as in the sources")


@cli.command()
@_index_option
def compact(folder: str | None) -> None:
    """Rewrite the index without what is gone from it; updates do so bit by bit by themselves."""
    from pincite.index import Index, find_index
    from pincite.qa.render import size_text

    path = folder or find_index()
    before, after = Index.open(path).stats(), Index.compact(path).stats()
    click.echo(f"{size_text(before)} -> {size_text(after)}", err=True)


@cli.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@_index_option
@_json_option
def repair(sources: tuple[str, ...], folder: str | None, as_json: bool) -> None:
    """Mend a damaged index from its sources; what is damaged is set aside, the rest is kept.

    SOURCEs need naming only where the list of them is itself damaged.
    """
    from pincite.index import find_index
    from pincite.index import repair as repair_index
    from pincite.qa.progress_bar import progress_bar
    from pincite.qa.render import report_json, report_text

    path = folder or find_index()
    with progress_bar() as progress:
        report = repair_index(path, sources, progress=progress)
    if report is None:
        click.echo("Nothing is damaged.", err=True)
    elif as_json:
        _print_json(report_json(report))
    else:
        click.echo(report_text(report, path), err=True)


def _open(folder: str | None, sync_first: bool = False) -> Index:
    from pincite.index import Index, IndexBusyError, find_index

    path = folder or find_index()
    if sync_first:
        try:
            _bring_in_step(path)
        except IndexBusyError:
            _note(f"Another process is writing the index {path}; this is as of its last commit.")
    return Index.open(path)


def _bring_in_step(path: str, sources: Sequence[str] = ()) -> SyncReport:
    from pincite.index.build import sync
    from pincite.qa.progress_bar import progress_bar

    with progress_bar(after=2.0) as progress:
        return sync(path, sources, progress=progress)


def _style(stream: object) -> Style:
    from pincite.qa.render import Style

    terminal = bool(getattr(stream, "isatty", lambda: False)())
    return Style(colour=terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")


def _print_json(body: Json) -> None:
    import json

    text = json.dumps(body, ensure_ascii=False)
    # A name that is no UTF-8 holds halves of surrogate pairs; escaped, a program gets the very name back.
    click.echo(re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text))
