"""How long an all-reduce should take on links of known speed: a model, for predictions beyond the devices at hand.

A ring of n devices adds up b bytes in n - 1 steps of reduce-scatter and n - 1 of all-gather; in each of them every
device sends b / n bytes to its neighbour (Patarasuk and Yuan 2009). With bandwidth β and a latency α per step

    ring(n, b) = 2 (n - 1) / n · b / β + 2 (n - 1) · α

Links of several kinds are used one inside the other: reduce-scatter in the inner ring, all-reduce of the b / n bytes
that are then left to each device in the outer one, all-gather in the inner one. That makes

    all_reduce(b) = ring₁(n₁, b) + ring₂(n₂, b / n₁) + ring₃(n₃, b / (n₁ n₂)) + ...,      n = n₁ n₂ n₃ ...

for NVLink inside a host and a network between hosts, and for the axes of a torus. An update of T seconds of compute
with all-reduces of C seconds that overlap with nothing (the optimiser waits for each) is efficient to

    weak scaling     T / (T + C(n))                each device has as many environments as the one alone
    strong scaling   (T / n) / (T / n + C(n))      the devices share the environments of the one

Both flatter: bandwidths are the vendors' peaks, nobody else is on the links, and a share of 1 / n of the environments
is taken to need 1 / n of the time.
"""

import dataclasses
import math
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Level:
    """Links of one kind.

    Attributes:
      name: what it is.
      limit: devices that such links join; 0 for any number.
      bandwidth: β, bytes per second that a device sends to its neighbour, in one direction.
      latency: α, seconds per step of a ring.
      axes: of a torus, each a ring; 1 for a switch.
    """

    name: str
    limit: int
    bandwidth: float
    latency: float
    axes: int = 1


@dataclasses.dataclass(frozen=True)
class Fabric:
    """What joins devices: levels from the innermost outwards."""

    name: str
    levels: tuple[Level, ...]

    def rings(self, devices: int) -> list[tuple[int, Level]]:
        """The rings, inner ones first, whose sizes multiply to the number of devices; rings of one are left out.

        Raises:
          ValueError: so many devices do not fill the levels.
        """
        found, left = [], devices
        for level in self.levels:
            inside = min(left, level.limit or left)
            if left % inside:
                raise ValueError(f"{devices} devices on {self.name} do not fill groups of {level.limit}")
            found += [(size, level) for size in balanced(inside, level.axes) if size > 1]
            left //= inside
        if left > 1:
            raise ValueError(f"{self.name} joins at most {devices // left} devices, not {devices}")
        return found

    def all_reduce_seconds(self, devices: int, size: float) -> float:
        """Of `size` bytes per device; 0 for one device."""
        seconds = 0.0
        for members, level in self.rings(devices):
            seconds += ring_seconds(members, size, level.bandwidth, level.latency)
            size /= members
        return seconds


# Peaks as their vendors give them, for one direction. NVIDIA's data sheets: 900 GB/s both ways per H100, eight on a
# switch; NDR 400 Gb/s, one port a GPU in a DGX. Google's pages on TPU v5e (400 GB/s both ways over 4 links, 256 in a
# pod, 6.4 Tb/s from a pod to the data centre) and v5p (1,200 GB/s both ways over 6 links); v4 has 50 GB/s a link
# (Jouppi et al. 2023). Of a torus one direction of one link per axis is counted: an axis that is closed can do twice as
# much. Latencies are no vendors' promises: on a GPU those of NCCL's own model of its ring (tuning.cc, protocol Simple),
# on a torus about 1 µs a hop (Austin et al. 2025, How to Scale Your Model); for Ethernet we assume 30 µs.
NVLINK = Level("NVLink 4", 8, 450e9, 3.4e-6)
ETHERNET_LATENCY = 30e-6
FABRICS = (
    Fabric("H100, NVLink and InfiniBand NDR", (NVLINK, Level("InfiniBand NDR", 0, 50e9, 9.6e-6))),
    Fabric(
        "H100, NVLink and 100 Gb Ethernet",
        (NVLINK, Level("100 Gb Ethernet, a port shared by 8", 0, 12.5e9 / 8, ETHERNET_LATENCY)),
    ),
    Fabric("TPU v4", (Level("ICI, 3D torus", 4096, 50e9, 1e-6, axes=3),)),
    Fabric("TPU v5p", (Level("ICI, 3D torus", 4096, 100e9, 1e-6, axes=3),)),
    Fabric(
        "TPU v5e",
        (
            Level("ICI, 2D torus", 256, 50e9, 1e-6, axes=2),
            Level("data centre network", 0, 6.4e12 / 8 / 256, ETHERNET_LATENCY),
        ),
    ),
)


def ring_seconds(devices: int, size: float, bandwidth: float, latency: float) -> float:
    """All-reduce of `size` bytes on each device of one ring: 2 (n - 1) / n · b / β + 2 (n - 1) · α."""
    steps = 2 * (devices - 1)
    return steps / devices * size / bandwidth + steps * latency


def balanced(number: int, axes: int) -> list[int]:
    """So many factors of a number, as equal as its prime factors allow, the largest first."""
    sizes, left, prime, factors = [1] * axes, number, 2, []
    while left > 1:
        while left % prime == 0:
            factors.append(prime)
            left //= prime
        prime = prime + 1 if prime * prime <= left else left
    for factor in reversed(factors):
        sizes[sizes.index(min(sizes))] *= factor
    return sorted(sizes, reverse=True)


def communication_seconds(fabric: Fabric, devices: int, reductions: Iterable[tuple[float, float]]) -> float:
    """Of one update.

    Args:
      fabric: what joins the devices.
      devices: n.
      reductions: (bytes per device, times per update) of each all-reduce.
    """
    return math.fsum(times * fabric.all_reduce_seconds(devices, size) for size, times in reductions)


def efficiencies(compute: float, communication: float, devices: int) -> tuple[float, float]:
    """Of weak and of strong scaling, both 1 for one device.

    Args:
      compute: T, seconds of one update of one device alone.
      communication: C(n), seconds.
      devices: n.
    """
    return compute / (compute + communication), compute / (compute + devices * communication)


def predict(
    compute: float, reductions: Iterable[tuple[float, float]], counts: Iterable[int], most_shards: int
) -> list[dict]:
    """Rows for every fabric and number of devices.

    Args:
      compute: T, seconds of one update of one device alone.
      reductions: as in `communication_seconds`.
      counts: numbers of devices.
      most_shards: devices that the environments of one device can be cut for; there is no strong scaling beyond.
    """
    reductions, rows = list(reductions), []
    for fabric in FABRICS:
        for devices in counts:
            communication = communication_seconds(fabric, devices, reductions)
            weak, strong = efficiencies(compute, communication, devices)
            rows.append(
                {
                    "fabric": fabric.name,
                    "devices": devices,
                    "rings": [{"devices": size, "links": level.name} for size, level in fabric.rings(devices)],
                    "communication_seconds": communication,
                    "weak_efficiency": weak,
                    "strong_efficiency": strong if devices <= most_shards else None,
                }
            )
    return rows
