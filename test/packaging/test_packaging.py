# SPDX-License-Identifier: Apache-2.0
"""Packaging: the manifests agree, and the wheel is complete and needs no ROS."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import pytest

import seqpose_core

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("seqpose_core", "seqpose_ros", "train")
# Modules of a ROS 2 distribution; their packages on PyPI have other names or do not exist.
ROS_MODULES = {
    *("action_msgs", "moveit_msgs", "object_recognition_msgs", "shape_msgs"),
    *("builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "lifecycle_msgs", "rcl_interfaces", "rclpy"),
    *("rosgraph_msgs", "sensor_msgs", "std_msgs", "std_srvs", "tf2_msgs", "tf2_ros", "vision_msgs"),
    *("visualization_msgs", "cv_bridge", "launch", "launch_ros", "ament_index_python"),
}
DISTRIBUTIONS = {  # by module, where the names differ
    "backports": "backports.zstd",
    "cv2": "opencv-python-headless",
    "yaml": "PyYAML",
}
NEWER_STDLIB = {"compression"}  # of Python 3.14


def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def sources(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


def imported_modules(*folders: str) -> dict[str, Path]:
    """Top-level modules that files import, with a file that does."""
    found: dict[str, Path] = {}
    for file in sources(*folders):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0]: file for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found[node.module.split(".")[0]] = file
    return found


def third_party(*folders: str) -> dict[str, Path]:
    own = {*PACKAGES, "tools", *(file.stem for file in (ROOT / "test").rglob("*.py"))}
    imported = imported_modules(*folders)
    return {name: file for name, file in imported.items() if name not in sys.stdlib_module_names | NEWER_STDLIB | own}


def requirements() -> dict[str, set[str]]:
    """Distributions that pyproject.toml requires, by extra; "" has those that are always installed."""
    found: dict[str, set[str]] = {}
    for line in metadata.requires("seqpose") or []:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r'extra == "(\w+)"', line)
        assert name
        if name[0] != "seqpose":  # an extra that includes another one
            found.setdefault(extra[1] if extra else "", set()).add(normalized(name[0]))
    return found


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def distribution_of(module: str) -> str:
    return normalized(DISTRIBUTIONS.get(module, module))


def test_all_manifests_have_the_same_version() -> None:
    stated = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert stated
    assert {stated[1], manifest().findtext("version"), seqpose_core.__version__} == {stated[1]}


def test_package_xml_lists_every_imported_ros_package() -> None:
    declared = {element.text for element in manifest() if element.tag.endswith("depend")}
    declared |= {"tf2_ros"} if "tf2_ros_py" in declared else set()  # the package's module has another name
    optional = {"cv_bridge"}  # used if a distribution has it
    used = {name for name in third_party("seqpose_ros", "launch") if name in ROS_MODULES}
    assert used - optional <= declared


def test_the_core_imports_neither_ros_nor_a_training_framework() -> None:
    modules = third_party("seqpose_core")
    assert not modules.keys() & (ROS_MODULES | {"lightning", "pytorch_lightning", "moderngl", "seqpose_ros"})
    assert not imported_modules("seqpose_core").keys() & {"seqpose_ros", "train"}


@pytest.mark.parametrize(
    ("folders", "extras"),
    [
        (("seqpose_core",), ("", "report", "openvino", "int8", "onnx")),
        (("seqpose_ros",), ("", "ros", "view")),
        (("train",), ("", "report", "train", "sim")),
        (("test",), ("", "report", "ros", "train", "dev")),
    ],
)
def test_every_imported_module_is_declared(folders: tuple[str, ...], extras: tuple[str, ...]) -> None:
    declared = set().union(*(requirements()[extra] for extra in extras))
    undeclared = {
        module: str(file.relative_to(ROOT))
        for module, file in third_party(*folders).items()
        if module not in ROS_MODULES and distribution_of(module) not in declared
    }
    assert not undeclared


def test_every_declared_package_is_pinned_in_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {normalized(line.split("==")[0]) for line in lines if "==" in line}
    assert set().union(*requirements().values()) <= pinned


def test_pre_commit_and_constraints_have_the_same_version_of_ruff() -> None:
    hooks = re.search(r"ruff-pre-commit\n\s+rev: v([\d.]+)", (ROOT / ".pre-commit-config.yaml").read_text())
    pinned = re.search(r"^ruff==([\d.]+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert hooks and pinned
    assert hooks[1] == pinned[1]


def test_every_source_file_states_its_licence() -> None:
    files = [*sources(*PACKAGES, "test", "launch", "tools", "overlay"), ROOT / "setup.py"]
    files += [*ROOT.glob("msg/*.msg"), *ROOT.glob("srv/*.srv"), *ROOT.glob("overlay/**/msg/*.msg")]
    files += [ROOT / "CMakeLists.txt"]
    licence = "SPDX-License-Identifier: Apache-2.0"
    texts = {str(file): file.read_text(encoding="utf-8") for file in files}
    assert [name for name, text in texts.items() if text and licence not in text[:200]] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel that `pip install .` would install, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    copy_sources(copy)
    subprocess.run([*command, "--wheel-dir", str(folder), str(copy)], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        yield archive


def copy_sources(destination: Path) -> None:
    from shutil import copytree, ignore_patterns

    for name in ("setup.py", "pyproject.toml", "LICENSE", "README.md"):
        (destination / name).parent.mkdir(exist_ok=True)
        (destination / name).write_bytes((ROOT / name).read_bytes())
    for package in PACKAGES:
        copytree(ROOT / package, destination / package, ignore=ignore_patterns("__pycache__"))


def test_the_wheel_contains_only_seqpose_core_with_checkpoints_and_samples(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {str(file.relative_to(ROOT)) for file in sources("seqpose_core")} | {"seqpose_core/py.typed"}
    for folder in ("seqpose_core/checkpoints", "seqpose_core/sample_frames"):
        expected |= {str(file.relative_to(ROOT)) for file in (ROOT / folder).rglob("*") if file.is_file()}
    assert {".safetensors", ".jpg"} <= {Path(name).suffix for name in expected}
    assert expected <= names
    assert {name.split("/")[0] for name in names} == {"seqpose_core"}


def test_the_wheel_requires_ros_packages_only_as_an_extra(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    always = [
        line
        for line in wheel.read(name).decode().splitlines()
        if line.startswith("Requires-Dist:") and "extra ==" not in line
    ]
    assert always
    assert not [line for line in always if "ros" in line.split()[1]]


def test_the_core_runs_from_the_wheel_without_ros(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    # As on a machine without ROS and without the checkout.
    program = f"""
