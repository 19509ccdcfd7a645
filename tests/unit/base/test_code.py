"""Code of the user's own: what is imported, what is not, and what the errors say."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import msgspec
import pytest

from recurra.base import code
from recurra.base.code import (
    changed,
    entry_point,
    has_entry_point,
    is_loaded,
    load_code,
    named,
    origin,
    register,
)
from recurra.base.errors import ConfigError, UnknownName


class Base:
    pass


@pytest.fixture(autouse=True)
def empty_table(monkeypatch):
    monkeypatch.setattr(code, "_LOADED", [])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("recurra_code_", "own_")):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package with one module and one entry point, as a wheel would."""

    def install(package, text, entry, group="recurra.tasks", version="1.2"):
        site = tmp_path / f"site_{package}"
        info = site / f"{package}-{version}.dist-info"
        info.mkdir(parents=True)
        (site / f"own_{package}.py").write_text(text)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        (info / "RECORD").write_text(f"own_{package}.py,,\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")
        monkeypatch.syspath_prepend(str(site))

    return install


def test_a_class_of_a_file(write):
    path = write("from dataclasses import dataclass\n@dataclass\nclass Pair:\n    a: int = 1\n")
    loaded = load_code(f"{path}:Pair")
    assert loaded.reference == "mine.py:Pair"
    assert loaded.thing() == loaded.thing(1)
    assert named("mine.py:Pair", "task") is loaded.thing
    assert named("moved/to/mine.py:Pair", "task") is loaded.thing
    assert is_loaded("mine.py:Pair")
    assert load_code(f"{path}:Pair").thing is loaded.thing
    assert not list(path.parent.glob("__pycache__"))


def test_origin_has_no_path(write):
    path = write("class Mine: pass\n")
    thing = load_code(f"{path}:Mine").thing
    note = json.loads(msgspec.json.encode(origin(thing)))
    assert note == {"module": "mine.py", "name": "Mine", "file": "mine.py", "version": None, "digest": note["digest"]}
    assert len(note["digest"]) == 32
    assert str(path.parent) not in json.dumps(note)
    assert origin(thing()) == origin(thing)


def test_a_file_that_changed(write):
    path = write("class Mine: size = 1\n")
    before = msgspec.to_builtins(origin(load_code(f"{path}:Mine").thing))
    write("class Mine: size = 2\n")
    after = load_code(f"{path}:Mine").thing
    # Same length, same second: the bytecode cache would have given the old one.
    assert after.size == 2
    assert named("mine.py:Mine", "task") is after
    now = origin(after).digest
    assert changed(before, after) == (
        f"mine.py has changed since this run was trained (digest {before['digest']} then, {now} now)"
    )
    assert changed(msgspec.to_builtins(origin(after)), after) == ""
    assert changed({}, after) == ""


def test_classes_of_recurra_are_not_compared():
    assert origin(code.Origin).module == "recurra.base.code"
    assert origin(code.Origin).version
    assert changed({"digest": "00"}, code.Origin) == ""


def test_two_files_of_one_name(write):
    first, second = write("class Mine: size = 1\n", "a/mine.py"), write("class Mine: size = 2\n", "b/mine.py")
    one, two = load_code(f"{first}:Mine"), load_code(f"{second}:Mine")
    assert (one.thing.size, two.thing.size) == (1, 2)
    with pytest.raises(ConfigError) as caught:
        named("mine.py:Mine", "cell")
    assert str(caught.value).splitlines() == [
        "cell: 2 different classes are loaded as mine.py:Mine.",
        f"  {first} (digest {one.origin.digest})",
        f"  {second} (digest {two.origin.digest})",
        "  Hint: load one of them: --code path/to/mine.py:Mine",
    ]


def test_two_copies_of_one_file(write):
    text = "class Mine: pass\n"
    load_code(f"{write(text, 'a/mine.py')}:Mine")
    load_code(f"{write(text, 'b/mine.py')}:Mine")
    assert named("mine.py:Mine", "cell").__name__ == "Mine"


