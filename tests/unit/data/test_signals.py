"""WAV and CSV: what is written is read, every sample format, and files that are none."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io.wavfile

from recurra.base.errors import DataError
from recurra.data.signals import read_signal, write_signal


@pytest.mark.parametrize(
    ("dtype", "raw", "want"),
    [
        (np.uint8, [0, 128, 255], [-1.0, 0.0, 127 / 128]),
        (np.int16, [-32768, 0, 16384], [-1.0, 0.0, 0.5]),
        (np.int32, [-(2**31), 0, 2**30], [-1.0, 0.0, 0.5]),
        (np.float32, [-1.0, 0.25, 0.5], [-1.0, 0.25, 0.5]),
    ],
)
def test_sample_formats(tmp_path, dtype, raw, want):
    scipy.io.wavfile.write(tmp_path / "a.wav", 8000, np.array(raw, dtype=dtype))
    found = read_signal(tmp_path / "a.wav")
    assert found.values[:, 0].tolist() == want
    assert found.rate_hz == 8000


@pytest.mark.parametrize("name", ["a.wav", "a.csv"])
@pytest.mark.parametrize("channels", [1, 2])
def test_written_is_read(tmp_path, name, channels):
    values = np.random.default_rng(0).normal(size=(50, channels)).astype(np.float32)
    write_signal(tmp_path / name, values[:, 0] if channels == 1 else values, 360.0)
    found = read_signal(tmp_path / name)
    assert np.abs(found.values - values).max() < 1e-7
    assert found.names == tuple(map(str, range(channels)))


def test_a_csv_with_names(tmp_path):
    (tmp_path / "a.csv").write_text("lead, mains\n1,2\n\n3,-4e-1\n")
    found = read_signal(tmp_path / "a.csv")
    assert found.names == ("lead", "mains")
    assert found.values.tolist() == [[1, 2], [3, -0.4]]
    assert found.rate_hz is None


@pytest.mark.parametrize(
    ("name", "content", "fact"),
    [
        ("a.csv", b"", "holds no samples"),
        ("a.csv", b"x,y\n", "holds no samples"),
        ("a.csv", b"1,2\n3\n", "line 2: 2 numbers were expected, got 3"),
        ("a.csv", b"t\n1\nabc\n", "line 3: 1 numbers were expected, got abc"),
        ("a.csv", b"1\nnan\n", "sample 1 is no finite number"),
        ("a.csv", b"\xff\xfe\x00", "cannot be read as text"),
        ("a.wav", b"RIFFxxxx", "cannot be read as WAV"),
        ("a.wav", b"", "cannot be read as WAV"),
    ],
)
def test_files_that_are_none(tmp_path, name, content, fact):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=fact):
        read_signal(tmp_path / name)


def test_what_cannot_be_read_or_written(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_signal(tmp_path / "none.wav")
    with pytest.raises(DataError, match="is a folder"):
        read_signal(tmp_path)
    with pytest.raises(DataError, match="whole number of samples a second"):
        write_signal(tmp_path / "a.wav", np.zeros(3), 0.5)
