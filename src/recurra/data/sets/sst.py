"""Stanford Sentiment Treebank (Socher et al. 2013): binary trees with a label of 0 (very negative) to 4 at every node.

Reads the files train.txt, dev.txt and test.txt of trees in brackets, plain or gzipped: 8,544, 1,101 and 2,210 of them.
"""

from __future__ import annotations

import gzip
from pathlib import Path

from recurra.base.errors import DataError, message
from recurra.data.trees import Tree, parse

__all__ = ["PARTS", "binary", "read"]

PARTS = ("train", "dev", "test")


def read(folder: Path | str, part: str) -> list[Tree]:
    """The trees of one part: "train", "dev" or "test"."""
    if part not in PARTS:
        raise DataError(message("sst.read", f"part must be one of {', '.join(PARTS)}, got {part!r}"))
    for name in (f"{part}.txt", f"{part}.txt.gz"):
        path = Path(folder) / name
        if path.exists():
            packed = path.read_bytes()
            trees = parse((gzip.decompress(packed) if path.suffix == ".gz" else packed).decode(), str(path))
            _check(trees, path)
            return trees
    raise DataError(message("sst.read", f"neither {part}.txt nor {part}.txt.gz is in {folder}"))


def binary(label: str) -> int | None:
    """Positive 1, negative 0, None for neutral: what the two-class task leaves out."""
    return None if label == "2" else int(label > "2")


def _check(trees: list[Tree], path: Path) -> None:
    if not trees:
        raise DataError(message(str(path), "holds no trees"))
    for index, tree in enumerate(trees):
        odd = [label for label in tree.labels if label not in ("0", "1", "2", "3", "4")]
        if odd:
            raise DataError(message(str(path), f"tree {index} has the label {odd[0]!r}, expected 0 to 4"))
