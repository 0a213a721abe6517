"""Walking: which files of a source are found, and what is said of the others."""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from pincite.index.errors import SourceError
from pincite.index.walk import Skipped, SourceFile, find_files


def found(source: Path | str, root: Path, exclude: list[str] | None = None) -> list[str]:
    items = find_files(str(source), root=str(root), exclude=exclude or [])
    return [item.path for item in items if isinstance(item, SourceFile)]


def skipped(source: Path | str, root: Path) -> dict[str, str]:
    return {item.path: item.reason for item in find_files(str(source), root=str(root)) if isinstance(item, Skipped)}


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"Text of {name}.\n")


def test_a_folder_gives_its_texts_sorted_by_path(tmp_path: Path) -> None:
    fill(tmp_path, "b.txt", "a/z.md", "a.txt", "a/b/c.HTML", "a-b/x.rst", "c.jsonl", "e.xhtml")
    paths = found(tmp_path, tmp_path)
    assert paths == sorted(paths)
    assert paths == ["a-b/x.rst", "a.txt", "a/b/c.HTML", "a/z.md", "b.txt", "c.jsonl", "e.xhtml"]


def test_hidden_files_and_version_control_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, ".a.txt", ".git/b.txt", ".pincite/c.txt", "CVS/d.txt", "sub/.hid/e.txt", "kept.txt")
    assert found(tmp_path, tmp_path) == ["kept.txt"]


def test_a_hidden_folder_that_is_named_is_read(tmp_path: Path) -> None:
    fill(tmp_path, ".notes/a.txt")
    assert found(tmp_path / ".notes", tmp_path) == [".notes/a.txt"]


def test_other_extensions_are_silently_no_sources_but_read_when_named(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "README", "md", "log.2024")
    assert list(find_files(str(tmp_path), root=str(tmp_path))) == []
    assert found(tmp_path / "README", tmp_path) == ["README"]


def test_paths_are_relative_under_the_root_and_absolute_elsewhere(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.txt", "out/b.txt")
    assert found(tmp_path / "in", tmp_path / "in") == ["a.txt"]
    assert found(tmp_path / "out", tmp_path / "in") == [f"{tmp_path}/out/b.txt"]
    assert found(tmp_path, tmp_path / "in") == ["a.txt", f"{tmp_path}/out/b.txt"]


def test_a_source_is_relative_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "in/a.txt")
    monkeypatch.chdir(tmp_path)
    assert found("in", tmp_path) == found("./in/../in/", tmp_path) == ["in/a.txt"]


