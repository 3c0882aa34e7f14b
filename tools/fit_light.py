"""Fits the light network on drawn pictures and, if given, path-traced ones and photographs; writes
its ONNX file.

    python tools/fit_light.py --batches 400 --photographs FOLDER --looks FOLDER --out light.onnx

Drawing takes some 0.15 s a picture and core. Each is looked at twice, by two bad cameras, once
mirrored in another crop. In two batches of five each scene is drawn at two
moments. What is seen, 0.15 MB a look, is kept in the folder of looks, so a run goes on where it was
stopped; so does the fit, some 10 ms a look and core. Several runs with `--only-draw`, each with its
own `--first`, may share the drawing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from look_gatherer import BATCH, Gatherer
from tqdm import tqdm

from flowface_ros.align.network.checkpoint import save_checkpoint
from flowface_ros.align.network.config import preset
from flowface_ros.align.network.export import export_onnx, load_onnx
from flowface_ros.align.network.head_constants import head_constants
from flowface_ros.align.network.light_network import LightNetwork
from flowface_ros.align.network.networks import new_network
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.train.light_fit import RATE, calibrate_light, fit
from flowface_ros.train.looks import KeptLooks, joined
from flowface_ros.train.verify import photographs

_KEPT_EVERY = 15
"""Batches whose number this divides, of which none is a hard one, are kept for sigma's calibration;
their first looks, in crops as they come, serve it."""


def begin(model: HeadModel, weights: Path | None) -> LightNetwork:
    """The network that the fit starts from."""
    if weights is not None:
        network = load_onnx(weights)[0].network
    else:
        config = preset("light")
        network = new_network(config, head_constants(config, model)).eval()
    if not isinstance(network, LightNetwork):
        raise ValueError(f"{weights}: is no light network")
    return network


def is_kept(path: Path) -> bool:
    """Whether a file of looks serves sigma's calibration instead of the fit."""
    return int(path.stem.rpartition("_")[2]) % _KEPT_EVERY == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--batches", type=int, default=1300, help="of 32 pictures (default: %(default)s)"
    )
    parser.add_argument("--first", type=int, default=0, help="batch (default: %(default)s)")
    parser.add_argument("--only-draw", action="store_true", help="no fit")
    parser.add_argument("--epochs", type=int, default=6, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=RATE, help="at first (default: %(default)s)")
    parser.add_argument("--start", type=Path, metavar="ONNX", help="go on from these weights")
    parser.add_argument(
        "--traced", type=Path, metavar="FOLDER", help="pictures of tools/blender_set.py, optional"
    )
    parser.add_argument(
        "--traced-batches", type=int, default=200, help="of 32 of these (default: %(default)s)"
    )
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="of faces, optional")
    parser.add_argument("--looks", type=Path, metavar="FOLDER", required=True, help="kept here")
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    args = parser.parse_args()
    model = load_builtin_head()
    network = begin(model, args.start)
    args.looks.mkdir(parents=True, exist_ok=True)
    gatherer = Gatherer(network, model, args.looks)
    numbers = tqdm(range(args.first, args.batches), "batches of pictures")
    paths = [gatherer.drawn(number) for number in numbers]
    if args.only_draw:
        return
    if args.traced is not None:
        paths += gatherer.traced(args.traced, args.traced_batches)
    real = None
    if args.photographs is not None:
        real = gatherer.photographed(photographs(args.photographs))
    kept = [looks[:BATCH] for looks in KeptLooks([path for path in paths if is_kept(path)])]
    if not kept:
        parser.error(f"a batch whose number {_KEPT_EVERY} divides must be among them, for sigma")
    drawn, moments = (
        KeptLooks([p for p in paths if not is_kept(p) and p.name.startswith("moments") == wanted])
        for wanted in (False, True)
    )
    rows, state = gatherer.mirror_rows, args.out.with_suffix(".state.pt")
    fitted = fit(network, drawn, moments, real, rows, args.epochs, state, args.rate)
    calibrate_light(fitted, model, joined(kept))
    export_onnx(fitted, args.out)
    save_checkpoint(args.out.with_suffix(".pt"), fitted)


if __name__ == "__main__":
    main()
