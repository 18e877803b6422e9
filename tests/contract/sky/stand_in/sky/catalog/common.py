import os
from pathlib import Path


def get_catalog_path(filename):
    return str(Path(os.environ["STAND_IN_SKY"], "catalogs", filename))
