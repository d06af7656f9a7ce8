"""Stands in for BitBake's hash equivalence client, which its package on PyPI leaves out and no check uses."""


def create_client(*_arguments: object, **_options: object) -> None:
    """There is no server."""
    raise NotImplementedError("no hash equivalence here")


def is_valid_unihash(_unihash: str) -> bool:
    """Nothing is compared."""
    return True
