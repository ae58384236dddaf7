"""Model of all-reduce time on links of known speed, for predictions beyond the available devices.

A ring of n devices all-reduces b bytes in n - 1 steps of reduce-scatter and n - 1 of all-gather; in each step every
device sends b / n bytes to its neighbour (Patarasuk and Yuan 2009). With bandwidth β and a latency α per step

    ring(n, b) = 2 (n - 1) / n · b / β + 2 (n - 1) · α

Links of several kinds are nested: reduce-scatter in the inner ring, all-reduce of the remaining b / n bytes of each
device in the outer one, all-gather in the inner one:

    all_reduce(b) = ring₁(n₁, b) + ring₂(n₂, b / n₁) + ring₃(n₃, b / (n₁ n₂)) + ...,      n = n₁ n₂ n₃ ...

for NVLink inside a host and a network between hosts, and for the axes of a torus. For an update of T seconds of compute
and C seconds of all-reduces, without overlap (the optimiser waits for each), the efficiencies are

    weak scaling     T / (T + C(n))                each device has as many environments as one device alone
    strong scaling   (T / n) / (T / n + C(n))      the devices share the environments of one device

Both are optimistic: bandwidths are the vendors' peaks, the links carry no other traffic, and 1 / n of the environments
is assumed to take 1 / n of the time.
"""

import dataclasses
import math
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Level:
    """One kind of link.

    Attributes:
      name: for tables.
      limit: most devices that such links connect; 0: any number.
      bandwidth: β, bytes per second from a device to its neighbour, in one direction.
      latency: α, seconds per step of a ring.
      axes: axes of a torus, each a ring; 1 for a switch.
    """

    name: str
    limit: int
    bandwidth: float
    latency: float
    axes: int = 1


@dataclasses.dataclass(frozen=True)
class Fabric:
    """Interconnect of devices: levels from the innermost outwards."""

    name: str
    levels: tuple[Level, ...]

    def rings(self, devices: int) -> list[tuple[int, Level]]:
        """Return the rings, innermost first, whose sizes multiply to `devices`; rings of size 1 are left out.

        Raises:
          ValueError: the devices do not fill the levels.
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
        """Return the time of an all-reduce of `size` bytes per device; 0 for one device."""
        seconds = 0.0
        for members, level in self.rings(devices):
            seconds += ring_seconds(members, size, level.bandwidth, level.latency)
            size /= members
        return seconds


# Vendors' peak figures, for one direction. NVIDIA's data sheets: 900 GB/s both ways per H100, eight on a
# switch; NDR 400 Gb/s, one port a GPU in a DGX. Google's pages on TPU v5e (400 GB/s both ways over 4 links, 256 in a
# pod, 6.4 Tb/s from a pod to the data centre) and v5p (1,200 GB/s both ways over 6 links); v4 has 50 GB/s a link
# (Jouppi et al. 2023). On a torus one direction of one link per axis is counted: a closed axis can do twice as
# much. Latencies are not vendor figures: on a GPU those of NCCL's own model of its ring (tuning.cc, protocol Simple),
# on a torus about 1 µs a hop (Austin et al. 2025, How to Scale Your Model); for Ethernet 30 µs is assumed.
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
    """Return the all-reduce time of `size` bytes per device in one ring: 2 (n - 1) / n · b / β + 2 (n - 1) · α."""
    steps = 2 * (devices - 1)
    return steps / devices * size / bandwidth + steps * latency


def balanced(number: int, axes: int) -> list[int]:
    """Return `axes` factors of a number, as equal as its prime factors allow, largest first."""
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
    """Return the communication time of one update, in seconds.

    Args:
      fabric: interconnect.
      devices: n.
      reductions: (bytes per device, times per update) of each all-reduce.
    """
    return math.fsum(times * fabric.all_reduce_seconds(devices, size) for size, times in reductions)


def efficiencies(compute: float, communication: float, devices: int) -> tuple[float, float]:
    """Return the efficiencies of weak and strong scaling; both are 1 for one device.

    Args:
      compute: T, seconds of an update on one device alone.
      communication: C(n), seconds.
      devices: n.
    """
    return compute / (compute + communication), compute / (compute + devices * communication)


def predict(
    compute: float, reductions: Iterable[tuple[float, float]], counts: Iterable[int], max_shards: int
) -> list[dict]:
    """Return a row for every fabric and number of devices.

    Args:
      compute: T, seconds of an update on one device alone.
      reductions: as in `communication_seconds`.
      counts: numbers of devices.
      max_shards: maximum number of devices that one device's environments can be sharded over.
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
                    "strong_efficiency": strong if devices <= max_shards else None,
                }
            )
    return rows
