"""A curve that grows for days and never has more than 500 points, whatever a run's length; and its picture in words."""

from __future__ import annotations

import dataclasses

MOST = 500  # points of a curve: more cannot be told apart on a screen


@dataclasses.dataclass
class Series:
    """Means of neighbouring steps: when there are too many points, each two become one. Adding costs the same always.

    A step at or before one that is there already begins anew from there: after a resume the later line counts.
    """

    most: int = MOST
    width: int = 1  # steps that share a point
    cells: list[tuple[int, float, float, int]] = dataclasses.field(default_factory=list)  # cell, steps, values, count
    newest: tuple[int, float] | None = None  # (step, value) as it came
    lowest: tuple[int, float] | None = None
    highest: tuple[int, float] | None = None

    def add(self, step: int, value: float) -> None:
        """One more value, of that step."""
        if self.newest is not None and step <= self.newest[0]:
            self._forget_from(step)
        self.newest = (step, value)
        self.lowest = self.newest if self.lowest is None or value < self.lowest[1] else self.lowest
        self.highest = self.newest if self.highest is None or value > self.highest[1] else self.highest
        cell = step // self.width
        if self.cells and self.cells[-1][0] == cell:
            _, steps, values, count = self.cells[-1]
            self.cells[-1] = (cell, steps + step, values + value, count + 1)
        else:
            self.cells.append((cell, step, value, 1))
        if len(self.cells) > self.most:
            self._halve()

    def points(self) -> list[tuple[float, float]]:
        """(mean step, mean value) of each point, in order; at most `most` of them."""
        return [(steps / count, values / count) for _, steps, values, count in self.cells]

    def _forget_from(self, step: int) -> None:
        while self.cells and self.cells[-1][0] >= step // self.width:
            self.cells.pop()
        points = [(round(at), value) for at, value in self.points()]
        self.newest = points[-1] if points else None
        for name, choose in (("lowest", min), ("highest", max)):
            kept = getattr(self, name)
            if kept is not None and kept[0] >= step:
                setattr(self, name, choose(points, key=lambda point: point[1]) if points else None)

    def _halve(self) -> None:
        self.width *= 2
        merged: list[tuple[int, float, float, int]] = []
        for cell, steps, values, count in self.cells:
            if merged and merged[-1][0] == cell // 2:
                _, before, sums, counted = merged[-1]
                merged[-1] = (cell // 2, before + steps, sums + values, counted + count)
            else:
                merged.append((cell // 2, steps, values, count))
        self.cells = merged


def thin(points: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most that many of the points, evenly spaced, the first and the last among them."""
    if len(points) <= most:
        return points
    return [points[round(index * (len(points) - 1) / (most - 1))] for index in range(most)]