def test_the_stamp_is_that_of_the_file(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt")
    (file,) = find_files(str(tmp_path), root=str(tmp_path))
    status = (tmp_path / "a.txt").stat()
    assert isinstance(file, SourceFile)
    assert file.location == str(tmp_path / "a.txt")
    assert (file.stamp.size, file.stamp.mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert (file.stamp.ctime_ns, file.stamp.inode) == (status.st_ctime_ns, status.st_ino)


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [
        (["*.md"], ["a.txt", "drafts/c.txt", "sub/drafts/e.txt"]),
        (["drafts/"], ["a.txt", "b.md"]),
        (["/drafts/"], ["a.txt", "b.md", "sub/drafts/e.txt"]),
        (["**/drafts/*.txt", "!e.txt"], ["a.txt", "b.md", "drafts/d.md", "sub/drafts/e.txt"]),
        (["# a comment", ""], ["a.txt", "b.md", "drafts/c.txt", "drafts/d.md", "sub/drafts/e.txt"]),
    ],
)
def test_exclude_works_as_gitignore_does(tmp_path: Path, patterns: list[str], kept: list[str]) -> None:
    fill(tmp_path, "a.txt", "b.md", "drafts/c.txt", "drafts/d.md", "sub/drafts/e.txt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found(tmp_path, tmp_path, patterns) == kept


def test_exclude_agrees_with_git(tmp_path: Path) -> None:
    names = ["a.txt", "b.md", "x/a.txt", "x/y/a.txt", "x/y/b.md", "y/q.txt", "z z/[a].txt", "z z/\n.txt"]
    fill(tmp_path, *names)
    patterns = ["x/**/a.txt", "!x/y/a.txt", "b.*", "/y", "z z/[[]*", "*\n*"][:5]
    (tmp_path / ".gitignore").write_text("\n".join(patterns) + "\n")
    try:
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git")
    command = ["git", "ls-files", "-z", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.split("\0")
    expected = sorted(name for name in listed if name and name != ".gitignore")
    assert found(tmp_path, tmp_path, patterns) == expected


def test_an_excluded_file_that_is_named_is_reported(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt")
    items = list(find_files(str(tmp_path / "a.txt"), root=str(tmp_path), exclude=["*.txt"]))
    assert items == [Skipped("a.txt", "left out by an exclude pattern")]


@pytest.mark.parametrize("pattern", ["!", "[z-a]"])
def test_a_pattern_that_is_none_is_an_error_of_one_line(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(SourceError, match="exclude pattern") as caught:
        find_files(str(tmp_path), root=str(tmp_path), exclude=[pattern])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gone", "gone/too", "", "a\nb", "a\0b", "x" * 300])
def test_a_missing_source_is_an_error_of_one_line_at_the_call(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError) as caught:
        find_files(name and f"{tmp_path}/{name}", root=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_pipe_as_a_source_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.txt")
    with pytest.raises(SourceError, match="a named pipe, not a file"):
        find_files(str(tmp_path / "p.txt"), root=str(tmp_path))


def test_pipes_sockets_and_dangling_links_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling.txt").symlink_to("nothing")
    (tmp_path / "self.txt").symlink_to("self.txt")
    (tmp_path / "to_pipe.txt").symlink_to("pipe")
    (tmp_path / "device.txt").symlink_to("/dev/null")
    monkeypatch.chdir(tmp_path)  # a socket's path has room for 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.txt")
        reasons = skipped(tmp_path, tmp_path)
    assert reasons == {
        "pipe": "a named pipe, not a file",
        "to_pipe.txt": "a named pipe, not a file",
        "s.txt": "a socket, not a file",
        "dangling.txt": "a link to nothing",
        "self.txt": "a link to itself",
        "device.txt": "a link to outside of the source folder",
    }


def test_links_never_lead_outside_of_the_source(tmp_path: Path) -> None:
    fill(tmp_path, "secret/s.txt", "in/a.txt", "input/b.txt")
    (tmp_path / "in/s.txt").symlink_to(tmp_path / "secret/s.txt")
    (tmp_path / "in/dir").symlink_to("../secret")
    (tmp_path / "in/near").symlink_to("../input")  # same beginning of the name
    assert found(tmp_path / "in", tmp_path) == ["in/a.txt"]
    assert set(skipped(tmp_path / "in", tmp_path).values()) == {"a link to outside of the source folder"}


def test_what_has_a_name_of_its_own_is_not_found_again_through_a_link(tmp_path: Path) -> None:
    fill(tmp_path, "z/a.txt")
    (tmp_path / "a").symlink_to("z")
    (tmp_path / "b.txt").symlink_to("z/a.txt")
    (tmp_path / "latest").symlink_to("z/a.txt")
    assert found(tmp_path, tmp_path) == ["z/a.txt"]
    reasons = skipped(tmp_path, tmp_path)
    assert reasons == {"a": "a link to z, which is read there", "b.txt": "a link to z/a.txt, which is read there"}


def test_links_to_hidden_and_oddly_named_files_inside_are_followed(tmp_path: Path) -> None:
    fill(tmp_path, ".store/1.txt", "data.bin", ".more/n/x.txt")
    (tmp_path / "a.txt").symlink_to(".store/1.txt")
    (tmp_path / "b.txt").symlink_to("data.bin")
    (tmp_path / "c.txt").symlink_to(".store/1.txt")
    (tmp_path / "folder").symlink_to(".more")
    (tmp_path / "folder2").symlink_to(".more/n")
    assert found(tmp_path, tmp_path) == ["a.txt", "b.txt", "folder/n/x.txt"]
    assert set(skipped(tmp_path, tmp_path)) == {"c.txt", "folder2"}


def test_an_exclude_pattern_holds_for_what_links_lead_to(tmp_path: Path) -> None:
    fill(tmp_path, "drafts/a.txt", "kept.txt", ".h/drafts/b.txt")
    (tmp_path / "x.txt").symlink_to("drafts/a.txt")
    (tmp_path / "y").symlink_to(".h/drafts")
    assert found(tmp_path, tmp_path, ["drafts/"]) == ["kept.txt"]


def test_loops_of_links_end(tmp_path: Path) -> None:
    fill(tmp_path, "a/b/c.txt", ".h/d.txt")
    (tmp_path / "a/b/up").symlink_to("..")
    (tmp_path / "a/b/top").symlink_to(tmp_path)
    (tmp_path / ".h/self").symlink_to(".")
    (tmp_path / ".h/back").symlink_to("../a")
    (tmp_path / "entry").symlink_to(".h")
    assert found(tmp_path, tmp_path) == ["a/b/c.txt", "entry/d.txt"]
    assert skipped(tmp_path, tmp_path)["a/b/up"] == "a link to a folder that it is in"


def test_a_web_of_links_is_walked_by_its_targets(tmp_path: Path) -> None:
    for n in range(12):
        fill(tmp_path, f".web/{n}/t.txt")
        for other in range(12):
            (tmp_path / f".web/{n}/to{other}").symlink_to(f"../{other}")
    (tmp_path / "in").symlink_to(".web/0")
    assert len(found(tmp_path, tmp_path)) == 12  # 12! ways lead to them


def test_a_source_that_is_a_link_is_followed(tmp_path: Path) -> None:
    fill(tmp_path, "real/a.txt")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "one.txt").symlink_to("real/a.txt")
    assert found(tmp_path / "link", tmp_path) == ["link/a.txt"]
    (file,) = find_files(str(tmp_path / "one.txt"), root=str(tmp_path))
    assert isinstance(file, SourceFile)
    assert (file.path, file.location) == ("one.txt", str((tmp_path / "real/a.txt").resolve()))


def test_odd_names_survive(tmp_path: Path) -> None:
    names = [b"line\nbreak.txt", b"not-utf8-\xff\xe9.txt", "ünï🌊.txt".encode(), b"#hash 'quote\".txt"]
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(b"x")
    paths = found(tmp_path, tmp_path)
    assert sorted(map(os.fsencode, paths)) == sorted(names)
    assert found(tmp_path, tmp_path, ["q*"]) == paths


def test_folders_nested_beyond_the_recursion_limit_are_walked(tmp_path: Path) -> None:
    here = os.getcwd()
    limit, depth = sys.getrecursionlimit(), 300
    try:
        os.chdir(tmp_path)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("deep.txt").write_text("deep")
    finally:
        os.chdir(here)
    sys.setrecursionlimit(len(inspect.stack(0)) + depth // 2)
    try:
        assert found(tmp_path, tmp_path) == ["d/" * depth + "deep.txt"]
    finally:
        sys.setrecursionlimit(limit)


_AS_NOBODY = """
import os, sys
from pincite.index.sources import Skipped, find_files, read_documents
if os.geteuid() == 0:  # whom no permission stops
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
for item in find_files(sys.argv[1], root=sys.argv[1]):
    for result in [item] if isinstance(item, Skipped) else read_documents(item):
        print(result.path, result.reason if isinstance(result, Skipped) else "read", sep=": ")
"""


def test_unreadable_files_and_folders_are_reported(tmp_path: Path) -> None:
    fill(tmp_path, "a/open.txt", "a/shut.txt", "a/shut.jsonl", "a/shut/x.txt", "a/blind/y.txt")
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == os.geteuid() and folder.name.startswith(("pytest-", "popen-", "test_")):
            folder.chmod(0o755)
    for name, mode in {"a/shut.txt": 0, "a/shut.jsonl": 0, "a/shut": 0, "a/blind": 0o444}.items():
        (tmp_path / name).chmod(mode)
    try:
        command = [sys.executable, "-c", _AS_NOBODY, str(tmp_path / "a")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        for name in ("a/shut", "a/blind"):
            (tmp_path / name).chmod(0o755)
    assert done.stdout.splitlines() == [
        "blind/y.txt: permission denied",
        "open.txt: read",
        "shut.jsonl: permission denied",
        "shut.txt: permission denied",
        "shut: permission denied",
    ], done.stderr
