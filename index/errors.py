"""What can go wrong that a user can act on: one line saying what, where and what to do next.

PinciteError
├── SourceError          a source cannot be read at all
├── IndexNotFoundError   there is no index where one was looked for
├── IndexFormatError     the index is damaged, or of another version
├── IndexBusyError       another process is writing the index
├── ModelMismatchError   the index was built with another model than the one at hand
├── ModelNotFoundError   the model cannot be loaded
└── QuestionError        a question is empty or far too long, or a condition on documents cannot be read
"""

from __future__ import annotations

__all__ = [
    "IndexBusyError",
    "IndexFormatError",
    "IndexNotFoundError",
    "ModelMismatchError",
    "ModelNotFoundError",
    "PinciteError",
    "QuestionError",
    "SourceError",
]


class PinciteError(Exception):
    """Base of every error that a user can act on; its message is one line."""


class SourceError(PinciteError):
    """A source cannot be read at all: it is missing, or is no file or folder."""


class IndexNotFoundError(PinciteError):
    """There is no index where one was looked for."""


class IndexFormatError(PinciteError):
    """The index is damaged, or was written by another version of pincite."""


class IndexBusyError(PinciteError):
    """Another process holds the writer's lock."""


class ModelMismatchError(PinciteError):
    """The index was built with another model than the one at hand."""


class ModelNotFoundError(PinciteError):
    """The embedding model cannot be loaded, or its weights are not the expected ones."""


class QuestionError(PinciteError):
    """A question is empty or far too long to be one, or a condition on documents cannot be read."""
