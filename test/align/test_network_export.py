from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from flowface_ros.align.half_precision import half_precision  # noqa: E402
from flowface_ros.align.network.checkpoint import save_checkpoint  # noqa: E402
from flowface_ros.align.network.config import PAPER, NetworkConfig, preset  # noqa: E402
from flowface_ros.align.network.constants import blank_constants  # noqa: E402
from flowface_ros.align.network.export import export_onnx, load_onnx  # noqa: E402
from flowface_ros.align.network.flops import network_cost, onnx_cost, total  # noqa: E402
from flowface_ros.align.network.light_network import LightNetwork  # noqa: E402
from flowface_ros.align.network.metadata import OPSET, read_metadata  # noqa: E402
from flowface_ros.align.network.networks import Network, make_network  # noqa: E402
from flowface_ros.align.onnx_session import DeviceError, OnnxSession  # noqa: E402
from flowface_ros.align.torch_runtime import TorchSession  # noqa: E402
from flowface_ros.commands import weights as command  # noqa: E402

SMALL = {"encoder": "mit_b0", "crop_px": 64, "grid": 16, "correlation_levels": 3, "iterations": 2}
CONFIGS = {
    "basic": preset("paper", **SMALL),
    "heatmap": preset("base", **SMALL),
    "upsampled": preset("base", **SMALL, upsample=2, correlation="on_the_fly"),
    "light": preset("light", grid=16),
}
TOLERANCE_PX = 1e-3


def random_network(config: NetworkConfig) -> Network:
    """Random in every weight, with positions that move by some pixels."""
    torch.manual_seed(0)
    network = make_network(config, blank_constants(config))
    if isinstance(network, LightNetwork):
        torch.nn.init.normal_(network.head.displacement.basis, std=10)
        torch.nn.init.normal_(network.head.log_sigma.basis, std=0.01)
        for parameter in network.head.parameters():
            parameter.data = parameter.data.half().float()  # as the file keeps them
        return network.eval()
    torch.nn.init.normal_(network.head.output.weight, std=0.5)
    if network.gate is not None:
        for parameter in network.gate.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def random_crops(config: NetworkConfig, batch: int) -> np.ndarray:
    side = config.crop_px
    return np.random.default_rng(batch).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=CONFIGS)
def exported(request, tmp_path_factory) -> tuple[Network, Path]:  # type: ignore[no-untyped-def]
    network = random_network(CONFIGS[request.param])
    path = tmp_path_factory.mktemp("network") / f"{request.param}.onnx"
    export_onnx(network, path, licence="CC0-1.0")
    return network, path


@pytest.mark.parametrize("batch", [1, 3])
def test_onnx_runtime_equals_torch(exported: tuple[Network, Path], batch: int) -> None:
    network, path = exported
    image = random_crops(network.config, batch)
    found = OnnxSession(path, "cpu").run(image=image)
    with torch.no_grad():
        expected = network(torch.from_numpy(image).permute(0, 3, 1, 2) / 255.0)
    moved = (expected.position_px[-1] - expected.position_px[0]).abs().mean()
    assert float(moved) > 0.1
    position, log_sigma = expected.position_px[-1], expected.log_sigma[-1]
    if expected.irises is not None:
        position = torch.cat([position, expected.irises[0]], dim=1)
        log_sigma = torch.cat([log_sigma, expected.irises[1]], dim=1)
    np.testing.assert_allclose(found["position_px"], position.numpy(), atol=TOLERANCE_PX)
    np.testing.assert_allclose(found["log_sigma"], log_sigma.numpy(), atol=1e-4)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_torch_session_equals_onnx_session(exported: tuple[Network, Path], batch: int) -> None:
    network, path = exported
    ours, theirs = TorchSession(path, "cpu"), OnnxSession(path, "cpu")
    assert ours.inputs == theirs.inputs
    assert ours.outputs == theirs.outputs
    image = random_crops(network.config, batch)
    found, expected = ours.run(image=image), theirs.run(image=image)
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_allclose(found[name], value, atol=TOLERANCE_PX)


def test_half_precision_keeps_positions(exported: tuple[Network, Path]) -> None:
    """Features in float16 may change a position by what features are worth, not by 1/8 px."""
    import onnxruntime

    network, path = exported
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(half_precision(path.read_bytes()), options)
    image = random_crops(network.config, 2)
    found, expected = (
        session.run(None, {"image": image})[0],
        OnnxSession(path, "cpu").run(image=image),
    )
    np.testing.assert_allclose(found, expected["position_px"], atol=0.06)


def test_file_describes_itself(exported: tuple[Network, Path]) -> None:
    network, path = exported
    metadata = read_metadata(path)
    assert metadata.config == network.config
    assert metadata.licence == "CC0-1.0"
    model = onnx.load(str(path))
    assert [entry.version for entry in model.opset_import] == [OPSET]
    names = {node.name for node in model.graph.node}
    assert set(metadata.float32_nodes) <= names
    assert not any("/update/" in name for name in metadata.float32_nodes)
    assert "textures" not in " ".join(array.name for array in model.graph.initializer)


def test_costs_of_file_and_module_agree(exported: tuple[Network, Path]) -> None:
    network, path = exported
    from_torch = {cost.name: cost.gflop for cost in network_cost(network) if cost.gflop}
    from_file = {cost.name: cost.gflop for cost in onnx_cost(path) if cost.gflop}
    # Torch's counter leaves out products with a vector, and the file what its answer does not need.
    loose = isinstance(network, LightNetwork)
    assert from_file == pytest.approx(from_torch, rel=5e-3 if loose else 1e-6)


