"""Users' code: archives by digest, found where Flink puts them, and imported side by side."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from swapstream.models.errors import InvalidPlan, Unavailable, UnknownName
from swapstream.operators import code
from swapstream.operators.code import Archive, Ref, archive_of, find, pinned, read, ref_of, refs_in, register
from swapstream.operators.code_loading import load, origin, reference
from swapstream.operators.extractors.base import Extractor
from swapstream.operators.extractors.composite import Composite

SOURCE = """
import numpy as np
from swapstream.operators.extractors.base import Extractor

class Times(Extractor):
    factor: float = {factor}

    def features(self):
        return tuple(f"{{field}}.times" for field in self.fields)

    def step(self, values, times, state):
        return values * self.factor, np.zeros(len(values), bool), {{}}
"""


@pytest.fixture(autouse=True)
def _as_new() -> Iterator[None]:
    """What this process knows of archives stays as it was."""
    here, sources, path = dict(code._here), dict(code._sources), list(sys.path)
    yield
    code._here.clear()
    code._here.update(here)
    code._sources.clear()
    code._sources.update(sources)
    sys.path[:] = path
    load.cache_clear()


def one(text: str, name: str = "scaling.py") -> Archive:
    return register(archive_of({name: text.encode()}))


def times(archive: Archive, source: str = "scaling:Times") -> type[Extractor]:
    return load(Ref(source, archive.digest))


# -- archives


def test_a_file_is_an_archive_whose_digest_is_that_of_its_name_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    found = read(tmp_path / "a.py")
    assert (found.files, found.modules) == ({"a.py": b"x = 1"}, {"a"})
    assert found.digest == "c68b82ab68e22e041b6acfb9417f88c6e77e31c33b47a2854bda3bc4c3e1fca8"
    (tmp_path / "b.py").write_text("x = 1")
    (tmp_path / "c.py").write_text("x = 2")
    assert len({read(tmp_path / name).digest for name in ("a.py", "b.py", "c.py")}) == 3


def test_a_package_is_all_that_is_in_its_folder(tmp_path: Path) -> None:
    for name in ("p/__init__.py", "p/sub/deep.py", "p/table.csv", "p/.hidden", "p/.git/config", "p/__pycache__/x.pyc", "p/old.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert list(read(tmp_path / "p").files) == ["p/__init__.py", "p/sub/deep.py", "p/table.csv"]


def test_an_archive_is_a_zip_that_gives_it_back_and_hides_no_module_on_a_path() -> None:
    made = archive_of({"json.py": b"nothing", "a/b.py": b"x"})
    assert Archive.decode(made.encode()) == made
    assert Archive.decode(made.encode()).digest == made.digest
    assert archive_of({"a/b.py": b"x", "json.py": b"nothing"}).digest == made.digest
    with zipfile.ZipFile(io.BytesIO(made.encode())) as opened:
        assert opened.namelist() == ["swapstream-code/a/b.py", "swapstream-code/json.py"]


@pytest.mark.parametrize(("name", "error", "message"), [
    ("none.py", UnknownName, "no such file or folder"),
    ("notes.txt", InvalidPlan, "allowed are a .py file and the folder of a package"),
    ("empty", InvalidPlan, "0 files of 0 bytes; allowed are 1 to 1000"),
])
def test_what_is_no_code_is_refused(tmp_path: Path, name: str, error: type[Exception], message: str) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=message):
        read(tmp_path / name)


def test_too_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "large.py").write_bytes(b"#" * (code.MAX_BYTES + 1))
    with pytest.raises(InvalidPlan, match="1 files of 16777217 bytes"):
        read(tmp_path / "large.py")
    with pytest.raises(InvalidPlan, match="1 files of 16777217 bytes"):
        Archive.decode(archive_of({"large.py": b"#" * (code.MAX_BYTES + 1)}).encode())


# -- where they are found


def test_what_flink_puts_on_the_path_is_found(tmp_path: Path) -> None:
    """A zip is unpacked beside itself, and the folder is on the path."""
    made = archive_of({"a.py": b"x = 1"})
    (tmp_path / made.name).write_bytes(made.encode())
    sys.path.append(str(tmp_path / made.name.removesuffix(".zip")))
    assert find(made.digest) == made


def test_a_zip_on_the_path_and_further_places_are_found(tmp_path: Path) -> None:
    first, second = archive_of({"a.py": b"x = 1"}), archive_of({"a.py": b"x = 2"})
    (tmp_path / first.name).write_bytes(first.encode())
    sys.path.append(str(tmp_path / first.name))
    code.look_in("here", {second.digest: second.encode()}.get)
    assert (find(first.digest), find(second.digest)) == (first, second)


def test_what_is_not_here_or_has_other_bytes_is_not_available(tmp_path: Path) -> None:
    made, other = archive_of({"a.py": b"x = 1"}), archive_of({"a.py": b"x = 2"})
    with pytest.raises(Unavailable, match=f"code {made.digest[:12]}…: is not here"):
        find(made.digest)
    sys.path.append(str(tmp_path / made.name))
    (tmp_path / made.name).write_bytes(other.encode())
    with pytest.raises(Unavailable, match=f"digest: what is here has {other.digest}"):
        find(made.digest)
    (tmp_path / made.name).write_bytes(made.encode()[:-5])
    with pytest.raises(Unavailable, match="not a code archive"):
        find(made.digest)


# -- importing


def test_two_versions_live_side_by_side_and_python_knows_no_module_of_theirs() -> None:
    kinds = [times(one(SOURCE.format(factor=factor))) for factor in (2.0, 3.0)]
    assert [kind().factor for kind in kinds] == [2.0, 3.0]
    assert [kind.NAME for kind in kinds] == ["scaling.Times"] * 2
    assert "scaling" not in sys.modules
    assert times(one(SOURCE.format(factor=2.0))) is kinds[0]


def test_code_finds_its_own_modules_however_and_whenever_it_imports_them() -> None:
    files = {
        "own/__init__.py": "from .parts import one\nimport own.parts.two as two\nSUM = one.VALUE + two.VALUE",
        "own/parts/one.py": "VALUE = 1",
        "own/parts/two.py": "import own.parts.one\nfrom own.parts.one import VALUE as FIRST\nVALUE = own.parts.one.VALUE + FIRST",
        "own/json.py": "VALUE = 'mine'",
        "own/extractors.py": SOURCE.format(factor=2.0) + """
    def check(self):
        import own.parts.two, json
        from own import SUM, json as mine
        from . import parts
        assert (SUM, own.parts.two.VALUE, parts.two.VALUE) == (3, 2, 2)
        assert mine.VALUE == 'mine' and json.dumps(1) == '1'
