# SPDX-License-Identifier: Apache-2.0
"""The rooms of the tree, the edges between them, and the edges allowed.

A room is a folder of server/ or client/, or main: server/main.cc. What a room
may include is read from the block ```layers of docs/architecture.md, whose
lines are `room -> room, room`; nothing after the arrow is a room that includes
no other.
"""

import re

import tree

PAGE = "docs/architecture.md"
_BLOCK = re.compile(r"^```layers\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINE = re.compile(r"^([\w/]+)\s*->\s*((?:[\w/]+(?:\s*,\s*[\w/]+)*)?)\s*$")


def room_of(path):
    """The room of a file, or None outside server/ and client/."""
    parts = path.split("/")
    if path == "server/main.cc":
        return "main"
    if parts[0] == "server":
        return parts[1] if len(parts) > 2 else path
    if parts[0] == "client":
        return "/".join(parts[:2]) if len(parts) > 2 else path
    return None


def parse(page):
    """The allowed edges of the page: {room: {room}}."""
    block = _BLOCK.search(page)
    if block is None:
        raise ValueError(f"{PAGE} has no block ```layers")
    allowed = {}
    for line in filter(str.strip, block.group(1).splitlines()):
        match = _LINE.match(line)
        if match is None:
            raise ValueError(f"{PAGE}: not `room -> room, room`: {line!r}")
        room, targets = match.groups()
        if room in allowed:
            raise ValueError(f"{PAGE}: {room} is there twice")
        allowed[room] = set(re.findall(r"[\w/]+", targets))
    return allowed


def violations(root):
    """Where the includes and the page disagree, one sentence each."""
    allowed = parse(tree.read(root, PAGE))
    graph = tree.includes(root)
    found, used = [], set()
    rooms = {room_of(path) for path in graph} - {None}
    for room in sorted(rooms - set(allowed)):
        found.append(f"{room} is not a room of {PAGE}")
    for room in sorted(set(allowed) - rooms):
        found.append(f"{PAGE} names {room}, which has no source")
    for path, includes in graph.items():
        source = room_of(path)
        for include in includes:
            target = include.target and room_of(include.target)
            if source is None or target is None or source == target:
                continue
            used.add((source, target))
            if target not in allowed.get(source, ()):
                found.append(
                    f"{path} includes {include.name}: {source} -> {target} "
                    f"is not an edge of {PAGE}"
                )
    edges = {(room, to) for room, targets in allowed.items() for to in targets}
    for source, target in sorted(edges - used):
        found.append(f"{PAGE} allows {source} -> {target}, which nothing uses")
    for cycle in cycles(allowed):
        found.append(f"{PAGE} allows the cycle " + " -> ".join(cycle))
    return found


def file_cycles(root):
    """Files that include one another in a circle."""
    graph = {
        path: [include.target for include in includes if include.target]
        for path, includes in tree.includes(root).items()
    }
    return [" -> ".join(cycle) for cycle in cycles(graph)]


def cycles(graph):
    """A cycle for each edge that closes one, found depth first."""
    found, done = [], set()

    def visit(node, trail):
        if node in trail:
            found.append(trail[trail.index(node) :] + [node])
            return
        if node in done:
            return
        for target in sorted(graph.get(node, ())):
            visit(target, trail + [node])
        done.add(node)

    for node in sorted(graph):
        visit(node, [])
    return found
