"""The public names, and the tree of errors."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import hclf
from hclf import errors

NAMES = [name for name in hclf.__all__ if name != "__version__"]


def test_the_public_names_are_sorted_and_listed_once_everywhere():
    assert hclf.__all__ == sorted(set(hclf.__all__))
    assert set(hclf.__all__) == {*hclf._PUBLIC, "__version__"}
    assert dir(hclf) == hclf.__all__


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_resolves_to_its_home(name):
    value = getattr(hclf, name)
    assert value is getattr(importlib.import_module(hclf._PUBLIC[name]), name)
    assert value.__name__ == name


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_documented(name):
    assert _first_line(getattr(hclf, name)).endswith("."), f"hclf.{name}: the docstring begins with one sentence"


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(getattr(hclf, name), type)])
def test_the_public_methods_of_a_public_class_are_documented(name):
    cls = getattr(hclf, name)
    own = [member for base in cls.__mro__ if base.__module__.startswith("hclf") for member in vars(base)]
    undocumented = [
        member
        for member in own
        if not member.startswith("_")
        and (inspect.isroutine(getattr(cls, member)) or isinstance(inspect.getattr_static(cls, member), property))
        and not inspect.getdoc(getattr(cls, member))
    ]
    assert not undocumented


def test_type_checkers_see_the_same_names():
    source = inspect.getsource(hclf).partition("if TYPE_CHECKING:")[2].partition("_PUBLIC")[0]
    imported = {
        (name.strip(), module)
        for module, names in (
            line.removeprefix("from ").split(" import ") for line in map(str.strip, source.splitlines()) if line
        )
        for name in names.split(",")
    }
    assert imported == set(hclf._PUBLIC.items())


def test_star_import_gives_exactly_the_public_names():
    code = "from hclf import *; print(sorted(n for n in dir() if not n.startswith('__') or n == '__version__'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr(hclf.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'hclf' has no attribute 'Taxonmy'"):
        hclf.Taxonmy  # noqa: B018
    assert not hasattr(hclf, "numpy")


# -- errors ----------------------------------------------------------------------------------------------------


def _subclasses(cls: type) -> set[type]:
    return {cls}.union(*map(_subclasses, cls.__subclasses__()))


def _error_tree() -> list[tuple[int, str]]:
    """Return (depth, name) of each line of the tree drawn in the docstring."""
    drawn = [line for line in inspect.getdoc(errors).splitlines() if "Error  " in line]
    names = [line.strip("│├└─ ").split()[0] for line in drawn]
    return [(line.index(name) // 4, name) for line, name in zip(drawn, names, strict=True)]


def test_the_drawn_tree_of_errors_is_the_real_one():
    for name in hclf._PUBLIC.values():
        importlib.import_module(name)
    above: list[str] = []
    drawn = set()
    for depth, name in _error_tree():
        cls = getattr(errors, name)
        assert not above[:depth] or above[depth - 1] in [base.__name__ for base in cls.__bases__]
        above[depth:] = [name]
        drawn.add(cls)
    assert drawn == _subclasses(errors.HclfError)


@pytest.mark.parametrize("cls", sorted(_subclasses(errors.HclfError), key=lambda cls: cls.__name__))
def test_errors_have_the_exit_status_and_the_builtin_base_the_tree_says(cls):
    assert cls.exit_code == (2 if issubclass(cls, errors.UsageError) else 1)
    assert issubclass(cls, KeyError) == issubclass(cls, errors.UnknownNodeError)
    assert issubclass(cls, ValueError) == issubclass(cls, errors.UsageError)
    assert _first_line(cls)


def _first_line(value: object) -> str:
    return (value.__doc__ or "").strip().partition("\n")[0]