def test_not_loaded(write):
    with pytest.raises(UnknownName) as caught:
        named("mine.py:Forgetful", "cell")
    assert str(caught.value).splitlines() == [
        "cell: mine.py:Forgetful is not loaded; code is imported only where you name it yourself.",
        "  Hint: --code path/to/mine.py:Forgetful"
        " (in Python: recurra.base.code.load_code('path/to/mine.py:Forgetful'))",
    ]
    load_code(f"{write('class Mine: pass')}:Mine")
    with pytest.raises(UnknownName, match=r"Loaded: mine\.py:Mine"):
        named("package.module:Forgetful", "cell")
    assert not is_loaded("mine.py:Forgetful")


def test_a_name_is_never_imported(write, monkeypatch):
    canary = write("", "evil.py").parent / "canary"
    write(f"open({str(canary)!r}, 'w').close()\nclass X: pass\n", "evil.py")
    monkeypatch.chdir(canary.parent)
    monkeypatch.syspath_prepend(str(canary.parent))
    for reference in ("evil.py:X", "./evil.py:X", f"{canary.parent}/evil.py:X", "evil:X"):
        with pytest.raises(UnknownName, match="is not loaded"):
            named(reference, "cell")
        assert not is_loaded(reference)
    assert not canary.exists()
    # The canary does sing where the user names it.
    load_code("evil.py:X")
    assert canary.exists()


@pytest.mark.parametrize("reference", ["mine.py", "", ":", "mine.py:", ":Mine"])
def test_no_reference(reference):
    with pytest.raises(ConfigError, match=r"is no reference to a class(.|\n)*Hint: path/to/mine.py:Name"):
        load_code(reference)


def test_no_such_file(tmp_path):
    with pytest.raises(ConfigError, match=r"mine.py:Mine: cannot read .*mine.py: No such file or directory"):
        load_code(f"{tmp_path}/mine.py:Mine")


def test_no_such_name(write):
    path = write("from json import JSONDecoder\nclass Forgetful: pass\nclass Other: pass\n")
    with pytest.raises(ConfigError, match=r"has no 'Forgetfull'(.|\n)*It has: Forgetful, Other\.") as caught:
        load_code(f"{path}:Forgetfull")
    assert "JSONDecoder" not in str(caught.value)
    with pytest.raises(ConfigError, match="It has: no class"):
        load_code(f"{write('', 'empty.py')}:Mine")


def test_an_exception_while_importing(write):
    path = write("import json\n\nvalue = json.loads('{')\nclass Mine: pass\n")
    with pytest.raises(ConfigError) as caught:
        load_code(f"{path}:Mine")
    first, second = str(caught.value).splitlines()
    assert first == f"{path}:Mine: {path} fails when it is imported."
    assert second.startswith(f"  {path}, line 3: JSONDecodeError: Expecting property name")
    assert isinstance(caught.value.__cause__, json.JSONDecodeError)
    # Nothing half-made stays behind.
    write("class Mine: pass\n")
    assert load_code(f"{path}:Mine").thing


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = (\n", "line 1: SyntaxError: '(' was never closed"),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
        (
            "import recurra.base.errors as e\nraise e.DataError(e.message('a', 'b'))",
            "line 2: DataError: a: b.",
        ),
    ],
)
def test_other_failures(write, text, expected):
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load_code(f"{path}:Mine")
    assert f"{path}, {expected}" in str(caught.value)


def test_ctrl_c_while_importing(write):
    path = write("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_code(f"{path}:Mine")
    assert not [name for name in sys.modules if name.startswith("recurra_code_mine_")]


def test_a_neighbour(write):
    write("size = 3\n", "neighbour_of_mine.py")
    path = write("from neighbour_of_mine import size\nclass Mine: pass\n")
    with pytest.raises(ConfigError, match=f"line 1: ModuleNotFoundError(.|\n)*PYTHONPATH={path.parent}"):
        load_code(f"{path}:Mine")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("size", "must be a class, is int 3"),
        ("Plain", "must be a subclass of Base, is the class Plain(object)"),
    ],
)
def test_another_kind(write, name, expected):
    path = write("size = 3\nclass Plain: pass\n")
    with pytest.raises(ConfigError) as caught:
        load_code(f"{path}:{name}", None if name == "size" else Base)
    assert expected in str(caught.value)
    assert not is_loaded(f"mine.py:{name}")
    load_code(f"{path}:Plain")
    with pytest.raises(ConfigError, match=r"must be a subclass of Base"):
        named("mine.py:Plain", "task", Base)