""",
    }
    made = register(archive_of({name: text.encode() for name, text in files.items()}))
    times(made, "own.extractors:Times")().check()


def test_a_package_can_read_its_own_data() -> None:
    source = "import pkgutil\n" + SOURCE.format(factor="float(pkgutil.get_data(__name__, 'factor.txt'))")
    kind = times(register(archive_of({"p/__init__.py": source.encode(), "p/factor.txt": b"4"})), "p:Times")
    assert kind().factor == 4.0


def test_settings_may_refer_to_types_of_the_module_by_name() -> None:
    source = "from __future__ import annotations\nfrom typing import Literal\nHow = Literal['up', 'down']\n" + SOURCE.format(factor=1)
    archive = one(source.replace("factor: float = 1", "factor: float = 1\n    how: How = 'up'"))
    name = str(Ref("scaling:Times", archive.digest))
    assert Composite.parse([{name: {"how": "down"}}], ("x",)).spec == ({name: {"how": "down"}},)
    with pytest.raises(InvalidPlan, match="setting 'how' is 'left', allowed is one of up, down"):
        Composite.parse([{name: {"how": "left"}}], ("x",))


@pytest.mark.parametrize(("text", "source", "error", "message"), [
    ("x = (", "scaling:Times", InvalidPlan, "can't be imported: SyntaxError: '\\(' was never closed"),
    ("1 / 0", "scaling:Times", InvalidPlan, "can't be imported: ZeroDivisionError: division by zero"),
    ("raise SystemExit(3)", "scaling:Times", InvalidPlan, "can't be imported: SystemExit: 3"),
    ("import nowhere_to_be_found", "scaling:Times", Unavailable, "needs module 'nowhere_to_be_found', which is not installed here"),
    ("import scaling.more", "scaling:Times", InvalidPlan, "its code has no module 'scaling.more'; there are scaling"),
    ("x = 1", "scaling:Times", InvalidPlan, "there is none; allowed is a subclass of Extractor"),
    ("Times = 1", "scaling:Times", InvalidPlan, "Times is a int; allowed"),
    ("class Times: pass", "scaling:Times", InvalidPlan, "Times is a type; allowed"),
    ("x = 1", "other:Times", InvalidPlan, "its code has no module 'other'; there are scaling"),
    ("from swapstream.operators.extractors.identity import Identity as Times", "scaling:Times", InvalidPlan,
     "is defined as swapstream.operators.extractors.identity.Identity; allowed are classes"),
    (SOURCE.format(factor=1) + "    NAME = 'ewm'", "scaling:Times", InvalidPlan, "NAME is 'ewm'; allowed .* no name of a built-in one"),
    (SOURCE.format(factor=1) + "    NAME = 'a b'", "scaling:Times", InvalidPlan, "NAME is 'a b'; allowed are letters, digits"),
    (SOURCE.format(factor=1) + "    VERSION = '2'", "scaling:Times", InvalidPlan, "VERSION is '2'; allowed is a number from 1 on"),
    (SOURCE.format(factor=1) + "    SCHEMA_VERSION = 0", "scaling:Times", InvalidPlan, "SCHEMA_VERSION is 0; allowed"),
])
def test_what_can_not_be_loaded_is_one_clear_line(text: str, source: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        times(one(text), source)
    assert "\n" not in str(raised.value)
    assert "swapstream_code" not in str(raised.value)


# -- references


def test_a_class_is_known_by_where_it_is_defined() -> None:
    made = register(archive_of({"p/__init__.py": b"from .inner import Times", "p/inner.py": SOURCE.format(factor=2).encode()}))
    kind = times(made, "p:Times")
    assert origin(kind) == Ref("p.inner:Times", made.digest)
    assert times(made, "p.inner:Times") is kind
    assert reference(kind) == f"p.inner:Times@{made.digest}"


def test_names_are_pinned_to_the_archive_that_has_the_module() -> None:
    first, second = one(SOURCE.format(factor=2)), one("", "other.py")
    found = pinned(["identity", {"scaling:Times": {"factor": 3}}, "other:X"], [first, second])
    assert found == ("identity", {f"scaling:Times@{first.digest}": {"factor": 3}}, f"other:X@{second.digest}")
    assert pinned(found, []) == found
    assert [ref.digest for ref in refs_in(found)] == [first.digest, second.digest]


def test_names_without_code_and_modules_of_one_name_are_refused() -> None:
    first, second = one(SOURCE.format(factor=2)), one(SOURCE.format(factor=3))
    with pytest.raises(InvalidPlan, match="extractor 'other:X': the code that is given has modules scaling"):
        pinned(["other:X"], [first])
    with pytest.raises(InvalidPlan, match="extractor 'other:X': the code that is given is none: name its file in the plan's `code`"):
        pinned(["other:X"], [])
    with pytest.raises(InvalidPlan, match="module 'scaling' is there twice"):
        pinned([], [first, second])
    with pytest.raises(InvalidPlan, match="no code is given"):
        Composite.parse(["scaling:Times"], ("x",))


@pytest.mark.parametrize("name", ["ewm", "a:b:c", ":b", "a:", "a.b", "a:b@12", "1a:b", "a b:c", 3, None])
def test_other_names_are_no_references(name: object) -> None:
    assert ref_of(name) is None


def test_the_digest_of_the_code_is_in_that_of_the_extractor() -> None:
    made = [one(SOURCE.format(factor=2) + more) for more in ("", "\n# a remark")]
    found = [Composite.parse([f"scaling:Times@{archive.digest}"], ("x",)) for archive in made]
    assert found[0].digest != found[1].digest
    assert [one.name for one in found] == ["scaling.Times"] * 2
    assert found[0].layout == found[1].layout
    assert found[0].code == (made[0].digest,)
    assert found[0].members[0].extractor.step(np.ones((1, 1)), np.zeros(1, np.int64), {})[0].tolist() == [[2.0]]
