"""The command line. Only this module reads arguments and prints; what it calls is imported when a command runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import click

from pincite.qa.asking import ANSWERED, ERROR, NO_ANSWER, ask_batch, ask_model, note_keys, print_answer
from pincite.qa.terminal import explain_error, note, say, say_json, style, tell

if TYPE_CHECKING:
    from pincite.index import SyncReport
    from pincite.index.interface import SearchIndex
    from pincite.qa.pipeline import Pipeline

__all__ = ["main"]

Command = TypeVar("Command", bound=Callable[..., object])


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
        return ERROR
    except Exception as error:
        if "PINCITE_DEBUG" in os.environ:
            raise
        return _fail(explain_error(error))


def _fail(message: str) -> int:
    note(message)
    return ERROR


def _index_option(command: Command) -> Command:
    text = (
        "Folder of the index [default: the nearest .pincite here or above]; or one in Milvus: "
        "milvus://HOST:PORT/COLLECTION, or NAME.db of milvus-lite."
    )
    return click.option("--index", "folder", envvar="PINCITE_INDEX", metavar="DIR", help=text)(command)


def _models_option(command: Command) -> Command:
    reader = "An extractive question-answering model [default: pincite's own]."
    reranker = "A CrossEncoder that orders the passages before they are read."
    command = click.option("--reranker", metavar="NAME_OR_DIR", help=reranker)(command)
    return click.option("--reader", metavar="NAME_OR_DIR", help=reader)(command)


def _llm_options(command: Command) -> Command:
    url = (
        "Let a language model put the answer in words, on a server that speaks OpenAI's chat completions, such as "
        "http://localhost:11434/v1; it gets the question and the passages. The key is in PINCITE_LLM_KEY."
    )
    name = click.option("--llm-model", envvar="PINCITE_LLM_MODEL", metavar="NAME", help="The model on that server.")
    return click.option("--llm", envvar="PINCITE_LLM", metavar="URL", help=url)(name(command))


_where_option = click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only of documents such as 'path=reports/**', 'author=*Roe', 'date>=2021-05', 'format!=pdf', or any other "
    "key of their metadata (repeatable; all must hold).",
)
_sync_option = click.option("--sync", "sync_first", is_flag=True, help="Update the index first.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_HIT_FORMATS = ("text", "json", "jsonl", "markdown", "html", "csl")


def _batch_options(command: Command) -> Command:
    batch = (
        'Answer the question on each line of FILE instead, or of each {"question", "id"?} in a .jsonl file; - is '
        "stdin. Prints an object as --json does for each line, in order, with its id if it has one; one with an "
        '"error" for a line that holds no question: exit code 2 if there are any, else 0, answered or not.'
    )
    output = "Add the lines of --batch to FILE; run again with the same options, it goes on where it was interrupted."
    command = click.option("--output", type=click.Path(), metavar="FILE", help=output)(command)
    return click.option("--batch", type=click.Path(), metavar="FILE", help=batch)(command)


def _format_option(*more: str) -> Callable[[Command], Command]:
    choices = click.Choice([*_HIT_FORMATS, *more])
    text = "How to print it; csl is for Zotero and pandoc, annotations are the W3C's; --json is --format json."
    return click.option("--format", "form", type=choices, default="text", help=text)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pincite", message="pincite %(version)s")
def cli() -> None:
    """Answers from your own articles, word for word, with pinpoint citations.

    \b
    pincite index articles/                     build or update the index
    pincite ask "who sits on the board?"        answer, with citations
    pincite search "board of the foundation"    passages, best first
    pincite show articles/board.txt:12          a source, around a line

    The index is the folder .pincite beside what it indexes, found from any folder below. Answers go to stdout, all
    else to stderr. Exit codes: 0 answered or found, 1 no answer, 2 error.

    \b
    Environment:
      PINCITE_INDEX                the index, as --index
      PINCITE_CACHE                where compiled models are kept
      PINCITE_LLM, PINCITE_LLM_MODEL, PINCITE_LLM_KEY
                                   a language model, as --llm and --llm-model
      PINCITE_MILVUS_TOKEN         for an index in Milvus
      NO_COLOR                     no colour
      PINCITE_DEBUG                tracebacks of errors
    """


@cli.command("index")
@click.argument("sources", nargs=-1, type=click.Path(), metavar="[SOURCE]...")
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

    \b
    Examples:
      pincite index articles/ corpus.jsonl
      pincite index --exclude 'drafts/' --exclude '*.log' articles/
      pincite index                       bring all sources up to date
      pincite index --remove articles/old
    """
    from pincite.index import IndexNotFoundError, find_index
    from pincite.index.location import sync_index
    from pincite.index.paths import DEFAULT_FOLDER
    from pincite.qa.progress_bar import progress_bar
    from pincite.qa.render import report_text
    from pincite.qa.render_json import report_json

    if folder is None:
        try:
            folder = find_index()
        except IndexNotFoundError:
            if not sources:
                raise
            folder = DEFAULT_FOLDER
    with progress_bar() as progress:
        report = sync_index(
            folder,
            sources,
            exclude=exclude or None,
            remove=remove,
            model=model,
            rebuild=rebuild,
            progress=progress,
        )
    if as_json:
        say_json(report_json(report))
    else:
        tell(report_text(report, folder))


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
    """Keep the index in step with its sources until Ctrl-C.

    \b
    Example:
      pincite watch --debounce 2000
    """
    from dataclasses import replace

    from pincite.index import Skipped
    from pincite.index.location import index_folder
    from pincite.index.watch import Notice, watch
    from pincite.qa.render import report_text
    from pincite.qa.render_json import report_json

    path = index_folder(folder)
    told: set[Skipped] = set()
    is_news = is_first = True
    try:
        for item in watch(path, debounce=debounce / 1000, sync=_bring_in_step):
            if isinstance(item, Notice):
                note(item.message)
                told.clear()
                is_news = True
                continue
            skipped = tuple(skip for skip in item.skipped if skip not in told)
            told.update(skipped)
            if is_news or skipped or item.added or item.changed or item.removed:
                if as_json:
                    say_json(report_json(item))
                else:
                    tell(report_text(replace(item, skipped=skipped), path))
            if is_first:
                note("watching for changes; Ctrl-C ends it")
            is_news = is_first = False
    except KeyboardInterrupt:
        note("stopped watching; what was committed is kept")


