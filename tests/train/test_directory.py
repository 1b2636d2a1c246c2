import pytest

from minires.errors import CheckpointError, SettingsError
from minires.train.directory import contents, last_of, locked_directory, network_of, partial_files


def test_a_directory_is_made_and_removed_again_if_nothing_was_saved(tmp_path):
    with locked_directory(tmp_path / "a" / "b"):
        assert contents(tmp_path / "a" / "b") == set()
    assert not any(tmp_path.iterdir())


def test_what_was_saved_and_what_was_there_stays(tmp_path):
    with locked_directory(tmp_path / "run"):
        (tmp_path / "run" / "last.safetensors").touch()
    assert contents(tmp_path / "run") == {"last.safetensors"}
    (tmp_path / "empty").mkdir()
    with locked_directory(tmp_path / "empty"):
        pass
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["empty", "run", "last.safetensors"]


def test_a_claim_ends_with_an_error_too(tmp_path):
    def fail():
        with locked_directory(tmp_path / "run"):
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fail()
    assert not any(tmp_path.iterdir())


def test_a_second_claim_and_a_directory_that_cannot_be_made_are_errors_that_say_what_to_do(tmp_path):
    with (
        locked_directory(tmp_path / "run"),
        pytest.raises(SettingsError, match=r"run is in use: process \d+ on .* wait for its end, or choose another"),
        locked_directory(tmp_path / "run"),
    ):
        pass
    (tmp_path / "file").touch()
    message = r"cannot write in .*run: Not a directory; choose another directory \(`out`\)"
    with pytest.raises(SettingsError, match=message), locked_directory(tmp_path / "file" / "run"):
        pass


def test_what_a_killed_run_left_counts_for_nothing(tmp_path):
    for name in (".lock", ".last.safetensors.0123abcd.partial", ".test.json.0123abcd.partial"):
        (tmp_path / name).touch()
    assert contents(tmp_path) == set()
    assert len(partial_files(tmp_path)) == 2
    assert contents(tmp_path / "nowhere") == set()


def test_the_files_of_a_run_are_found_from_its_directory_or_named(tmp_path):
    for path in ("last.safetensors", "best.safetensors"):
        (tmp_path / path).touch()
    assert last_of(tmp_path) == last_of(tmp_path / "last.safetensors") == tmp_path / "last.safetensors"
    assert network_of(str(tmp_path)) == tmp_path / "best.safetensors"
    assert network_of(tmp_path / "last.safetensors") == tmp_path / "last.safetensors"


def test_a_missing_network_is_an_error_that_says_why(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere is missing; expected a run's directory"):
        network_of(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="there is no run in "):
        network_of(tmp_path)
    (tmp_path / "last.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"not finished its first epoch: .* as last saved is .*last\.safetensors"):
        network_of(tmp_path)
