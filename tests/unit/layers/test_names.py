"""The names that recurra.layers offers."""

import pytest

import recurra.layers


@pytest.mark.parametrize("name", recurra.layers.__all__)
def test_each_name_is_a_class_of_that_name(name):
    assert getattr(recurra.layers, name).__name__ == name


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'Recurent'"):
        recurra.layers.Recurent  # noqa: B018
