"""Unit vectors of a segment -> RaBitQ codes (Gao & Long 2024): one bit a dimension and two factors.

The codes are FAISS's flat layout and not its fast-scan one: that takes a third to a half of the time, but its files are
read neither by the FAISS before nor by the FAISS after (1.13.0 and 1.15.1 refuse each other's), it cannot leave deleted
rows out, and the only way in is `deserialize_index`, which crashes on damaged bytes. Flat codes were the same bits in
1.12, 1.13 and 1.15 and go in as an array whose shape is checked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pincite.index.column import Column
from pincite.index.errors import IndexFormatError

__all__ = ["build_codes", "import_faiss", "load_codes", "one_thread"]

_MAGIC = b"RBQ1"
_HEADER = np.dtype([("magic", "S4"), ("dim", "<u4"), ("rows", "<u8")])
_BLOCK = 16_384


def build_codes(vectors: NDArray[np.float16]) -> NDArray[np.uint8]:
    """Return the RaBitQ codes of a segment as one array of bytes: header, centre, a code for each row.

    Cost: 1.1 s CPU for 100,000 rows of 384 dimensions, 56 bytes a row.

    Args:
        vectors: shape `(n, dim)`, unit rows.
    """
    faiss = import_faiss()
    n, dim = vectors.shape
    header = np.array((_MAGIC, dim, n), _HEADER)
    index = faiss.IndexRaBitQ(dim, faiss.METRIC_INNER_PRODUCT)
    centre = np.zeros(dim, np.float64)
    for block in _blocks(vectors):
        centre += block.sum(axis=0, dtype=np.float64)
    _set_centre(index, (centre / max(n, 1)).astype(np.float32))
    codes = np.empty((n, index.code_size), np.uint8)
    with one_thread():
        for i, block in enumerate(_blocks(vectors)):
            codes[i * _BLOCK : i * _BLOCK + len(block)] = index.sa_encode(block)
    centre_bytes = (centre / max(n, 1)).astype("<f4").view(np.uint8)
    return np.concatenate([np.frombuffer(header.tobytes(), np.uint8), centre_bytes, codes.ravel()])


def load_codes(column: Column, shape: tuple[int, ...]) -> Any:
    """Return the FAISS index that codes hold for vectors of a shape `(n, dim)`, checked but for the codes' own bits."""
    faiss = import_faiss()
    codes = column.whole()
    n, dim = shape
    index = faiss.IndexRaBitQ(dim, faiss.METRIC_INNER_PRODUCT)
    at = _HEADER.itemsize
    header = np.frombuffer(np.asarray(codes[:at]).tobytes().ljust(at, b"\0"), _HEADER)[0]
    size = at + 4 * dim + n * index.code_size
    if codes.dtype != np.uint8 or header.tolist() != (_MAGIC, dim, n) or codes.shape != (size,):
        raise IndexFormatError(
            f"The search codes of a segment do not fit its {n} passages of {dim} dimensions. "
            f"Repair the index: pincite repair"
        )
    _set_centre(index, np.frombuffer(np.asarray(codes[at : at + 4 * dim]).tobytes(), "<f4"))
    flat = np.asarray(codes[at + 4 * dim :]).reshape(n, index.code_size)
    index.add_sa_codes(np.ascontiguousarray(flat))
    column.release()
    return index


def import_faiss() -> Any:
    """Return the module; Any because its stubs lack what its Python layer adds. Importing it takes 35 ms."""
    import faiss

    return faiss


def _set_centre(index: Any, centre: NDArray[np.float32]) -> None:
    faiss = import_faiss()
    faiss.copy_array_to_vector(np.ascontiguousarray(centre, np.float32), index.center)
    index.is_trained = True


def _blocks(vectors: NDArray[np.float16]) -> Iterator[NDArray[np.float32]]:
    for i in range(0, len(vectors), _BLOCK):
        block = np.array(vectors[i : i + _BLOCK], np.float32, order="C")
        # One row that is not finite would spoil the centre of all.
        yield np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep FAISS on one thread: starting a team costs more than a query, and a server runs a query a thread."""
    faiss = import_faiss()
    # OpenMP keeps this number for each thread, so that concurrent searches do not undo each other's.
    before: int = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