@cli.command()
@click.argument("question", nargs=-1)
@_index_option
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 1000), help="Passages to look in.")
@click.option("--min-confidence", type=click.FloatRange(0, 1), help="Answer only from this confidence on.")
@click.option("--all", "all_answers", is_flag=True, help="Show every answer found, or all that --llm says.")
@click.option("--explain", "explained", is_flag=True, help="Show why each passage ranks where it does.")
@_where_option
@_sync_option
@_models_option
@_llm_options
@_batch_options
@_format_option("annotations")
@_json_option
@click.pass_context
def ask(
    context: click.Context,
    question: tuple[str, ...],
    folder: str | None,
    k: int,
    min_confidence: float | None,
    all_answers: bool,
    explained: bool,
    where: tuple[str, ...],
    sync_first: bool,
    reader: str | None,
    reranker: str | None,
    llm: str | None,
    llm_model: str | None,
    batch: str | None,
    output: str | None,
    form: str,
    as_json: bool,
) -> None:
    """Answer QUESTION, or each question in a file, with a quote and its citations.

    \b
    Examples:
      pincite ask "who sits on the board?"
      pincite ask --where 'author=*Roe' --where 'date>=2021' "who resigned?"
      pincite ask --explain -k 5 "when was the bridge opened?"
      pincite ask --format markdown "who sits on the board?" > answer.md
      pincite ask --batch questions.txt --output answers.jsonl
      pincite ask --llm http://localhost:11434/v1 --llm-model qwen3 "why did it close?"
    """
    import time
    from dataclasses import replace

    started = time.perf_counter()
    from pincite.qa.reader import MIN_CONFIDENCE

    form = "json" if as_json else form
    _check_ask(question, batch, output, llm, llm_model, form, explained)
    text = " ".join(question)
    index = _open(folder, sync_first)
    opened = time.perf_counter()
    threshold = MIN_CONFIDENCE if min_confidence is None else min_confidence
    pipeline = _pipeline(index, reader, reranker)
    if batch:
        context.exit(ask_batch(pipeline, batch, output, k, threshold, all_answers, where))
    if llm and llm_model:
        code = ask_model(pipeline, text, llm, llm_model, k, min_confidence, where, form=form, all_sentences=all_answers)
        context.exit(code)
    answer = pipeline.ask(text, k, min_confidence=threshold, read_all=all_answers, where=where)
    spent = {"open": 1000 * (opened - started)} | dict(answer.elapsed)
    answer = replace(answer, elapsed=spent | {"total": 1000 * (time.perf_counter() - started)})
    print_answer(pipeline, answer, form, all_answers, explained)
    if not answer.hits:
        note_keys(index, where)
    context.exit(NO_ANSWER if answer.text is None else ANSWERED)


