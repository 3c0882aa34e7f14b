"""Answers as the MediaPipe worker does, from a file: the faces of every picture by its digest."""

import json
import sys
from hashlib import blake2b
from pathlib import Path

known = json.loads(Path(sys.argv[1]).read_text())
print(json.dumps({"triangles": known["triangles"]}), flush=True)
while line := sys.stdin.buffer.readline():
    request = json.loads(line)
    height, width, channels = request["shape"]
    content = sys.stdin.buffer.read(height * width * channels)
    if known["dies"]:
        sys.exit("out of luck")
    faces = known["faces"][blake2b(content, digest_size=16).hexdigest()]
    print(json.dumps({"faces": faces, "ms": [[2.0, 1.0]] * request["repeats"]}), flush=True)
