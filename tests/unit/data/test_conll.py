"""Sequences in columns: what comes out of every format, what is written back, and what is wrong with a file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from recurra.base.errors import DataError
from recurra.data.conll import Sentence, read_conll, tagged_text, write_conll
from recurra.data.spans import scheme_of

CONLL2000 = "He PRP B-NP\nreckons VBZ B-VP\n\n# # B-NP\n1.8 CD I-NP\n. . O\n\n"
CONLL2003 = (
    "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\n"
    "Bonn NNP I-NP I-LOC\n-DOCSTART- -X- O O\nUN NNP I-NP I-ORG\n"
)
CONLLU = """\
# newdoc id = a
# sent_id = a-1
# text = Vámonos al mar
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\t_\tMood=Imp\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
2.1\tquiero\tquerer\tVERB\t_\t_\t_\t_\t0:root\t_

# sent_id = a-2
# text = 10 000 #
1\t10 000\t10 000\tNUM\t_\t_\t0\troot\t_\t_
2\t#\t#\tSYM\t_\t_\t1\tdep\t_\t_

"""
PROTEIN = "# Test set for secondary structure\n# by Qian\n\n<>\nG _\nV h\n<end>\n<>\nA e\nend\n\n"


@pytest.fixture
def file(tmp_path: Path):
    def write(content: str | bytes, name: str = "data.txt") -> Path:
        path = tmp_path / name
        content = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


def text_of(sentences: list[Sentence]) -> str:
    return "".join(row.text + row.ending for sentence in sentences for row in sentence.rows)


def pairs(sentences: list[Sentence]) -> list[list[tuple[str, str]]]:
    return [list(zip(sentence.tokens, sentence.labels, strict=True)) for sentence in sentences]


def test_columns_between_blanks(file):
    sentences = read_conll(file(CONLL2000))
    assert pairs(sentences) == [[("He", "B-NP"), ("reckons", "B-VP")], [("#", "B-NP"), ("1.8", "I-NP"), (".", "O")]]
    assert sentences[0].lines == ("He PRP B-NP", "reckons VBZ B-VP")
    assert read_conll(file(CONLL2000, "data.gz")) == sentences
    assert read_conll(file(CONLL2000), 1, 0)[0].tokens == ("PRP", "VBZ")
    assert read_conll(file(CONLL2000), "-3", "-2")[0].labels == ("PRP", "VBZ")
    assert read_conll(file("the  DT B \n\ndog NN \tI"))[1] == (("dog",), ("I",), (("dog NN \tI", "", "token"),))


def test_the_start_of_a_document_is_no_token_and_ends_a_sequence(file):
    sentences = read_conll(file(CONLL2003))
    assert pairs(sentences) == [[("EU", "I-ORG"), ("rejects", "O")], [("Bonn", "I-LOC")], [("UN", "I-ORG")]]
    assert scheme_of(sentence.labels for sentence in sentences) == "IOB1"


@pytest.mark.parametrize(("token", "label"), [(1, 3), ("FORM", "UPOS"), ("form", "-7"), ("1", "upos")])
def test_conllu(file, token, label):
    sentences = read_conll(file(CONLLU), token, label)
    assert pairs(sentences) == [[("Vamos", "VERB"), ("nos", "PRON")], [("10 000", "NUM"), ("#", "SYM")]]


def test_conllu_plus(file):
    content = "# global.columns = ID FORM BIO\n# sent_id = 1\n1\tSan\tB-LOC\n2-3\tdel\t_\n2\tde\tI-LOC\n3\tel\tI-LOC\n"
    assert pairs(read_conll(file(content), "FORM", "BIO")) == [[("San", "B-LOC"), ("de", "I-LOC"), ("el", "I-LOC")]]


def test_ids_without_the_columns_of_conllu(file):
    content = "# sent_id = 1\n1\tFrom\tADP\n1.1\tx\tX\n2\t3-2\tNUM\n"
    assert pairs(read_conll(file(content), 1, 2)) == [[("From", "ADP"), ("3-2", "NUM")]]
    # Where the first column is the token, or no IDs, nothing is left out.
    assert read_conll(file("1 NUM\n1-2 NUM\n1.5 NUM\n"))[0].tokens == ("1", "1-2", "1.5")
    assert read_conll(file("a 1-2 NUM\n1-2 x NUM\n"), 1)[0].tokens == ("1-2", "x")


@pytest.mark.parametrize("header", [False, True])
def test_a_line_of_names(file, header):
    content = "word\tpos\ttag\n\nNew York\tNNP\tLOC\n# x\tSYM\tO\n"
    sentences = read_conll(file(content), "word", "tag", header=header)
    assert pairs(sentences) == [[("New York", "LOC"), ("# x", "O")]]
    assert read_conll(file(content), "0", "2", header=True) == sentences
    # Also of a file to be tagged.
    assert read_conll(file("word\nNew\nYork\n"), "word", "tag", labelled=False)[0].tokens == ("New", "York")


def test_separators_and_comments_of_the_protein_file(file):
    sentences = read_conll(file(PROTEIN), separators=("<>", "end", "<end>"))
    assert pairs(sentences) == [[("G", "_"), ("V", "h")], [("A", "e")]]


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        ("The\ndog\n\nruns", [("The", "dog"), ("runs",)]),
        ("#\n#tag\n# a comment is not at the start alone", [("#", "#tag", "#")]),
        ("# a comment\nThe\n", [("The",)]),
        # Blanks of Unicode and line ends that are none for the file belong to the token.
        ("8\u00a01/2\na\u2028b\n\u3000\n", [("8\u00a01/2", "a\u2028b", "\u3000")]),
        ("\ufeffThe\r\ndog\r\n \t \r\nruns\r\n", [("The", "dog"), ("runs",)]),
        ("e\u0301\n\u00e9\n", [("e\u0301", "\u00e9")]),
    ],
)
def test_tokens_without_labels_come_out_as_written(file, content, tokens):
    sentences = read_conll(file(content), labelled=False)
    assert [sentence.tokens for sentence in sentences] == tokens
    assert {sentence.labels for sentence in sentences} == {()}


FILES = {
    "conll2000": (CONLL2000, {}),
    "conll2003": (CONLL2003, {}),
    "conllu": (CONLLU, {"token": 1, "label": 3}),
    "protein": (PROTEIN, {"separators": ("<>", "end", "<end>")}),
    "crlf": ("a X\r\n\r\n\r\nb Y\r\n", {}),
    "no last line end": ("\n\na X\n  \nb Y", {}),
    "comments": ("# one two three\na X\n\n# sent_id = 2\nb Y\n\n# at the end\n", {}),
}


@pytest.mark.parametrize("name", FILES)
def test_rows_are_the_file(file, name):
    content, options = FILES[name]
    assert text_of(read_conll(file(content), **options)) == content
    options = {key: value for key, value in options.items() if key != "label"}
    assert text_of(read_conll(file(content), labelled=False, **options)) == content


def test_labels_are_added_as_a_last_column(file, tmp_path):
    path = tmp_path / "out.txt"
    write_conll(path, read_conll(file(CONLL2003)), [["A", "B"], ["C"], ["D"]])
    assert path.read_text() == (
        "-DOCSTART- -X- O O O\n\nEU NNP I-NP I-ORG A\nrejects VBZ I-VP O B\n\n"
        "Bonn NNP I-NP I-LOC C\n-DOCSTART- -X- O O O\nUN NNP I-NP I-ORG D\n"
    )
    # What was written is read again, the reference now the last column but one.
    assert pairs(read_conll(path, 0, -2)) == pairs(read_conll(file(CONLL2003)))
    assert read_conll(path)[0].labels == ("A", "B")

    sentences = read_conll(file(CONLLU), "FORM", labelled=False)
    write_conll(path, sentences, [["V", "P"], ["N", "S"]])
    lines = path.read_text().splitlines()
    assert [line.split("\t")[-1] for line in lines[3:7]] == ["_", "V", "P", "_"]
    assert (lines[:3], lines[7:10]) == (CONLLU.splitlines()[:3], CONLLU.splitlines()[7:10])
    assert pairs(read_conll(path, 1, -1)) == [[("Vamos", "V"), ("nos", "P")], [("10 000", "N"), ("#", "S")]]


def test_names_of_columns_get_one_more(file):
    plus = read_conll(file("# global.columns = ID FORM\n1\tSan\n"), "FORM", labelled=False)
    assert tagged_text(plus[0], ["LOC"], "BIO") == "# global.columns = ID FORM BIO\n1\tSan\tLOC\n"
    header = read_conll(file("word,x\tpos\r\nSan\tNNP\r\n"), "pos", labelled=False)
    assert tagged_text(header[0], ["LOC"]) == "word,x\tpos\tPREDICTED\r\nSan\tNNP\tLOC\r\n"


def test_a_sentence_of_no_file():
    sentence = Sentence(("New", "York"))
    assert sentence.lines == ("New", "York")
    assert tagged_text(sentence, ["B", "I"]) == "New B\nYork I\n\n"
    with pytest.raises(DataError, match="1 labels for 2 tokens"):
        tagged_text(sentence, ["B"])


@pytest.mark.parametrize(
    ("content", "options", "fact"),
    [
        ("", {}, "data.txt: has no token"),
        ("\n \n\t\n", {}, "data.txt: has no token"),
        ("# sent_id = 1\n", {}, "data.txt: has no token"),
        ("-DOCSTART- -X- O\n\n", {}, "data.txt: has no token"),
        ("word tag\n", {"token": "word", "label": "tag"}, "data.txt: has no token"),
        ("a X\n\nb\n", {}, "data.txt:3: has 1 column, column 1 was requested"),
        ("a X\nNew York X\n", {}, "data.txt:2: has 3 columns, the first token has 2"),
        ("a\tX\nb X\n", {}, "data.txt:2: has 1 column, column 1 was requested"),
        ("a\nb\n", {}, "data.txt: the token and its label are both in column 0 of 1"),
        ("a\nb\n", {"label": 1}, "data.txt: has 1 column, column 1 was requested"),
        ("a X\n", {"label": "-3"}, "data.txt: has 2 columns, column -3 was requested"),
        ("a X\n", {"token": 7, "labelled": False}, "data.txt: has 2 columns, column 7 was requested"),
        ("a X\n", {"label": "ner"}, "data.txt: its columns have no names, but 'ner' was requested"),
        ("word pos\na X\n", {"token": "word", "label": "ner"}, "data.txt: there is no column 'ner'"),
        (CONLLU, {"token": "FROM"}, "data.txt: there is no column 'FROM'.\n  Columns: ID, FORM, LEMMA, "),
        ("a\tX\nb\t\n", {}, "data.txt:2: has an empty cell: 'b\\t'"),
        ("a X\n# comment inside\n", {}, "data.txt:2: has 3 columns, the first token has 2"),
        (b"a X\nb\0c X\n", {}, "data.txt:2: has a null character; the file is not text"),
        (b"a X\n\nb\xe4r X\n", {}, "data.txt:3: is not UTF-8 at byte offset 6: e4 72 20 58"),
        ("a X\n".encode("utf-16"), {}, "data.txt:1: is not UTF-8 at byte offset 0: ff fe 61 00"),
        (gzip.compress(b"a X\n", mtime=0), {}, "rename it to data.txt.gz"),
        (bytes(range(128, 256)) * 9, {}, "data.txt:1: is not UTF-8 at byte offset 0: 80 81 82 83"),
    ],
)
def test_what_is_wrong_with_a_file(file, content, options, fact):
    with pytest.raises(DataError) as error:
        read_conll(file(content), **options)
    assert fact in str(error.value)


def test_files_that_cannot_be_read(file, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_conll(tmp_path / "missing.txt")
    with pytest.raises(DataError, match="is a folder"):
        read_conll(tmp_path)
    path = file("a X\n" * 1000, "data.gz")
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match="damaged gzip file"):
        read_conll(path)


def test_more_columns_are_allowed_where_columns_are_counted_from_the_start(file):
    sentences = read_conll(file("1 buy VB\n2 it PRP A1 A2\n"), 1, 2)
    assert pairs(sentences) == [[("buy", "VB"), ("it", "PRP")]]
