"""A damaged index -> a whole one: what is damaged is read from the sources again, the rest is kept.

Each part of an index has its checksum, so what is damaged is known exactly. A segment says of older ones which of
their documents are gone, and that is lost with it: so all sources are read and compared, but only passages whose
vectors are lost are embedded. The damaged files are set aside, not deleted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pincite.index.aside import forget_aside, keep_aside, set_aside_if_damaged
from pincite.index.build import SyncRun, sync
from pincite.index.contents import KEY_COLUMNS, SegmentContents
from pincite.index.embedder import Embedder
from pincite.index.errors import IndexFormatError, IndexNotFoundError, SourceError
from pincite.index.manifest import Manifest, mend_format, read_manifest, writer
from pincite.index.reports import Progress, SyncReport
from pincite.index.segment import Segment
from pincite.index.verify import check_segment

__all__ = ["repair"]


def repair(
    path: str | os.PathLike[str],
    sources: Sequence[str | os.PathLike[str]] = (),
    *,
    embedder: Embedder | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> SyncReport | None:
    """Mend the index in the folder `path`; return what was done, None if nothing had to be read again.

    Args:
        path: the folder of the index.
        sources: needed only if the list of sources is itself damaged; then the index is built afresh from these.
        embedder: the one that the index was built with; by default its model is loaded if needed.
        progress: called now and then, from this thread.

    Raises:
        IndexFormatError: the list of sources is damaged and none are named, or the index is of another version.
        SourceError: a source is not there, so that what was damaged of it cannot be read again.
        IndexBusyError: another process is writing the index.
    """
    started = time.monotonic()
    folder = os.fspath(path)
    aside = None
    if os.path.isdir(folder):
        with writer(folder):
            mend_format(folder)
        aside = set_aside_if_damaged(folder, bool(sources))
    if sources and not _has_sources(folder):  # also where an earlier repair came no further than this
        return replace(sync(folder, sources, embedder=embedder, progress=progress), set_aside=aside)
    read_manifest(folder)  # before a lock is made where there is no index
    with writer(folder):
        manifest = read_manifest(folder)
        lost, donors = _damaged_segments(folder, manifest)
        if not lost:
            return None
        _check_sources(folder, manifest)
        run = SyncRun(folder, manifest, embedder=embedder, lost=lost, donors=donors, progress=progress)
        aside = keep_aside(folder, lost)
        try:
            report = run.run()
        except BaseException:
            forget_aside(aside)
            raise
    return replace(report, seconds=time.monotonic() - started, set_aside=aside)


def _damaged_segments(folder: str, manifest: Manifest) -> tuple[list[str], list[SegmentContents]]:
    """Return the names of the segments that are missing or damaged, and those of them that still have vectors to give.

    What such a segment has is still checked row by row when it is taken.
    """
    lost, donors = [], []
    for entry in manifest.segments:
        contents = None
        try:
            segment = Segment(os.path.join(folder, entry.name), entry.size, entry.checksum)
            contents = SegmentContents(entry.name, segment)
            check_segment(contents)
        except (IndexFormatError, FileNotFoundError):
            lost.append(entry.name)
            if contents and _can_give(contents):
                donors.append(contents)
    return lost, donors


def _can_give(contents: SegmentContents) -> bool:
    try:
        for name in KEY_COLUMNS:
            contents.segment.check(name)
    except IndexFormatError:
        return False
    return True


def _has_sources(folder: str) -> bool:
    try:
        return bool(read_manifest(folder).sources)
    except IndexNotFoundError:
        return False


def _check_sources(folder: str, manifest: Manifest) -> None:
    root = os.path.dirname(os.path.abspath(folder))
    for source in manifest.sources:
        if not os.path.lexists(os.path.join(root, source.path)):
            raise SourceError(
                f"The source {source.path} is not there, and what is damaged of it cannot be read again. "
                f"Bring it back, or begin afresh without it: pincite index --rebuild --remove {source.path}"
            )