def test_files_that_are_no_network_are_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"nothing")
    for reader in (read_metadata, load_onnx, onnx_cost):
        with pytest.raises(ValueError, match=r"bad\.onnx"):
            reader(bad)


def test_networks_of_unknown_types_are_named(tmp_path: Path) -> None:
    path, helper = tmp_path / "double.onnx", onnx.helper
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, ["batch", 3]) for name in "xy"
    ]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", ends[:1], ends[1:])
    opset = helper.make_opsetid("", OPSET)
    path.write_bytes(helper.make_model(graph, opset_imports=[opset]).SerializeToString())
    for reader in (onnx_cost, lambda file: OnnxSession(file, "cpu")):
        with pytest.raises(ValueError, match=r"double\.onnx: .*tensor\(double\)"):
            reader(path)


def test_damaged_weights_are_named(exported: tuple[Network, Path], tmp_path: Path) -> None:
    light = isinstance(exported[0], LightNetwork)
    lost = "project.0.weight" if light else "head.output.bias"
    model = onnx.load(str(exported[1]))
    (array,) = (array for array in model.graph.initializer if lost in array.name)
    model.graph.initializer.remove(array)
    # ONNX's own check is content with an input of the name.
    model.graph.input.append(
        onnx.helper.make_tensor_value_info(array.name, array.data_type, array.dims)
    )
    path = tmp_path / "damaged.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=rf"damaged\.onnx.*{lost}"):
        load_onnx(path)


def test_torch_session_refuses_what_it_cannot_do(exported: tuple[Network, Path]) -> None:
    _, path = exported
    with pytest.raises(DeviceError, match="cuda:99"):
        TorchSession(path, "cuda:99")
    with pytest.raises(ValueError, match="tensorrt"):
        TorchSession(path, "tensorrt:0")
    with pytest.raises(ValueError, match="fp16"):
        TorchSession(path, "cpu", "fp16")
    with pytest.raises(ValueError, match="cuda_graphs"):
        TorchSession(path, "cpu", cuda_graphs=True)
    session = TorchSession(path, "cpu")
    with pytest.raises(ValueError, match="shape"):
        session.run(image=np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="float32"):
        session.run(image=np.zeros((1, 8, 8, 3), np.float32))
    with pytest.raises(ValueError, match="picture"):
        session.run(picture=np.zeros((1, 8, 8, 3), np.uint8))


def paper_gflop_by_hand() -> dict[str, float]:
    """GFLOP of the paper preset at 2 per multiply-add, from the layers' sizes alone."""
    texels, iterations, flows, corr = 64 * 64, 12, 4, 4 * 81
    motion = corr * 256 + 9 * 256 * 192 + 49 * flows * 128 + 9 * 128 * 64
    motion += 9 * (192 + 64) * (128 - flows)
    gru = 2 * 3 * 5 * (128 + 128 + 128) * 128
    head = 9 * 128 * 256 + 9 * 256 * 3
    cells = sum((64 >> level) ** 2 for level in range(4))
    fusion = (64 * 64 * 64 + 32**2 * 128 + 16**2 * 320 + 8**2 * 512) * 128
    fusion += texels * (4 * 128 * 128 + 9 * 128 * 128)
    return {
        "update": 2e-9 * iterations * texels * (motion + gru),
        "head": 2e-9 * iterations * texels * head,
        "fusion": 2e-9 * fusion,
        "between the modules": 2e-9 * texels * cells * 128,
    }


@pytest.mark.slow
def test_paper_preset_costs_by_hand() -> None:
    costs = network_cost(make_network(PAPER, blank_constants(PAPER)))
    found = {cost.name: cost.gflop for cost in costs}
    for name, gflop in paper_gflop_by_hand().items():
        assert found[name] == pytest.approx(gflop, rel=1e-6), name
    assert total(costs).gflop == pytest.approx(302.5, abs=0.1)


def run_command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def test_command_exports_and_describes(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    network = random_network(CONFIGS["heatmap"])
    checkpoint, out, figures = tmp_path / "a.pt", tmp_path / "a.onnx", tmp_path / "a.json"
    save_checkpoint(checkpoint, network)
    run_command("export", str(checkpoint), "--out", str(out))
    run_command("info", str(checkpoint))
    run_command("info", str(out), "--json", str(figures))
    assert "flowface.atlas_hash" in capsys.readouterr().out
    written = json.loads(figures.read_text())
    assert written["flowface.licence"] == "Apache-2.0"
    assert written["modules"]["update"]["gflop"] > 0
    with pytest.raises(ValueError, match="neither a file"):
        run_command("info", "missing.onnx")


def test_runtime_modules_leave_torch_alone() -> None:
    code = """
import importlib, pkgutil, sys
import flowface_ros.align as align
for module in pkgutil.iter_modules(align.__path__, "flowface_ros.align."):
    if module.name.rsplit(".", 1)[1] not in ("torch_runtime",):
        importlib.import_module(module.name)
import flowface_ros.align.network.config, flowface_ros.align.network.constants
import flowface_ros.align.network.metadata, flowface_ros.align.network.flops
import flowface_ros.commands.weights
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
