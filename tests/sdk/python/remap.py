"""Runs the program of Vector's transform `remap` in Vector's own language runtime.

In: a program, and a file of lines. Out: the events that it makes of them, one JSON object a line.
Left out on purpose: Vector's sources and sinks.
"""

import json
import sys

import vrl_python

program, path = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    lines = file.read().split("\n")
for text in lines:
    if text:
        print(json.dumps(vrl_python.VRLRuntime.run(program, {"message": text}, None).processed_event, default=str))