def _check_ask(
    question: tuple[str, ...],
    batch: str | None,
    output: str | None,
    llm: str | None,
    llm_model: str | None,
    form: str,
    explained: bool,
) -> None:
    """Refuse options of `ask` that do not go together."""
    if bool(question) == (batch is not None):
        raise click.UsageError("Give either a QUESTION or --batch FILE.")
    if output and not batch:
        raise click.UsageError("--output goes with --batch.")
    if batch and (llm or form not in ("text", "json", "jsonl")):
        raise click.UsageError("--batch gives quotes, as JSON lines: without --llm (PINCITE_LLM) and other formats.")
    if llm and not llm_model:
        raise click.UsageError("--llm needs a model of that server: --llm-model NAME.")
    if llm and form not in ("text", "json", "jsonl"):
        raise click.UsageError(f"With --llm there is no --format {form}; text, json and jsonl say whose the words are.")
    if explained and (batch or llm or form not in ("text", "json")):
        raise click.UsageError("--explain goes with one question and its quotes, as text or as JSON.")


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
@_format_option()
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
    form: str,
    as_json: bool,
) -> None:
    """Show the passages that fit QUERY best.

    \b
    Examples:
      pincite search "board of the foundation"
      pincite search --mode sparse -k 30 --where 'path=reports/**' levee
    """
    from pincite.qa.render import hits_text

    text = " ".join(query)
    pipeline = _pipeline(_open(folder, sync_first), reader, reranker)
    hits = pipeline.search(text, k, mode=mode, where=where)  # type: ignore[arg-type]  # click checked it
    if as_json or form != "text":
        from pincite.qa.answer_formats import HIT_FORMATS

        shown = HIT_FORMATS["json" if as_json else form](text, hits)
        if shown:
            say(shown)
    elif hits:
        say(hits_text(hits, style()))
    else:
        tell("Nothing found.")
    if not hits:
        note_keys(pipeline.index, where)
    context.exit(ANSWERED if hits else NO_ANSWER)


def _pipeline(index: SearchIndex, reader: str | None, reranker: str | None) -> Pipeline:
    from pincite.qa.pipeline import Pipeline
    from pincite.qa.reranker import load_reranker
    from pincite.qa.span_model import load_reader

    return Pipeline(
        index,
        reader=load_reader(reader) if reader else None,
        reranker=load_reranker(reranker) if reranker else None,
    )


