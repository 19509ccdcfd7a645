"""Format 212 by hand, record 100 against its own header, and files that are damaged."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from recurra.base.errors import DataError
from recurra.data.sets.ecg_mitdb import record, unpacked_212


def packed(samples: np.ndarray) -> bytes:
    """Pairs of 12 bits, written bit by bit from the format's description."""
    raw = bytearray()
    for first, second in samples.reshape(-1, 2) & 0xFFF:
        raw += bytes([first & 0xFF, (second >> 8) << 4 | first >> 8, second & 0xFF])
    return bytes(raw)


def test_packed_is_unpacked():
    samples = np.random.default_rng(0).integers(-2048, 2048, size=1000)
    assert np.array_equal(unpacked_212(packed(samples)), samples)
    assert unpacked_212(packed(np.array([-2048, 2047]))).tolist() == [-2048, 2047]


@pytest.fixture(scope="module")
def folder(data_dir):
    if not (data_dir / "ecg_mitdb" / "100.hea").exists():
        pytest.skip("no ECG records")
    return data_dir / "ecg_mitdb"


def test_record_100(folder):
    found = record(folder)
    assert found.signals.shape == (650_000, 2)
    assert (found.rate_hz, found.leads) == (360.0, ("MLII", "V5"))
    # The first samples are 995 and 1011, zero is 1024, 200 units are a millivolt.
    assert found.signals[0].tolist() == [(995 - 1024) / 200, (1011 - 1024) / 200]
    # 2273 beats in half an hour; their peaks stand above 0.5 mV in MLII.
    high = found.signals[:, 0] > 0.5
    beats = (high[1:] & ~high[:-1]).sum()
    assert abs(beats - 2273) < 30


def test_what_is_damaged_is_named(folder, tmp_path):
    for name in ("100.hea", "100.dat"):
        shutil.copyfile(folder / name, tmp_path / name)
    data = bytearray((tmp_path / "100.dat").read_bytes())
    (tmp_path / "100.dat").write_bytes(data[:-3000])
    with pytest.raises(DataError, match="649000 samples a channel, the header says 650000"):
        record(tmp_path)
    data[5000] ^= 1
    (tmp_path / "100.dat").write_bytes(data)
    with pytest.raises(DataError, match="channel 1 begins with 1011 and sums to 20051; the header says 1011 and 20052"):
        record(tmp_path)
    (tmp_path / "100.hea").write_text("100 2\n")
    with pytest.raises(DataError, match="no header of a record in format 212"):
        record(tmp_path)
    (tmp_path / "100.hea").write_text("100 1 360 10\n100.dat 16 200 11 1024 995 -22131 0 MLII\n")
    with pytest.raises(DataError, match="no header of a record in format 212"):
        record(tmp_path)
    with pytest.raises(DataError, match="could not be read"):
        record(tmp_path, "101")
