"""The simulated Earth: land that nobody has seen, in the providers' own raw formats, with known truth.

Cheap to import: the stages, which need rasterio and scipy, are in `terraprobe.acquire.simulated.stages`.
"""

from terraprobe.acquire.simulated.world import (
    LAYERS,
    PlacesRecipe,
    SimulatedWorld,
    place_grid,
    place_id,
    raw_files,
    world_files,
)

__all__ = ["LAYERS", "PlacesRecipe", "SimulatedWorld", "place_grid", "place_id", "raw_files", "world_files"]
