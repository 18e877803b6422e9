import os


def get_catalog_path(filename):
    return os.path.join(os.environ["STAND_IN_SKY"], "catalogs", filename)
