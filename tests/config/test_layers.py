"""Settings: which layer wins, what is refused, and what a user is told."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.config.entries import read_assignments
from vortex.config.loading import LoadedSettings, SettingsSources, load_settings, packaged_profiles
from vortex.config.schema import Settings, keys_of, loosening_keys
from vortex.errors import ConfigError


class House:
    """A user's configuration folder and a working folder, both empty at first."""

    def __init__(self, root: Path) -> None:
        self.user_file = root / "user" / "settings.yaml"
        self.working_file = root / "work" / "config" / "settings.yaml"
        self.user_file.parent.mkdir(parents=True)
        self.working_file.parent.mkdir(parents=True)

    def load(self, environment: dict[str, str] | None = None, **options: object) -> LoadedSettings:
        folders = {"user_folder": self.user_file.parent, "working_folder": self.working_file.parent.parent}
        return load_settings(SettingsSources(environment=environment or {}, **folders, **options))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_the_default_profile_is_the_schema(house: House) -> None:
    loaded = house.load()
    assert loaded.settings == Settings()
    assert all(loaded.is_built_in(key) and loaded.is_profiles_own(key) for key in keys_of())
    assert packaged_profiles()["default"].entries == ()


@pytest.mark.parametrize("name", sorted(packaged_profiles()))
def test_a_profile_holds_only_what_differs(house: House, name: str) -> None:
    profile = packaged_profiles()[name]
    below = house.load(profile=profile.extends or "default")
    assert [entry for entry in profile.entries if below.value(entry.key) == entry.value] == []


@pytest.mark.parametrize("profile", sorted(packaged_profiles()))
def test_every_packaged_profile_loads(house: House, profile: str) -> None:
    assert house.load(profile=profile).profile == profile


def test_each_layer_overrides_the_one_below_and_is_named(house: House) -> None:
    def top_k(**options: object) -> tuple[object, str]:
        loaded = house.load(**options)
        return loaded.settings.decode.top_k, loaded.origins["decode.top_k"]

    assert top_k() == (0, "built in")
    house.user_file.write_text("decode:\n  top_k: 1\n")
    assert top_k() == (1, f"{house.user_file}:2")
    house.working_file.write_text("# a comment\ndecode: {top_k: 2}\nprofiles:\n  fast:\n    decode:\n      top_k: 3\n")
    assert top_k() == (2, "config/settings.yaml:2")
    assert top_k(profile="fast") == (3, "config/settings.yaml:6")
    environment = {"VORTEX__DECODE__TOP_K": "4"}
    assert top_k(environment=environment) == (4, "VORTEX__DECODE__TOP_K")
    assert top_k(environment=environment, assignments=["decode.top_k=5"]) == (5, "--set")
    flags = {"decode.top_k": 6, "decode.top_p": None}
    assert top_k(environment=environment, assignments=["decode.top_k=5"], flags=flags) == (6, "command line")


def test_a_profile_may_extend_another_and_the_files_may_add_to_it(house: House) -> None:
    house.user_file.write_text(
        "profiles:\n  mine:\n    extends: rtx4080_16gb\n    decode: {top_k: 7}\n"
        "  rtx4080_16gb:\n    decode: {min_p: 0.5, top_k: 9}\n"
    )
    settings = house.load(profile="mine").settings
    assert (settings.model.name, settings.decode.top_k, settings.decode.min_p) == ("Qwen/Qwen3-4B", 7, 0.5)


def test_the_profile_comes_from_flag_then_environment_then_the_users_file(house: House) -> None:
    house.user_file.write_text("profile: rtx4080_16gb\n")
    assert house.load().profile == "rtx4080_16gb"
    assert house.load(environment={"VORTEX_PROFILE": "rtx4080_16gb_safe"}).profile == "rtx4080_16gb_safe"
    assert house.load(environment={"VORTEX_PROFILE": "rtx4080_16gb_safe"}, profile="default").profile == "default"


def test_names_the_seeds_fix_are_read(house: House) -> None:
    loaded = house.load(environment={"KLIMEAI_API_TOKEN": "123e4", "C3RNT2_NO_NET": "1"})
    assert loaded.settings.server.api_token == "123e4"
    assert loaded.settings.runtime.offline is True
    assert "123e4" not in str(loaded.shown("server.api_token"))
    assert "123e4" not in repr(loaded.settings)


