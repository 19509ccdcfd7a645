"""scikit-learn's digits, as they come."""

from __future__ import annotations

import pytest
import torch

from recurra.data.sets import small_digits


def test_parts_are_the_whole_set_in_order() -> None:
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    found = load_digits()
    (x, labels), (x_test, labels_test) = small_digits.read("train"), small_digits.read("test")
    assert x.shape == (1437, 8, 8, 1)
    assert x_test.shape == (360, 8, 8, 1)
    assert (float(x.min()), float(x.max())) == (0.0, 1.0)
    both = torch.cat([x, x_test]).squeeze(-1).double() * 16
    assert torch.equal(both, torch.from_numpy(found.images))
    assert torch.equal(torch.cat([labels, labels_test]), torch.from_numpy(found.target).long())
