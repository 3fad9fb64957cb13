import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsengine.base import tables
from hsengine.base.errors import UserError

SOUND = "id,group\na,1\nb,2\n"


def table(tmp_path, content):
    path = tmp_path / "groups.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        SOUND,
        SOUND.replace("\n", "\r\n"),
        "\ufeff" + SOUND,
        SOUND + "\n\n",
        "id, group\n a ,1\nb, 2",
        '"id","group"\na,1\nb,2',
    ],
)
def test_a_table_is_read_however_a_program_saved_it(tmp_path, content):
    assert tables.read(table(tmp_path, content), ("id", "group")) == [
        {"id": "a", "group": "1"},
        {"id": "b", "group": "2"},
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,group\na,1,\nb,2,\n", "line 2: 3 fields where the first line names 2 columns; there is a comma too many"),
        ("id,group\na,1\nb\n", "line 3: 1 fields"),
        ("# made by hand\nid,group\na,1\n", "begins with a comment"),
        ("id,group\n# the first\na,1\n", "line 2, is a comment"),
        ("id;group\na;1\n", "semicolons"),
        ("id\tgroup\na\t1\n", "tabs"),
        ("name,group\na,1\n", "has the columns name, group, but id is needed"),
        ("a,1\nb,2\n", "but id and group are needed"),
        ("", "is empty"),
        ("id,group,id\na,1,a\n", "two columns id"),
        (SOUND.encode("utf-16"), "not UTF-8|zero bytes"),
        ("id,group\nGr\xfcn,1\n".encode("latin-1"), "not UTF-8 text"),
        ('id,group\n"a,1\n', "cannot be read as CSV"),
        (b"id,group\na\0,1\n", "zero bytes"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, content, said):
    path = table(tmp_path, content)
    with pytest.raises(UserError, match=said):
        tables.read(path, ("id", "group"))
    before = path.read_bytes()
    with pytest.raises(UserError, match=said):
        tables.append(path, [{"id": "c", "group": "3"}])
    assert path.read_bytes() == before


def test_a_link_to_nothing_is_named(tmp_path):
    path = tmp_path / "groups.csv"
    path.symlink_to("elsewhere.csv")
    for action in (lambda: tables.read(path, ("id",)), lambda: tables.append(path, [{"id": "a"}])):
        with pytest.raises(UserError, match=r"is a link to elsewhere\.csv, which is missing"):
            action()


@pytest.mark.parametrize("content", [SOUND, SOUND.rstrip(), SOUND.replace("\n", "\r\n"), "group,note,id\n1,x,a\n"])
def test_appending_keeps_what_is_there(tmp_path, content):
    path = table(tmp_path, content)
    before = tables.read(path, ("id", "group"))
    tables.append(path, [{"id": "c", "group": "x, y"}])
    assert path.read_bytes().startswith(content.encode())
    *first, last = tables.read(path, ("id", "group"))
    assert first == before
    assert (last["id"], last["group"]) == ("c", "x, y")


def test_a_missing_table_is_made(tmp_path):
    tables.append(tmp_path / "groups.csv", [{"id": "a", "group": "1"}])
    assert (tmp_path / "groups.csv").read_text() == "id,group\na,1\n"


@given(content=st.binary(max_size=60) | st.text('id,group;\n#"\0 a', max_size=60).map(str.encode))
def test_any_file_is_read_or_refused_in_words(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    path.write_bytes(content)
    try:
        rows = tables.read(path, ("id", "group"))
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert all({"id", "group"} <= set(row) for row in rows)