# --- trust -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", sorted(loosening_keys()))
def test_the_working_folder_cannot_loosen_security(house: House, key: str) -> None:
    nested = "[{name: x, command: [x]}]" if key == "tools.mcp" else "'1'"
    default: object = Settings().model_dump()
    for name in key.split("."):
        assert isinstance(default, dict)
        default = default[name]
    for name in reversed(key.split(".")):
        nested = f"{{{name}: {nested}}}"
    house.working_file.write_text(f"{nested[1:-1]}\nprofiles: {{p: {nested}}}\n")
    loaded = house.load(profile="p")
    assert loaded.value(key) == default
    assert [entry.key for entry in loaded.ignored] == [key, key]
    house.user_file.write_text(f"{nested[1:-1]}\n")
    assert loaded.value(key) != house.load(profile="p").value(key), "the user's own file may"


def test_the_working_folder_can_neither_choose_a_profile_nor_borrow_a_loose_one(house: House) -> None:
    house.user_file.write_text("profiles: {open: {server: {host: 0.0.0.0, port: 1}}}\n")
    house.working_file.write_text("profile: open\nprofiles: {dev: {extends: open}}\n")
    assert house.load().profile == "default"
    borrowed = house.load(profile="dev")
    assert (borrowed.settings.server.host, borrowed.settings.server.port) == ("127.0.0.1", 1)
    assert [entry.key for entry in borrowed.ignored] == ["server.host", "profile"]
    assert house.load(profile="open").settings.server.host == "0.0.0.0"


# --- what a user is told ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("decode:\n  top_q: 1\n", "config/settings.yaml:2: unknown key 'decode.top_q' (did you mean 'top_"),
        ("\n\nserve: {port: 1}\n", "config/settings.yaml:3: unknown key 'serve' (did you mean 'server'?)"),
        ("decode: 3\n", "config/settings.yaml:1: 'decode' is a section"),
        ("decode: {top_k: {x: 1}}\n", "config/settings.yaml:1: 'decode.top_k' is a setting"),
        ("decode: {top_k: -1}\n", "config/settings.yaml:1: decode.top_k: input should be greater than"),
        (
            "runtime:\n  device: gpu\n",
            "config/settings.yaml:2: runtime.device: input should be 'auto', 'cpu' or 'cuda'",
        ),
        ("decode: [1]\n", "config/settings.yaml:1: 'decode' is a section"),
        ("decode: {top_k: 1\n", "config/settings.yaml:2: not valid YAML"),
        ("decode:\n  top_k: 1\n  top_k: 2\n", "config/settings.yaml:3: 'top_k' is given twice"),
        ("- 1\n", "config/settings.yaml:1: expected `key: value` lines"),
        ("decode: !!python/object/apply:os.getcwd []\n", "config/settings.yaml:1: 'decode' is a section"),
        ("decode: {top_k: !!python/name:os.system x}\n", "config/settings.yaml:1: cannot read this value"),
        ("profiles: {a: {extends: b}, b: {extends: a}}\n", "extends itself (a -> b -> a)"),
        ("profiles: {a: {extends: defualt}}\n", "(did you mean 'default'?)"),
    ],
)
def test_a_mistake_names_file_line_and_choices(house: House, text: str, expected: str) -> None:
    house.working_file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        house.load(profile="a" if "profiles" in text else None)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_files_and_sections_say_nothing(house: House) -> None:
    house.user_file.write_text("# nothing yet\n")
    house.working_file.write_text("decode:\n  # top_k: 3\nprofiles:\nmodel: {}\n")
    assert house.load().settings == Settings()


def test_a_setting_that_is_gone_is_told_and_changes_nothing(house: House) -> None:
    house.working_file.write_text("bad:\n  max_block: 8\n  adjacency: true\n")
    loaded = house.load(environment={"VORTEX__BAD__ADJACENCY": "1"})
    assert loaded.settings.bad.max_block == 8
    assert [entry.origin for entry in loaded.retired] == ["config/settings.yaml:3", "VORTEX__BAD__ADJACENCY"]


def test_an_unknown_profile_lists_the_known_ones(house: House) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'rtx4080_16gb'\?.*default, .*rtx4080_16gb"):
        house.load(profile="rtx4080")


def test_an_unknown_variable_is_an_error_too(house: House) -> None:
    with pytest.raises(ConfigError, match="VORTEX__DECODE__TEMP: unknown key"):
        house.load(environment={"VORTEX__DECODE__TEMP": "1"})


def test_bytes_that_are_not_text_are_refused(house: House) -> None:
    house.working_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        house.load()


@given(st.text(max_size=30))
def test_any_assignment_is_read_or_refused_in_one_line(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert read_assignments([text])[0].key in keys_of()
    with contextlib.suppress(ConfigError):
        assert read_assignments([f"decode.top_k={text}"])[0].key == "decode.top_k"
