"""Makes path-traced pictures of synthetic people with their truth, in Blender.

    python tools/blender_set.py --out FOLDER [--set validation|training|sequences] [--count N]

It goes on where it was stopped. Blender comes as a wheel (bpy, GPL, Python 3.11) into an
environment of its own, beside the pictures; or name a Python that has it with --blender.
The manifest says what the pictures were made of and lists a hash of each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import numpy as np  # noqa: E402
from blender_scenes.arrays import digest, scene_arrays, write_scene  # noqa: E402
from blender_scenes.develop import Darkroom  # noqa: E402
from blender_scenes.sampling import PICTURE_PX, Scene, sample_scene  # noqa: E402
from blender_scenes.sequences import FPS, FRAME_SIZE_PX, FRAMES, Takes  # noqa: E402
from tqdm import tqdm  # noqa: E402

from flowface_ros.align.embedding import SKIN_POINTS, landmark_points  # noqa: E402
from flowface_ros.align.landmark_errors import query_points  # noqa: E402
from flowface_ros.head.atlas import texel_grid  # noqa: E402
from flowface_ros.head.evaluator import SurfaceEvaluator  # noqa: E402
from flowface_ros.head.model import HeadModel  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402
from flowface_ros.train.regions import SKIN_REGIONS, point_regions  # noqa: E402

REQUIREMENT = "bpy==5.0.1"
SEEDS = {"validation": 31, "training": 32, "sequences": 33}
COUNTS = {"validation": 500, "training": 2000, "sequences": 8 * FRAMES}
GRID = 48
SAMPLES, CHUNK = 4, 10
LICENCE = "CC0-1.0"


def environment(folder: Path) -> Path:
    """A Python with Blender, made in a folder when it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run(["python3.11", "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", REQUIREMENT], check=True)
    return python


def trace(blender: Path, folder: Path, threads: int) -> None:
    """Blender's part: each scene in a folder to light."""
    script = Path(__file__).parent / "blender_scenes" / "render.py"
    command = [str(blender), str(script), str(folder), "--samples", str(SAMPLES)]
    command += ["--threads", str(threads)]
    log = folder / "blender.log"
    with log.open("w") as output:
        done = subprocess.run(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": str(threads)},
        )
    if done.returncode:
        raise OSError(f"{blender}: ended with {done.returncode}; {log} says why")


class Maker:
    """Makes the pictures of one set in a folder."""

    def __init__(self, model: HeadModel, name: str, out: Path, blender: Path, threads: int) -> None:
        self._model, self._seed, self._out = model, SEEDS[name], out
        self._blender, self._threads = blender, threads
        points = query_points(model, texel_grid(model, GRID))
        self._landmarks = SurfaceEvaluator(model, landmark_points(model)[:SKIN_POINTS])
        takes = Takes(model, self._landmarks, self._seed)
        self._takes = takes if name == "sequences" else None
        face = np.isin(point_regions(model, points), SKIN_REGIONS)
        texels = SurfaceEvaluator(model, points)
        self._darkroom = Darkroom(texels, face, self._landmarks, self._seed)

    def make(self, numbers: list[int]) -> dict[str, list[str]]:
        """Hashes of each picture's scene and of itself, by number."""
        work = self._out / "work"
        work.mkdir(parents=True, exist_ok=True)
        scenes, hashes = {}, {}
        for number in numbers:
            scene = self._scene(number)
            arrays = scene_arrays(scene)
            scenes[number], hashes[number] = scene, digest(arrays)
            write_scene(work / f"{number:06d}.scene.npz", arrays)
        trace(self._blender, work, self._threads)
        made = {}
        for number, scene in scenes.items():
            sequence = None if self._takes is None else number // FRAMES
            with np.load(work / f"{number:06d}.light.npz") as file:
                light = file["light"]
            picture = self._darkroom.finish(self._out, number, scene, light, sequence)
            made[str(number)] = [hashes[number], picture]
        for path in work.iterdir():
            path.unlink()
        return made

    def _scene(self, number: int) -> Scene:
        if self._takes is not None:
            return self._takes.scene(number)
        return sample_scene(self._model, self._landmarks, self._seed, number)


def manifest(name: str) -> dict:
    """What pictures of a set are made of; their hashes are added as they are made."""
    size: dict = {"size_px": PICTURE_PX}
    if name == "sequences":
        size = {"size_px": list(FRAME_SIZE_PX), "frames": FRAMES, "fps": FPS}
    return {
        "set": name,
        "seed": SEEDS[name],
        **size,
        "grid": GRID,
        "samples": SAMPLES,
        "blender": REQUIREMENT,
        "licence": LICENCE,
        "pictures": {},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--set", choices=tuple(SEEDS), default="validation")
    parser.add_argument("--count", type=int, help="how many of the set's pictures, from the first")
    parser.add_argument("--blender", type=Path, help="a Python that has bpy; else one is made")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    listed = out / "manifest.json"
    about = manifest(arguments.set)
    if listed.exists():
        found = json.loads(listed.read_text())
        if {**found, "pictures": {}} != about:
            raise ValueError(f"{listed}: was made with other settings; choose another folder")
        about = found
    blender = arguments.blender or environment(out / "blender")
    maker = Maker(load_builtin_head(), arguments.set, out, blender, arguments.threads)
    wanted = range(arguments.count or COUNTS[arguments.set])
    missing = [n for n in wanted if str(n) not in about["pictures"]]
    with tqdm(total=len(wanted), initial=len(wanted) - len(missing), unit="picture") as progress:
        for start in range(0, len(missing), CHUNK):
            made = maker.make(missing[start : start + CHUNK])
            about["pictures"] |= made
            part = listed.with_suffix(".part")
            part.write_text(json.dumps(about, indent=0) + "\n")
            part.rename(listed)
            progress.update(len(made))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"blender_set: error: {error}")