@cli.command("eval")
@click.argument("questions", type=click.Path(), metavar="FILE")
@_index_option
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 1000), help="Passages to look in.")
@click.option("--min-confidence", type=click.FloatRange(0, 1), help="Count answers from this confidence on.")
@click.option("--plot", type=click.Path(), metavar="FILE.svg|.png", help="Draw how sure and how right answers are.")
@_where_option
@_sync_option
@_models_option
@_json_option
def eval_command(
    questions: str,
    folder: str | None,
    k: int,
    min_confidence: float | None,
    plot: str | None,
    where: tuple[str, ...],
    sync_first: bool,
    reader: str | None,
    reranker: str | None,
    as_json: bool,
) -> None:
    """Judge pincite by your own questions: are files found, answers right, confidences true?

    FILE has an object a line (- is stdin): {"question": "Who ...?", "answers": ["Ann Lee", "Lee"], "files":
    ["board.txt"]}. Any of the answers is right, and any of the files; either may be left out. "answers": [] says that
    the articles do not say. Figures come with their 95 % interval, which is wide for few questions.

    \b
    Example:
      pincite eval --plot calibration.svg questions.jsonl
    """
    from pincite.qa.calibration_plot import plotter
    from pincite.qa.evaluation import evaluate, read_expected
    from pincite.qa.evaluation_text import evaluation_text
    from pincite.qa.progress_bar import progress_bar
    from pincite.qa.reader import MIN_CONFIDENCE

    draw = plotter(plot) if plot else None
    threshold = MIN_CONFIDENCE if min_confidence is None else min_confidence
    pipeline, expected = _pipeline(_open(folder, sync_first), reader, reranker), read_expected(questions, note)
    with progress_bar(2.0, "questions") as progress:
        scores = evaluate(pipeline, expected, k=k, min_confidence=threshold, where=where, progress=progress)
    if draw:
        draw(scores["calibration"]["bins"])
    if as_json:
        say_json(scores)
    else:
        say(evaluation_text(scores))


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
    """Give a page to ask on, and a JSON API, on this machine until Ctrl-C.

    \b
    Example:
      pincite serve --port 9000
    """
    from pincite.index import PinciteError
    from pincite.index.location import index_folder

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
        note(explain_error(error))
        if "PINCITE_DEBUG" in os.environ:
            sys.excepthook(type(error), error, error.__traceback__)

    path = index_folder(folder)
    live = LiveIndex(path, can_sync=can_sync, report=report)
    names = host_names(host)
    with listen(host, port) as listening:
        if names.any_address:
            note(f"warning: whoever reaches {host} over the network can ask, and read all that is in the index")
        note(f"{path} is at {address_of(listening)}; Ctrl-C ends it")
        with suppress(KeyboardInterrupt):
            app = create_app(live, names=names, sync_first=can_sync, report=report)
            web_server(app).run(sockets=[listening])
    note("stopped; what was committed is kept")


@cli.command("mcp")
@_index_option
@click.option(
    "--sync/--no-sync", "can_sync", default=True, show_default=True, help="Update the index at the start, or never."
)
def mcp_command(folder: str | None, can_sync: bool) -> None:
    """Answer programs that speak the Model Context Protocol, on stdin and stdout; they start this by themselves.

    \b
    Example:
      pincite mcp --index articles/.pincite
    """
    from pincite.index import PinciteError
    from pincite.index.location import index_folder

    try:
        from pincite.qa.mcp_server import serve_stdio
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"mcp", "mcp_types"}:
            raise
        raise PinciteError('`pincite mcp` needs mcp: pip install "pincite[mcp]"') from error
    from pincite.qa.live_index import LiveIndex

    def report(error: Exception) -> None:
        note(explain_error(error))

    path = index_folder(folder)
    live = LiveIndex(path, can_sync=can_sync, report=report)
    note(f"{path} is served over MCP on stdin and stdout until stdin ends")
    serve_stdio(live, sync_first=can_sync, report=report)


@cli.command()
@click.argument("place", type=click.Path(), metavar="PATH[:LINE]")
@_index_option
def show(place: str, folder: str | None) -> None:
    """Show an indexed source, its passages marked, or the passage on a line of it.

    \b
    Examples:
      pincite show articles/board.txt
      pincite show articles/board.txt:12
    """
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
    for document in documents:
        lines = line_and_column(document.text, len(document.text))[0]
        if line is not None and line > lines:
            raise SourceError(f"{path} has {count(lines, 'line')}, none with the number {line}.")
        say(source_text(document, index.passages_of(document.id), line, style()))


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
    """Show what the index holds, what was skipped and why, and what has changed since.

    \b
    Example:
      pincite status --json
    """
    from pincite.index.location import changes_and_overview
    from pincite.qa.render import stats_text
    from pincite.qa.render_json import stats_json

    index = _open(folder)
    changes, held = changes_and_overview(index)
    if as_json:
        say_json(stats_json(index.stats(), index.path, changes, held))
    else:
        say(stats_text(index.stats(), index.path, changes, held))