def test_a_class_of_a_module(write, monkeypatch):
    path = write("class Mine: pass\n", "own_module.py")
    monkeypatch.syspath_prepend(str(path.parent))
    loaded = load_code("own_module:Mine")
    assert loaded.reference == "own_module:Mine"
    assert named("own_module:Mine", "task") is loaded.thing
    assert (loaded.origin.module, loaded.origin.file, loaded.origin.version) == ("own_module", "own_module.py", None)
    assert loaded.origin.digest == load_code(f"{path}:Mine").origin.digest
    assert load_code("recurra.base.code:Origin").origin.version is not None


def test_no_such_module(write, monkeypatch):
    with pytest.raises(ConfigError, match="no module is called own_missing"):
        load_code("own_missing.deep:Mine")
    path = write("import own_missing\n", "own_failing.py")
    monkeypatch.syspath_prepend(str(path.parent))
    with pytest.raises(ConfigError, match=r"own_failing.py, line 1: ModuleNotFoundError: No module named"):
        load_code("own_failing:Mine")
    monkeypatch.chdir(write("class Mine: pass", "deeper/own_file.py").parent)
    with pytest.raises(ConfigError, match=r"Hint: own_file.py:Mine names the file"):
        load_code("own_file:Mine")


def test_registered():
    @dataclass
    class Mine:
        size: int = 1

    register(Mine)
    reference = f"{__name__}:test_registered.<locals>.Mine"
    assert named(reference, "task") is Mine
    assert origin(Mine).file == "test_code.py"
    with pytest.raises(ConfigError, match="takes a class"):
        register(Mine())  # pyright: ignore[reportArgumentType]


def test_registered_in_a_script(write):
    path = write(
        "from recurra.base.code import named, register\nclass Mine: pass\nregister(Mine)\n"
        "print(named('mine.py:Mine', 'task') is Mine)\n"
    )
    ended = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True)
    assert ended.stdout == "True\n"


def test_entry_point(install):
    install("fancy_tasks", "class Fancy: pass\n", "fancy = own_fancy_tasks:Fancy")
    assert has_entry_point("recurra.tasks", "fancy")
    assert "own_fancy_tasks" not in sys.modules
    thing = entry_point("recurra.tasks", "fancy")
    assert thing.__name__ == "Fancy"
    source = origin(thing)
    assert (source.module, source.file, source.version) == ("own_fancy_tasks", "own_fancy_tasks.py", "1.2")
    assert entry_point("recurra.cells", "fancy") is None
    assert entry_point("recurra.tasks", "fancier") is None
    with pytest.raises(ConfigError, match=r"fancy \(own_fancy_tasks:Fancy\): must be a subclass of Base"):
        entry_point("recurra.tasks", "fancy", Base)


def test_two_packages_offer_one_name(install):
    install("red", "class Fancy: pass\n", "fancy = own_red:Fancy")
    install("blue", "class Fancy: pass\n", "fancy = own_blue:Fancy")
    with pytest.raises(ConfigError) as caught:
        entry_point("recurra.tasks", "fancy")
    first, *packages, hint = str(caught.value).splitlines()
    assert first == "fancy: 2 installed packages offer this name."
    assert sorted(packages) == ["  blue: own_blue:Fancy", "  red: own_red:Fancy"]
    assert "--code own_" in hint
    assert not {"own_red", "own_blue"} & set(sys.modules)


def test_a_package_that_fails(install):
    install("broken", "x = 1 / 0\n", "fancy = own_broken:Fancy")
    with pytest.raises(ConfigError, match=r"broken offers own_broken:Fancy(.|\n)*line 1: ZeroDivisionError"):
        entry_point("recurra.tasks", "fancy")


def test_cheap_to_import():
    script = "import sys, recurra.base.code; print(sorted({'torch', 'importlib.metadata'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
