"""What DOT text says, read back by Graphviz's own parser."""

import json
import subprocess

from circuitkit.reporting.render import graphviz_program


def read_dot(dot):
    """Return the nodes (name -> attributes) and the edges (attributes, and both `ends`)."""
    program = graphviz_program()
    done = subprocess.run([program, "-Tdot_json"], input=dot.encode(), capture_output=True)
    assert done.returncode == 0, done.stderr
    graph = json.loads(done.stdout)
    objects = {each["_gvid"]: each for each in graph.get("objects", [])}
    nodes = {each["name"]: each for each in objects.values() if "nodes" not in each}
    edges = [
        {**each, "ends": (objects[each["tail"]]["name"], objects[each["head"]]["name"])}
        for each in graph.get("edges", [])
    ]
    return nodes, edges