@cli.command()
@_index_option
@click.pass_context
def verify(context: click.Context, folder: str | None) -> None:
    """Check every checksum, every span and every source; exit code 1 if only sources have changed, 2 for damage.

    \b
    Example:
      pincite verify --index articles/.pincite
    """
    from pincite.index import Index
    from pincite.index import verify as verify_index
    from pincite.index.location import index_folder
    from pincite.qa.render import count, problem_text

    index = Index.open(index_folder(folder))
    damaged = stale = 0
    for problem in verify_index(index):
        tell(f"pincite: {problem_text(problem)}")
        damaged += problem.damage
        stale += not problem.damage
    stats = index.stats()
    if damaged:
        context.exit(ERROR)
    if stale:
        tell(f"{count(stale, 'source')} not as indexed. Update: pincite index")
        context.exit(NO_ANSWER)
    held = f"{count(stats.documents, 'document')}, {count(stats.passages, 'passage')}"
    say(f"{held}: all as written, all as in the sources")


@cli.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@_index_option
@_json_option
@click.pass_context
def check_command(context: click.Context, files: tuple[str, ...], folder: str | None, as_json: bool) -> None:
    """Say which citations of saved answers still hold; exit code 1 if some do not, 2 if a FILE cannot be read.

    A FILE is what ask has printed with --format json, jsonl or annotations.

    \b
    Example:
      pincite check answers.jsonl
    """
    from pincite.index import Index
    from pincite.index.location import index_folder
    from pincite.qa.check import check, check_json, check_text
    from pincite.qa.saved_answers import read_saved

    index = Index.open(index_folder(folder))
    checked = check(index, [one for file in files for one in read_saved(file)])
    if as_json:
        say_json(check_json(checked))
    else:
        say(check_text(checked))
    context.exit(ANSWERED if all(one.status == "holds" for one in checked) else NO_ANSWER)


@cli.command()
@_index_option
def compact(folder: str | None) -> None:
    """Rewrite the index without what is gone from it; updates do so bit by bit by themselves.

    \b
    Example:
      pincite compact
    """
    from pincite.index import Index
    from pincite.index.location import index_folder
    from pincite.qa.render import size_text

    path = index_folder(folder)
    before, after = Index.open(path).stats(), Index.compact(path).stats()
    tell(f"{size_text(before)} -> {size_text(after)}")


@cli.command()
@click.argument("sources", nargs=-1, type=click.Path(), metavar="[SOURCE]...")
@_index_option
@_json_option
def repair(sources: tuple[str, ...], folder: str | None, as_json: bool) -> None:
    """Mend a damaged index from its sources; what is damaged is set aside, the rest is kept.

    SOURCEs need naming only where the list of them is itself damaged.

    \b
    Example:
      pincite repair articles/
    """
    from pincite.index import repair as repair_index
    from pincite.index.location import index_folder
    from pincite.qa.progress_bar import progress_bar
    from pincite.qa.render import report_text
    from pincite.qa.render_json import report_json

    path = index_folder(folder)
    with progress_bar() as progress:
        report = repair_index(path, sources, progress=progress)
    if report is None:
        tell(f"The index {path} is whole: nothing had to be read again.")
    elif as_json:
        say_json(report_json(report))
    else:
        tell(report_text(report, path))


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what lets SHELL complete pincite's commands and options.

    \b
    Examples:
      eval "$(pincite completion bash)"                 for this shell; in ~/.bashrc, for all
      pincite completion fish > ~/.config/fish/completions/pincite.fish
    """
    from click.shell_completion import get_completion_class

    completing = get_completion_class(shell)
    assert completing
    say(completing(cli, {}, "pincite", "_PINCITE_COMPLETE").source())


def _open(folder: str | None, sync_first: bool = False) -> SearchIndex:
    from pincite.index import IndexBusyError, find_index
    from pincite.index.location import open_index

    path = folder or find_index()
    if sync_first:
        try:
            _bring_in_step(path)
        except IndexBusyError:
            note(f"Another process is writing the index {path}; this is as of its last commit.")
    return open_index(path)


def _bring_in_step(path: str, sources: Sequence[str] = ()) -> SyncReport:
    from pincite.index.location import sync_index
    from pincite.qa.progress_bar import progress_bar

    with progress_bar(after=2.0) as progress:
        return sync_index(path, sources, progress=progress)
