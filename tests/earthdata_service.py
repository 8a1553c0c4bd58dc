"""NASA Earthdata on this machine: the search, the login and the downloads, as asf_search 14 speaks with them.

It imports nothing of terraprobe. Search: form-encoded POST, 250 products a page, paged by `CMR-Search-After`; login:
tokens are checked by POST, name and password (Basic) give a token, then a cookie; downloads: GET with a bearer token,
by way of a redirect to a signed address.
"""

import base64
import hashlib
import json
from dataclasses import dataclass, field

import netCDF4
import numpy as np

from anyhost import Answer, Stored, html, status

SEARCH = "https://cmr.earthdata.nasa.gov/search/granules.umm_json"
LOGIN = "https://urs.earthdata.nasa.gov"
FILES = "https://grfn.asf.alaska.edu/door/download"
SIGNED = "https://mirror.example/signed"
BOX = (10.0, 50.0, 11.0, 51.0)


def product_name(later="20200613", earlier="20200601", *, time="164034", version="3_0_1", tail="cf9c", track="044"):
    place = "00010E_00050N" if version >= "2_0_5" else "51000N_50000N"
    return f"S1-GUNW-A-R-{track}-tops-{later}_{earlier}-{time}-{place}-PP-{tail}-v{version}"


def umm(name, body, box=BOX):
    """One granule as the search answers it, cut down to what is read."""
    west, south, east, north = box
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    points = [{"Longitude": x, "Latitude": y} for x, y in corners]
    day = name.split("-")[6][:8]
    begin = f"{day[:4]}-{day[4:6]}-{day[6:]}T16:40:00.000000Z"
    file = {"Name": f"{name}.nc", "SizeInBytes": len(body), "Format": "netCDF-4"}
    file["Checksum"] = {"Value": hashlib.md5(body).hexdigest(), "Algorithm": "MD5"}  # noqa: S324
    return {
        "meta": {"concept-id": f"G-{name}", "provider-id": "ASF", "native-id": name},
        "umm": {
            "GranuleUR": name,
            "TemporalExtent": {"RangeDateTime": {"BeginningDateTime": begin, "EndingDateTime": begin}},
            "OrbitCalculatedSpatialDomains": [{"OrbitNumber": 1}, {"OrbitNumber": 2}],
            "AdditionalAttributes": [
                {"Name": "ASCENDING_DESCENDING", "Values": ["ascending"]},
                {"Name": "VERSION", "Values": ["3.0.1"]},
                {"Name": "PATH_NUMBER", "Values": ["44"]},
                {"Name": "FRAME_NUMBER", "Values": ["1"]},
            ],
            "SpatialExtent": {
                "HorizontalSpatialDomain": {"Geometry": {"GPolygons": [{"Boundary": {"Points": points}}]}}
            },
            "CollectionReference": {"ShortName": "ARIA_S1_GUNW", "Version": "1"},
            "RelatedUrls": [{"Type": "GET DATA", "URL": f"{FILES}/{name}.nc"}],
            "DataGranule": {"ArchiveAndDistributionInformation": [file], "ProductionDateTime": begin},
            "Platforms": [{"ShortName": "Sentinel-1A"}],
        },
    }


def write_product(path, box=BOX, step=1 / 120, coherence=None, layer="coherence"):
    """A product in the layout that ARIA's packaging template describes, versions 2 and 3: group, axes, fill values."""
    west, south, east, north = box
    lon = west + (np.arange(round((east - west) / step)) + 0.5) * step
    lat = north - (np.arange(round((north - south) / step)) + 0.5) * step
    values = np.full((len(lat), len(lon)), 0.5, "f4") if coherence is None else coherence(lat, lon)
    with netCDF4.Dataset(path, "w") as product:
        product.title, product.version, product.Conventions = "ARIA standard product UNW GEO IFG", "1b", "CF-1.6"
        data = product.createGroup("science/grids/data")
        crs = data.createVariable("crs", "i4", ())
        crs.grid_mapping_name, crs.longitude_of_prime_meridian = "latitude_longitude", 0.0
        crs.semi_major_axis, crs.inverse_flattening = 6378137.0, 298.257223563
        for name, axis in (("latitude", lat), ("longitude", lon)):
            data.createDimension(name, len(axis))
            variable = data.createVariable(name, "f8", (name,))
            variable.standard_name, variable.units = name, f"degrees_{'north' if name == 'latitude' else 'east'}"
            variable[:] = axis
        for name, fill in ((layer, 0.0), ("unwrappedPhase", 0.0), ("connectedComponents", -1.0), ("amplitude", 0.0)):
            variable = data.createVariable(name, "f4", ("latitude", "longitude"), zlib=True, fill_value=fill)
            variable.grid_mapping, variable.units = "crs", "unitless"
            variable[:] = values if name == layer else np.ones_like(values)
    return path.read_bytes()


@dataclass
class Earthdata:
    """The service; `products` are name to bytes."""

    server: object
    products: dict = field(default_factory=dict)
    tokens: set = field(default_factory=lambda: {"good-t0ken"})
    login: tuple = ("me", "p4ssword")
    page: int = 250
    items: list = field(default_factory=list)
    search_faults: list = field(default_factory=list)

    def __post_init__(self):
        self.server.put(SEARCH, self._search)
        self.server.put(f"{LOGIN}/oauth/tokens/user", self._check_token)
        self.server.put(f"{LOGIN}/api/users/find_or_create_token", self._make_token)
        cookie = {"Set-Cookie": "asf-urs=c00kie; Path=/"}
        self.server.put(f"{LOGIN}/oauth/authorize", lambda _: Answer(200, b"", cookie))

    def add(self, name, body, box=BOX, faults=()):
        """Offer a product."""
        self.items.append(umm(name, body, box))
        stored = Stored(body, list(faults))
        signed = f"{SIGNED}/{name}.nc"
        self.server.put(f"{FILES}/{name}.nc", lambda request: self._door(request, signed))
        self.server.put(signed, lambda request: status(400) if "authorization" in request.headers else stored(request))
        return stored

    def _search(self, request):
        if self.search_faults:
            return self.search_faults.pop(0)(request)
        start = int(request.headers.get("cmr-search-after", 0))
        page = self.items[start : start + self.page]
        body = {"hits": len(self.items), "took": 1, "items": page}
        after = {"CMR-Search-After": str(start + len(page))} if page else {}
        return Answer(200, json.dumps(body).encode(), {"Content-Type": "application/json", **after})

    def _check_token(self, request):
        return status(200 if request.form["token"][0] in self.tokens else 401)

    def _make_token(self, request):
        wanted = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
        if request.headers.get("authorization") != wanted:
            return status(401)
        self.tokens.add("new-t0ken")
        return Answer(200, b'{"access_token": "new-t0ken"}', {"Content-Type": "application/json"})

    def _door(self, request, signed):
        if "authorization" not in request.headers:
            return html()
        if request.headers["authorization"].removeprefix("Bearer ") not in self.tokens:
            return status(401)
        return Answer(302, b"", {"Location": f"{signed}?X-Amz-Signature=s1gned"})
