"""The programs of `bench repair`: right versions are right, faulty ones fail a test, and the judge tells them apart."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from vortex.bench.repair.inputs import further_inputs
from vortex.bench.repair.measure import Find, RepairMeasurement
from vortex.bench.repair.programs import Program, own_programs, quixbugs, repositories
from vortex.bench.repair.strict import are_right
from vortex.errors import ModelNotFound

PROGRAMS = own_programs()


def fails(program: Program, text: str) -> bool:
    """Whether a test of the program says so. The texts are of this package, and end; those that hang are left out."""
    space: dict[str, object] = {}
    exec(compile(text, program.name, "exec"), space)
    tests = program.files["test_program.py"].partition("\n")[2]
    scope = {program.function: space[program.function]}
    exec(compile(tests, "tests", "exec"), scope)
    for name, test in list(scope.items()):
        if name.startswith("test_"):
            try:
                test()  # type: ignore[operator]  # what exec made
            except Exception:
                return True
    return False


def test_there_are_programs_of_all_kinds_with_one_fault_each() -> None:
    assert len(PROGRAMS) >= 60
    assert len({program.name for program in PROGRAMS}) == len(PROGRAMS)
    for program in PROGRAMS:
        assert ast.dump(ast.parse(program.right)) != ast.dump(ast.parse(program.files["program.py"])), program.name
        assert not fails(program, program.right), program.name


HANGS = {"digit_sum", "collatz_steps", "binary_search", "look_and_say", "spiral", "rotate"}


@pytest.mark.parametrize("program", [one for one in PROGRAMS if one.name not in HANGS], ids=lambda one: one.name)
def test_a_visible_test_fails_for_the_fault(program: Program) -> None:
    assert fails(program, program.files["program.py"])


def test_a_repository_has_one_faulty_module_among_right_ones() -> None:
    found = repositories(3)
    assert len(found) == 3
    for one in found:
        assert len([path for path in one.files if path.startswith("tests/")]) == 6
        assert one.files[one.path] != one.right


def test_further_inputs_keep_their_shape() -> None:
    calls = [[[1, 3, 5], 4], [[2], 1]]
    found = further_inputs(calls, 60, seed=1)
    assert found[:2] == calls
    assert len(found) == 60
    assert further_inputs(calls, 60, seed=1) == found
    assert all(isinstance(values, list) and isinstance(target, int) for values, target in found)
    assert all(values == sorted(values) for values, _ in found[2:20])
    assert further_inputs([], 5, seed=0) == []


@pytest.mark.long
def test_the_judge_and_the_measurement_count_what_is_right() -> None:
    program = next(one for one in PROGRAMS if one.name == "clamp")
    faulty = program.files["program.py"]
    overfit = faulty.replace("    return", "    if value == 5:\n        return 5\n    return")
    assert are_right(program, [program.right, faulty, overfit]) == [True, False, False]

    def repairer(folder: Path) -> list[Find]:
        assert (folder / "program.py").read_text() == faulty
        return [Find(overfit, -1.0, 3, "guard"), Find(program.right, 2.0, 9, "sibling")]

    figures = RepairMeasurement("x", [program], repairer).measure().figures
    assert figures["plausible"] == 1
    assert figures["right_at_first_rank"] == 1
    assert figures["first_by_size"] == 0
    assert figures["first_by_chance"] == 0.5


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no checkout"):
        quixbugs(tmp_path)