import sys
class NoRos:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ROS_MODULES!r}:
            raise ModuleNotFoundError("no " + name)
sys.meta_path.insert(0, NoRos())
sys.path.insert(0, {str(tmp_path)!r})
import seqpose_core
assert seqpose_core.__file__.startswith({str(tmp_path)!r}), seqpose_core.__file__
from seqpose_core.samples import sample_frames
estimator = seqpose_core.PoseEstimator.from_pretrained("seqpose-lite2")
assert any(estimator.step(*frame) for frame in sample_frames())
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


def test_the_executables_of_the_ros_package_import_a_main_function(tmp_path: Path) -> None:
    program = ""
    for name in ("seqpose_node", "evaluate_bag", "grasp_node"):
        script = ROOT / "scripts" / name
        assert script.stat().st_mode & 0o111
        module = re.search(r"from (seqpose_ros[\w.]+) import main", script.read_text())
        assert module
        program += f"import {module[1]} as module; assert callable(module.main), module\n"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


def test_the_checkout_and_the_generated_messages_are_one_package(tmp_path: Path) -> None:
    program = "import seqpose_ros.msg, seqpose_ros; print(*seqpose_ros.__path__, sep='\\n')"
    run = [sys.executable, "-c", program]
    for folder in (ROOT, tmp_path):
        paths = subprocess.run(run, check=True, capture_output=True, text=True, cwd=folder).stdout.split()
        assert {str(ROOT / "seqpose_ros"), sysconfig.get_path("purelib") + "/seqpose_ros"} <= set(paths)


@pytest.mark.slow
def test_a_plain_colcon_build_installs_the_complete_package(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / "tools" / "colcon_workspace.py"), str(tmp_path)], check=True)
